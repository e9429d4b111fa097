"""Hidden checks: confidence and early_exit_loss."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student
from autograder.topics.dynamic_computation.toys import right_confidence

NAN = float("nan")
ROUNDING = 1e-4


def expect_confidence(got: object, logits: Tensor, criterion: str, what: str) -> Tensor:
    """Expect the right confidence of every row."""
    got = expect.tensor(got, (len(logits),), what=what)
    expect.close(got, right_confidence(logits, criterion), what, atol=ROUNDING, rtol=1e-4)
    return got


def expect_rows(student: Student, logits: Tensor, criterion: str) -> None:
    """Expect the right confidence of these logits."""
    what = f"{criterion}, {len(logits)} rows of {logits.shape[1]} classes"
    expect_confidence(student.confidence(logits, criterion), logits, criterion, what)


@check("confidence", gate=True)
def test_entropy_of_ten_classes(student: Student, rng: torch.Generator) -> None:
    logits = torch.randn(8, 10, generator=rng) * torch.linspace(0.5, 4, 8)[:, None]
    expect_rows(student, logits, "entropy")


@check("confidence", weight=2)
def test_top1_is_the_largest_probability(student: Student, rng: torch.Generator) -> None:
    for count, classes in ((8, 10), (3, 2), (5, 21)):
        expect_rows(student, 2 * torch.randn(count, classes, generator=rng) - 3, "top1")


@check("confidence", weight=3)
def test_entropy_of_other_class_counts(student: Student, rng: torch.Generator) -> None:
    for count, classes in ((4, 2), (7, 3), (2, 37), (3, 200)):
        expect_rows(student, 2 * torch.randn(count, classes, generator=rng) + 5, "entropy")


@check("confidence", weight=2)
def test_range_from_unsure_to_sure(student: Student, rng: torch.Generator) -> None:
    for classes in (2, 4, 10, 33):
        logits = torch.zeros(6, classes)
        logits[1] = 7.5
        logits[torch.arange(2, 6), torch.randint(classes, (4,), generator=rng)] = 60.0
        for criterion in ("entropy", "top1"):
            what = f"{criterion}: two flat rows, four sure ones, {classes} classes"
            got = expect_confidence(student.confidence(logits, criterion), logits, criterion, what)
            outside = bool((got < -ROUNDING).any() or (got > 1 + ROUNDING).any())
            expect.true(not outside, f"{what}: expected values in [0, 1], got {got.tolist()}")


@check("confidence", weight=2)
def test_large_logits_give_no_nan(student: Student, rng: torch.Generator) -> None:
    logits = 30 * torch.randn(6, 5, generator=rng)
    logits[0] = torch.tensor([1000.0, 0, 0, 0, 0])
    logits[1] = torch.tensor([-1e4, 1e4, 0, 1e4, -1e4])
    logits[2] = torch.tensor([1e4, 1e4, 1e4, 1e4, 1e4])
    for criterion in ("entropy", "top1"):
        got = expect.tensor(student.confidence(logits, criterion), (6,), what=criterion)
        if got.isnan().any():
            fail(
                f"{criterion} of large logits: got NaN; p * log p must count as 0 where p is 0",
                "nan_where_p_is_zero",
            )
        expect_confidence(got, logits, criterion, f"{criterion} of large logits")


@check("confidence")
def test_each_row_for_itself(student: Student, rng: torch.Generator) -> None:
    logits = 2 * torch.randn(5, 6, generator=rng)
    for criterion in ("entropy", "top1"):
        expect_rows(student, logits[:1], criterion)
        expect_rows(student, logits.flip(0), criterion)
        expect_rows(student, torch.cat([logits, 4 * logits]), criterion)


@check("confidence")
def test_confidence_by_keyword_leaves_its_argument(student: Student, rng: torch.Generator) -> None:
    for dtype, criterion in itertools.product((torch.float32, torch.float64), ("entropy", "top1")):
        logits = torch.randn(4, 5, generator=rng).to(dtype)
        before, what = logits.clone(), f"{criterion} of {dtype} logits"
        got = student.confidence(logits=logits, criterion=criterion)
        expect.tensor(got, (4,), dtype, what)
        expect_confidence(got, before, criterion, what)
        expect.unchanged(before, logits, "logits")
    got = student.confidence(logits)
    expect_confidence(got, logits, "entropy", "without a criterion: entropy is the default")


@check("confidence", weight=0.5)
def test_confidence_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    logits = torch.randn(4, 5, generator=rng)
    for criterion in ("top5", "Entropy!", ""):
        with expect.value_error(f"criterion = {criterion!r}"):
            student.confidence(logits, criterion)
    logits[2, 1] = NAN
    for criterion in ("entropy", "top1"):
        with expect.value_error(f"logits with NaN, {criterion}"):
            student.confidence(logits, criterion)


# ---------------------------------------------------------------- early_exit_loss


def random_exits(
    rng: torch.Generator, exits: int, count: int, classes: int = 4
) -> tuple[list[Tensor], Tensor]:
    """Return the logits of several exits, and labels."""
    all_logits = [2 * torch.randn(count, classes, generator=rng) for _ in range(exits)]
    return all_logits, torch.randint(classes, (count,), generator=rng)


def right_loss(all_logits: list[Tensor], labels: Tensor, weights: list[float]) -> Tensor:
    """Return the loss in float64; gradients flow to the logits."""
    parts = [F.cross_entropy(logits.double(), labels) for logits in all_logits]
    return sum(w * part for w, part in zip(weights, parts, strict=True))


def expect_loss(
    student: Student, all_logits: list[Tensor], labels: Tensor, weights: list[float]
) -> None:
    """Expect a scalar tensor with the right value."""
    what = f"weights {weights}, a batch of {len(labels)}"
    got = expect.tensor(student.early_exit_loss(all_logits, labels, weights), what=what)
    if got.numel() != 1:
        fail(f"{what}: expected one number, got the shape {tuple(got.shape)}")
    expect.close(got.detach(), right_loss(all_logits, labels, weights), what, 1e-5, 1e-4)


@check("early_exit_loss", gate=True)
def test_two_exits_of_equal_weight(student: Student, rng: torch.Generator) -> None:
    all_logits, labels = random_exits(rng, 2, 6)
    expect_loss(student, all_logits, labels, [1.0, 1.0])


@check("early_exit_loss", weight=3)
def test_weights_belong_to_their_exits(student: Student, rng: torch.Generator) -> None:
    for weights in ([1.0, 0.3], [0.3, 1.0], [0.2, 0.5, 1.5], [2, 1, 0.5, 3]):
        all_logits, labels = random_exits(rng, len(weights), 7)
        expect_loss(student, all_logits, labels, weights)


@check("early_exit_loss", weight=2)
def test_weights_of_any_sum(student: Student, rng: torch.Generator) -> None:
    for weights in ([0.1, 0.1], [3.0, 5.0, 4.0], [0.0, 1.0], [1.0, 0.0], [0.7]):
        all_logits, labels = random_exits(rng, len(weights), 5)
        expect_loss(student, all_logits, labels, weights)


@check("early_exit_loss")
def test_mean_over_batches_of_any_size(student: Student, rng: torch.Generator) -> None:
    for count, classes in ((1, 3), (17, 12), (40, 2)):
        all_logits, labels = random_exits(rng, 2, count, classes)
        expect_loss(student, all_logits, labels, [0.4, 0.9])


@check("early_exit_loss", weight=2)
def test_gradient_reaches_every_exit(student: Student, rng: torch.Generator) -> None:
    all_logits, labels = random_exits(rng, 3, 6)
    weights = [0.5, 1.0, 0.25]
    mine = [logits.clone().requires_grad_() for logits in all_logits]
    student.call_and_backward("early_exit_loss", mine, labels, weights)
    twins = [logits.clone().requires_grad_() for logits in all_logits]
    right_loss(twins, labels, weights).backward()
    for number, (logits, twin) in enumerate(zip(mine, twins, strict=True)):
        what = f"the gradient of the logits of exit {number}"
        got = expect.tensor(logits.grad, twin.shape, what=what)
        expect.close(got, twin.grad, what, atol=1e-5, rtol=1e-3)


@check("early_exit_loss")
def test_loss_by_keyword_leaves_its_arguments(student: Student, rng: torch.Generator) -> None:
    all_logits, labels = random_exits(rng, 2, 6)
    before = ([logits.clone() for logits in all_logits], labels.clone(), [1.0, 0.5])
    arguments = {"all_logits": all_logits, "labels": labels, "weights": [1.0, 0.5]}
    got = student.early_exit_loss(**arguments)
    expect.close(got.detach(), right_loss(*before), "the loss", 1e-5, 1e-4)
    expect.unchanged(before, tuple(arguments.values()), "(all_logits, labels, weights)")


@check("early_exit_loss")
def test_loss_rejects_lengths_that_differ(student: Student, rng: torch.Generator) -> None:
    all_logits, labels = random_exits(rng, 3, 6)
    for weights in ([1.0, 1.0], [1.0], [1.0, 1.0, 1.0, 1.0]):
        with expect.value_error(f"{len(weights)} weights for 3 exits"):
            student.early_exit_loss(all_logits, labels, weights)
