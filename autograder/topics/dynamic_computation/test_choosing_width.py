"""Hidden checks: slimmable_loss, width_for_budget and adaptive_width_predict."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.judge.by_reference import as_left
from autograder.judge.checking import check, expect, fail, first_change
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.topics.dynamic_computation.toys import (
    computed_by_width,
    expect_exits,
    mixed_nets,
    nets_by_width,
)

WIDTHS = [0.25, 0.5, 1.0]
INDEX = "the index of the width"


def toy_of(student: Student, nets: dict[float, nn.Module]) -> RemoteObject:
    """Put the nets into the notebook's model that takes a width."""
    return student.SeparateNets(nets)


def modes_of(toy: RemoteObject) -> list[bool]:
    """Return the training flag of the model and of each of its nets."""
    return [toy.training, *(net.training for net in toy.nets)]


# ---------------------------------------------------------------- slimmable_loss


def right_loss(
    nets: dict[float, nn.Module],
    x: Tensor,
    labels: Tensor,
    widths: Sequence[float],
    weights: Sequence[float],
) -> Tensor:
    """Return the loss; gradients flow to the nets."""
    pairs = zip(widths, weights, strict=True)
    return sum(weight * F.cross_entropy(nets[width](x), labels) for width, weight in pairs)


def expect_loss(
    student: Student, rng: torch.Generator, widths: list[float], weights: list[float], count: int
) -> None:
    """Expect a scalar tensor with the right value."""
    nets, x, _ = nets_by_width(rng, sorted({*WIDTHS, *widths}), count)
    labels = torch.randint(4, (count,), generator=rng)
    what = f"widths {widths}, weights {weights}, {count} images"
    got = student.slimmable_loss(toy_of(student, nets), x, labels, widths, weights)
    expect.tensor(got, what=what)
    if got.numel() != 1:
        fail(f"{what}: expected one number, got the shape {tuple(got.shape)}")
    wanted = right_loss(nets, x, labels, widths, weights).detach()
    expect.close(got.detach(), wanted, what, 1e-4, 1e-4)


@check("slimmable_loss", gate=True)
def test_sum_over_widths(student: Student, rng: torch.Generator) -> None:
    expect_loss(student, rng, [0.5, 1.0], [1.0, 1.0], 6)


@check("slimmable_loss", weight=3)
def test_weights_belong_to_their_widths(student: Student, rng: torch.Generator) -> None:
    for widths, weights in (
        ([0.25, 0.5, 1.0], [0.2, 0.5, 1.5]),
        ([1.0, 0.25], [0.3, 1.0]),
        ([0.25, 1.0], [0.3, 1.0]),
        ([0.5, 0.25, 1.0], [3, 1, 2]),
        ([0.1, 0.3, 0.6, 0.8, 1.0], [0.5, 2.0, 0.3, 1.0, 0.7]),
    ):
        expect_loss(student, rng, widths, weights, 7)


@check("slimmable_loss", weight=2)
def test_loss_weights_of_any_sum(student: Student, rng: torch.Generator) -> None:
    for widths, weights in (([0.5, 1.0], [0.1, 0.1]), ([0.25], [0.7]), ([0.25, 1.0], [0.0, 2.0])):
        expect_loss(student, rng, widths, weights, 5)
    expect_loss(student, rng, [0.25, 0.5, 1.0], [1.0, 1.0, 1.0], 40)


@check("slimmable_loss", weight=2)
def test_gradient_reaches_every_width(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 6)
    labels, weights = torch.randint(4, (6,), generator=rng), [0.5, 1.0, 2.0]
    toy = toy_of(student, nets)
    try:
        student.call_and_backward("slimmable_loss", toy, x, labels, WIDTHS, weights)
    except StudentError as error:
        if "does not require grad" not in error.message:
            raise
        fail("the loss has no gradient: the model must run with gradients")
    # Once more: gradients that are there already stay, and the new ones are added.
    student.call_and_backward("slimmable_loss", toy, x, labels, WIDTHS, weights)
    (2 * right_loss(nets, x, labels, WIDTHS, weights)).backward()
    state = toy.state_dict(keep_vars=True)
    for number, (width, net) in enumerate(nets.items()):
        what = f"after two calls, the gradient of the weight used at width {width}"
        got = expect.tensor(state[f"nets.{number}.weight"].grad, net.weight.shape, what=what)
        expect.close(got, net.weight.grad, what, 1e-4, 1e-3)


@check("slimmable_loss")
def test_loss_in_the_mode_of_the_model(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 8)
    nets = {w: nn.Sequential(net, nn.BatchNorm1d(4)) for w, net in nets.items()}
    labels, weights = torch.randint(4, (8,), generator=rng), [1.0, 0.5, 2.0]
    for training in (True, False):
        for net in nets.values():
            net.train(training)
        toy = toy_of(student, nets)
        got = student.slimmable_loss(toy, x, labels, WIDTHS, weights)
        wanted = right_loss(nets, x, labels, WIDTHS, weights).detach()
        mode = "train" if training else "eval"
        what = f"batch norm in {mode} mode: the loss is that of the model in the mode it is in"
        expect.close(got.detach(), wanted, what, 1e-4, 1e-3)


@check("slimmable_loss")
def test_slimmable_loss_by_keyword(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 6)
    labels = torch.randint(4, (6,), generator=rng)
    nets[0.5].eval()
    toy = toy_of(student, nets)
    before, widths, weights = (x.clone(), labels.clone()), [0.25, 1.0], [1.0, 0.4]
    got = student.slimmable_loss(model=toy, images=x, labels=labels, widths=widths, weights=weights)
    expect.close(got.detach(), right_loss(nets, x, labels, widths, weights).detach(), "the loss")
    expect.unchanged(before, (x, labels), "(images, labels)")
    after = as_left(widths), as_left(weights)
    expect.equal(after, ([0.25, 1.0], [1.0, 0.4]), "(widths, weights) afterwards")
    modes = modes_of(toy)
    expect.equal(modes, [True, True, False, True], "the mode of the model and of its parts")


@check("slimmable_loss")
def test_slimmable_loss_rejects_lengths_that_differ(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 4)
    labels, toy = torch.randint(4, (4,), generator=rng), toy_of(student, nets)
    for widths, weights in (([0.25, 0.5], [1.0]), ([0.25], [1.0, 1.0]), (WIDTHS, [1.0, 1.0])):
        with expect.value_error(f"{len(weights)} weights for {len(widths)} widths"):
            student.slimmable_loss(toy, x, labels, widths, weights)


# ---------------------------------------------------------------- width_for_budget


def expect_width(student: Student, macs: dict[float, float], budget: float, wanted: float) -> None:
    """Expect a width."""
    got = expect.number(student.width_for_budget(macs, budget), f"the width for {budget}")
    what = f"macs_by_width {macs}, budget {budget}: expected the width {wanted}, got {got:g}"
    expect.true(abs(got - wanted) < 1e-9, what)


@check("width_for_budget", gate=True)
def test_largest_width_that_fits(student: Student) -> None:
    macs = {0.25: 100, 0.5: 400, 1.0: 1600}
    for budget, wanted in ((500, 0.5), (150, 0.25), (2000, 1.0)):
        expect_width(student, macs, budget, wanted)


@check("width_for_budget", weight=2)
def test_budget_that_is_just_enough(student: Student) -> None:
    macs = {0.25: 100, 0.5: 400, 0.75: 900, 1.0: 1600}
    for budget, wanted in ((100, 0.25), (400, 0.5), (900, 0.75), (1600, 1.0)):
        expect_width(student, macs, budget, wanted)
    for budget, wanted in ((399, 0.25), (899.5, 0.5), (1599, 0.75), (10**9, 1.0)):
        expect_width(student, macs, budget, wanted)


@check("width_for_budget", weight=2)
def test_widths_in_any_order(student: Student) -> None:
    for macs in (
        {1.0: 1600, 0.5: 400, 0.25: 100},
        {0.5: 400, 0.25: 100, 1.0: 1600},
        {0.5: 400, 1.0: 1600, 0.25: 100},
    ):
        for budget, wanted in ((1700, 1.0), (1000, 0.5), (120, 0.25)):
            expect_width(student, macs, budget, wanted)
    expect_width(student, {0.3: 7.5}, 7.5, 0.3)
    for macs in ({0.25: 40, 0.5: 40, 1.0: 90}, {1.0: 90, 0.5: 40, 0.25: 40}):
        expect_width(student, macs, 50, 0.5)  # rounding channels up can make widths cost the same


@check("width_for_budget", weight=2)
def test_budget_below_the_smallest(student: Student) -> None:
    for macs, budget in (({0.25: 100, 1.0: 1600}, 99), ({0.5: 10}, 0), ({1.0: 50, 0.5: 20}, -3)):
        with expect.value_error(f"macs_by_width {macs}, budget {budget}"):
            student.width_for_budget(macs, budget)


@check("width_for_budget")
def test_width_by_keyword(student: Student) -> None:
    macs = {0.25: 100, 0.5: 400}
    got = student.width_for_budget(macs_by_width=macs, budget=399.9)
    expect.number(got, "the width", 0.25, 0.25)
    expect.equal(as_left(macs), {0.25: 100, 0.5: 400}, "macs_by_width afterwards")


# ---------------------------------------------------------------- adaptive_width_predict


@check("adaptive_width_predict", gate=True)
def test_sure_samples_stay_narrow(student: Student, rng: torch.Generator) -> None:
    widths = [0.25, 1.0]
    nets, x, all_logits, threshold, index = mixed_nets(rng, widths, 12)
    got = student.adaptive_width_predict(toy_of(student, nets), x, widths, threshold)
    expect_exits(got, all_logits, index, f"widths {widths}, threshold {threshold:.3f}", INDEX)


@check("adaptive_width_predict", weight=2)
def test_several_widths_and_any_order(student: Student, rng: torch.Generator) -> None:
    for widths in (WIDTHS, [0.25, 0.5, 0.75, 1.0], [0.5, 0.75, 1.0]):
        nets, x, all_logits, threshold, index = mixed_nets(rng, widths, 20)
        toy, what = toy_of(student, nets), f"widths {widths}, threshold {threshold:.3f}"
        got = student.adaptive_width_predict(toy, x, widths, threshold)
        expect_exits(got, all_logits, index, what, INDEX)
        order = torch.randperm(20, generator=rng)
        got = student.adaptive_width_predict(toy, x[order], widths, threshold)
        expect_exits(got, all_logits[:, order], index[order], f"{what}, shuffled", INDEX)


def expect_computed(toy: RemoteObject, widths: Sequence[float], wanted: list[int]) -> None:
    """Expect that the nets computed no more samples than these; a copy's own are not seen."""
    computed = computed_by_width(toy, widths)
    if any(number > most for number, most in zip(computed, wanted, strict=True)):
        fail(
            f"widths {widths} computed {computed} samples, expected {wanted}: wider only where "
            "unsure, and nothing twice"
        )


@check("adaptive_width_predict", weight=3)
def test_wider_only_where_unsure(student: Student, rng: torch.Generator) -> None:
    for widths in ([0.5, 1.0], WIDTHS):
        nets, x, all_logits, threshold, index = mixed_nets(rng, widths, 18)
        toy = toy_of(student, nets)
        got = student.adaptive_width_predict(toy, x, widths, threshold)
        expect_exits(got, all_logits, index, f"widths {widths}", INDEX)
        wanted = [int((index >= number).sum()) for number in range(len(widths))]
        expect_computed(toy, widths, wanted)


@check("adaptive_width_predict", weight=2)
def test_always_and_never_narrow(student: Student, rng: torch.Generator) -> None:
    nets, x, all_logits = nets_by_width(rng, WIDTHS, 9)
    first, last = torch.zeros(9, dtype=torch.int64), torch.full((9,), 2)
    toy = toy_of(student, nets)
    got = student.adaptive_width_predict(toy, x, WIDTHS, 0.0)
    expect_exits(got, all_logits, first, "threshold 0: all stay narrow", INDEX)
    expect_computed(toy, WIDTHS, [9, 0, 0])
    flat = {width: copy.deepcopy(net) for width, net in nets.items()}
    for net in flat.values():
        nn.init.zeros_(net.weight)
    with torch.no_grad():
        all_logits = torch.stack([net(x) for net in flat.values()])
    got = student.adaptive_width_predict(toy_of(student, flat), x, WIDTHS, 1.0)
    expect_exits(got, all_logits, last, "threshold 1: the last width answers", INDEX)
    got = student.adaptive_width_predict(toy_of(student, nets), x, [0.5], 0.99)
    with torch.no_grad():
        only = nets[0.5](x)[None]
    expect_exits(got, only, first, "a single width always answers", INDEX)


@check("adaptive_width_predict")
def test_top1_equal_to_the_threshold_is_enough(student: Student, rng: torch.Generator) -> None:
    for classes in (2, 4):
        nets = {width: nn.Linear(3, classes) for width in (0.25, 1.0)}
        for net in nets.values():
            nn.init.zeros_(net.weight)
            nn.init.zeros_(net.bias)
        x = torch.randn(4, 3, generator=rng)
        toy = toy_of(student, nets)
        got = student.adaptive_width_predict(toy, x, [0.25, 1.0], 1 / classes)
        zeros = torch.zeros(2, 4, classes)
        what = f"{classes} equal logits, threshold {1 / classes}"
        expect_exits(got, zeros, torch.zeros(4, dtype=torch.int64), what, INDEX)


@check("adaptive_width_predict")
def test_images_and_one_image(student: Student, rng: torch.Generator) -> None:
    nets, x, all_logits, threshold, index = mixed_nets(rng, [0.25, 1.0], 8)
    shaped = {w: nn.Sequential(nn.Flatten(), net) for w, net in nets.items()}
    toy, pictures = toy_of(student, shaped), x.reshape(8, 1, 2, 3)
    got = student.adaptive_width_predict(toy, pictures, [0.25, 1.0], threshold)
    expect_exits(got, all_logits, index, "images (N, 1, 2, 3)", INDEX)
    for place in range(4):
        part = slice(place, place + 1)
        got = student.adaptive_width_predict(toy, pictures[part], [0.25, 1.0], threshold)
        expect_exits(got, all_logits[:, part], index[part], "one image", INDEX)


@check("adaptive_width_predict")
def test_predict_by_keyword_leaves_its_arguments(student: Student, rng: torch.Generator) -> None:
    nets, x, all_logits, threshold, index = mixed_nets(rng, WIDTHS, 10)
    toy, before, widths = toy_of(student, nets), x.clone(), list(WIDTHS)
    got = student.adaptive_width_predict(model=toy, x=x, widths=widths, threshold=threshold)
    expect_exits(got, all_logits, index, "by keyword", INDEX)
    expect.tensor(got[1], (10,), torch.int64, INDEX)
    expect.unchanged(before, x, "x")
    expect.equal(as_left(widths), WIDTHS, "widths afterwards")
    fine = toy_of(student, {width: net.double() for width, net in nets.items()})
    got = student.adaptive_width_predict(fine, x.double(), WIDTHS, threshold)
    expect.tensor(got[0], (10, 4), torch.float64, "logits of a float64 model")
    expect_exits(got, all_logits, index, "a float64 model", INDEX)


@check("adaptive_width_predict")
def test_predict_keeps_the_mode_of_every_part(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 6)
    nets[0.5].eval()
    for mixed in (True, False):
        toy = toy_of(student, nets)
        if not mixed:
            toy.eval()
        before = modes_of(toy)
        student.adaptive_width_predict(toy, x, WIDTHS, 0.6)
        if modes_of(toy) != before:
            fail(
                "the train/eval mode of the model or of one of its parts was changed; put every "
                "part back as it was",
                "mode_not_restored",
            )


@check("adaptive_width_predict")
def test_predict_keeps_running_statistics(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 6)
    normed = {w: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), net) for w, net in nets.items()}
    toy = toy_of(student, normed)
    before = {key: value.clone() for key, value in toy.state_dict().items()}
    student.adaptive_width_predict(toy, x.reshape(6, 1, 2, 3), WIDTHS, 0.9)
    difference = first_change(before, toy.state_dict())
    if difference:
        fail(
            f"the model was in train mode, and predicting changed it ({difference}): batch norm "
            "moves its statistics unless it is in eval mode",
            "train_mode",
        )


@check("adaptive_width_predict", weight=0.5)
def test_predict_rejects_no_widths(student: Student, rng: torch.Generator) -> None:
    nets, x, _ = nets_by_width(rng, WIDTHS, 6)
    with expect.value_error("widths = []"):
        student.adaptive_width_predict(toy_of(student, nets), x, [], 0.6)
