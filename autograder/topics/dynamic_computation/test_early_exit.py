"""Hidden checks: EarlyExitNet, expected_macs and choose_threshold."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.topics.dynamic_computation.toys import (
    Chain,
    early_exit_net,
    expect_exits,
    expect_object,
    finish_chain,
    lists_or_tensors,
    make_chain,
    mixed_chain,
)

NAN = float("nan")
INDEX = "exit_index"


@check("EarlyExitNet", gate=True)
def test_easy_samples_leave_and_hard_ones_stay(student: Student, rng: torch.Generator) -> None:
    chain, threshold, exits = mixed_chain(rng, 2, 12, "top1")
    net = early_exit_net(student, chain)
    got = net.forward_until_confident(chain.x, threshold, "top1")
    expect_exits(got, chain.all_logits, exits, f"2 exits, top1 >= {threshold:.3f}", INDEX)


@check("EarlyExitNet", weight=2)
def test_several_exits_and_both_criteria(student: Student, rng: torch.Generator) -> None:
    for depth, criterion, classes in ((3, "entropy", 4), (4, "top1", 7), (3, "entropy", 3)):
        chain, threshold, exits = mixed_chain(rng, depth, 20, criterion, classes)
        net = early_exit_net(student, chain)
        what = f"{depth} exits, {criterion} >= {threshold:.3f}"
        got = net.forward_until_confident(chain.x, threshold, criterion)
        expect_exits(got, chain.all_logits, exits, what, INDEX)
        order = torch.randperm(20, generator=rng)
        got = net.forward_until_confident(chain.x[order], threshold, criterion)
        expect_exits(got, chain.all_logits[:, order], exits[order], f"{what}, shuffled", INDEX)


def counted_net(student: Student, chain: Chain) -> tuple[RemoteObject, RemoteObject, RemoteObject]:
    """Build the network from modules that count their samples."""
    blocks, exits = student.counted(chain.blocks), student.counted(chain.exits)
    return expect_object(student.EarlyExitNet(blocks, exits), "EarlyExitNet"), blocks, exits


def expect_counts(kind: str, modules: RemoteObject, wanted: list[int]) -> None:
    """Expect that modules computed no more samples than these."""
    computed = [sum(getattr(modules, str(place)).batches) for place in range(len(wanted))]
    if any(got > most for got, most in zip(computed, wanted, strict=True)):
        fail(
            f"the {kind}s computed {computed} samples, expected {wanted}: a sample that has left "
            "costs nothing more, and nothing is computed twice"
        )


@check("EarlyExitNet", weight=3)
def test_samples_that_left_cost_nothing(student: Student, rng: torch.Generator) -> None:
    for depth in (2, 3, 4):
        chain, threshold, exits = mixed_chain(rng, depth, 18, "top1")
        net, blocks, heads = counted_net(student, chain)
        got = net.forward_until_confident(chain.x, threshold, "top1")
        expect_exits(got, chain.all_logits, exits, f"{depth} exits", INDEX)
        reached = [int((exits >= number).sum()) for number in range(depth)]
        expect_counts("block", blocks, reached)
        expect_counts("exit", heads, reached)


@check("EarlyExitNet")
def test_nothing_later_runs_when_all_have_left(student: Student, rng: torch.Generator) -> None:
    chain = make_chain(rng, 3, 9)
    net, blocks, heads = counted_net(student, chain)
    got = net.forward_until_confident(chain.x, 0.0, "top1")
    expect_exits(got, chain.all_logits, torch.zeros(9, dtype=torch.int64), "threshold 0", INDEX)
    expect_counts("block", blocks, [9, 0, 0])
    expect_counts("exit", heads, [9, 0, 0])


@check("EarlyExitNet")
def test_threshold_that_nobody_reaches(student: Student, rng: torch.Generator) -> None:
    for depth, criterion in ((3, "top1"), (2, "entropy"), (1, "top1")):
        chain = make_chain(rng, depth, 8)
        net = early_exit_net(student, chain)
        last = torch.full((8,), depth - 1)
        for threshold in (1.0, 1.5):
            try:
                got = net.forward_until_confident(chain.x, threshold, criterion)
            except StudentError as error:
                # Who takes the threshold for a fraction may reject one above 1.
                if threshold > 1 and error.is_a("ValueError"):
                    continue
                raise
            what = f"{depth} exits, threshold {threshold}: the last exit always answers"
            expect_exits(got, chain.all_logits, last, what, INDEX)


@check("EarlyExitNet")
def test_confidence_equal_to_the_threshold_leaves(student: Student, rng: torch.Generator) -> None:
    # Softmax of equal logits is exact: 1/2 of two classes, 1/4 of four.
    for classes in (2, 4):
        heads = [nn.Linear(3, classes) for _ in range(2)]
        with torch.no_grad():
            for head in heads:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)
            heads[1].bias[0] = 1.0
        chain = finish_chain([nn.Identity(), nn.ReLU()], heads, torch.randn(5, 3, generator=rng))
        net = early_exit_net(student, chain)
        got = net.forward_until_confident(chain.x, 1 / classes, "top1")
        what = f"{classes} equal logits, top1 >= {1 / classes}"
        expect_exits(got, chain.all_logits, torch.zeros(5, dtype=torch.int64), what, INDEX)
    sure = nn.Linear(3, 4)
    with torch.no_grad():
        nn.init.zeros_(sure.weight)
        sure.bias.copy_(torch.tensor([0.0, 2000.0, 0.0, 0.0]))
    chain = finish_chain([nn.Identity(), nn.ReLU()], [sure, heads[1]], torch.ones(3, 3))
    net = early_exit_net(student, chain)
    got = net.forward_until_confident(chain.x, 1.0, "top1")
    zeros = torch.zeros(3, dtype=torch.int64)
    expect_exits(got, chain.all_logits, zeros, "a probability of 1, threshold 1", INDEX)


@check("EarlyExitNet")
def test_images_and_single_samples(student: Student, rng: torch.Generator) -> None:
    blocks = [
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 5, 3, stride=2), nn.ReLU(), nn.Flatten()),
    ]
    exits = [nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)), nn.Linear(20, 3)]
    x = torch.randn(7, 1, 8, 8, generator=rng)
    chain = finish_chain(blocks, exits, x)
    confidences = chain.all_logits[0].softmax(1).amax(1).sort().values
    gap = confidences[1:-1].diff().argmax() + 1
    threshold = float((confidences[gap] + confidences[gap + 1]) / 2)
    wanted = (chain.all_logits[0].softmax(1).amax(1) < threshold).long()
    net = early_exit_net(student, chain)
    got = net.forward_until_confident(x, threshold, "top1")
    expect_exits(got, chain.all_logits, wanted, "7 images", INDEX)
    for place in range(7):
        got = net.forward_until_confident(x[place : place + 1], threshold, "top1")
        part = slice(place, place + 1)
        expect_exits(got, chain.all_logits[:, part], wanted[part], "one image", INDEX)


@check("EarlyExitNet")
def test_exits_by_keyword_leave_the_samples(student: Student, rng: torch.Generator) -> None:
    chain, threshold, exits = mixed_chain(rng, 3, 10, "entropy")
    net = expect_object(student.EarlyExitNet(blocks=chain.blocks, exits=chain.exits), "the net")
    before = chain.x.clone()
    got = net.forward_until_confident(x=chain.x, threshold=threshold, criterion="entropy")
    expect_exits(got, chain.all_logits, exits, "by keyword", INDEX)
    expect.unchanged(before, chain.x, "x")
    expect.tensor(got[1], (10,), torch.int64, INDEX)
    expect.tensor(got[0], (10, 4), torch.float32, "logits")
    again = net.forward_until_confident(chain.x, threshold, "entropy")
    expect_exits(again, chain.all_logits, exits, "a second call", INDEX)


@check("EarlyExitNet", weight=0.5)
def test_parameters_are_registered(student: Student, rng: torch.Generator) -> None:
    chain = make_chain(rng, 2, 4)
    net = early_exit_net(student, chain)
    state = net.state_dict()
    held = [value for value in state.values() if isinstance(value, Tensor)]
    for module in (*chain.blocks, *chain.exits):
        for parameter in module.parameters():
            if not any(v.shape == parameter.shape and torch.equal(v, parameter) for v in held):
                fail(
                    "the parameters of blocks and exits are not in the network's state_dict(): "
                    "put them into nn.ModuleList",
                    "not_registered",
                )


@check("EarlyExitNet", weight=0.5)
def test_net_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    chain = make_chain(rng, 3, 4)
    with expect.value_error("2 blocks, 3 exits"):
        net = student.EarlyExitNet(chain.blocks[:2], chain.exits)
        net.forward_until_confident(chain.x, 0.9, "top1")
    with expect.value_error("criterion = 'top5'"):
        net = early_exit_net(student, chain)
        net.forward_until_confident(chain.x, 0.9, "top5")


# ---------------------------------------------------------------- expected_macs


def right_macs(counts: list[int], macs: list[float]) -> float:
    """Return the mean MACs of a sample."""
    paid = itertools.accumulate(macs)
    return sum(n * cost for n, cost in zip(counts, paid, strict=True)) / sum(counts)


def expect_macs(student: Student, counts: list[int], macs: list[float]) -> None:
    """Expect the right mean."""
    got = lists_or_tensors(student.expected_macs, counts, macs)
    what = f"exit_counts {counts}, macs_per_block {macs}"
    expect.close(got, right_macs(counts, macs), what, atol=1e-6, rtol=1e-5)


@check("expected_macs", gate=True)
def test_macs_cumulate(student: Student) -> None:
    expect_macs(student, [3, 1], [100, 400])
    expect_macs(student, [1, 1], [10, 30])


@check("expected_macs", weight=3)
def test_mean_over_several_exits(student: Student) -> None:
    for counts, macs in (
        ([5, 3, 2], [10, 20, 40]),
        ([2, 0, 5, 1], [7, 100, 3, 11]),
        ([120, 700, 180], [288_000, 1_607_200, 405_000]),
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]),
    ):
        expect_macs(student, counts, macs)


@check("expected_macs", weight=2)
def test_all_leave_at_one_exit(student: Student) -> None:
    for counts in ([9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 1]):
        expect_macs(student, counts, [17, 230, 41])
    expect_macs(student, [6], [35])


@check("expected_macs")
def test_mean_is_not_rounded(student: Student) -> None:
    expect_macs(student, [2, 1], [10, 1])
    expect_macs(student, [1, 6], [0.5, 0.25])


@check("expected_macs")
def test_macs_by_keyword_leave_their_arguments(student: Student) -> None:
    arguments = {"exit_counts": [4, 2, 1], "macs_per_block": [3, 5, 8]}
    try:
        got = student.expected_macs(**arguments)
    except StudentError as error:
        if not (error.is_a("TypeError") or error.is_a("AttributeError")):
            raise
        tensors = {name: torch.tensor(value) for name, value in arguments.items()}
        got = student.expected_macs(**tensors)
    expect.close(got, right_macs([4, 2, 1], [3, 5, 8]), "by keyword", atol=1e-5)
    expect.equal(arguments["exit_counts"], [4, 2, 1], "exit_counts afterwards")
    expect.equal(arguments["macs_per_block"], [3, 5, 8], "macs_per_block afterwards")


@check("expected_macs")
def test_macs_reject_impossible_arguments(student: Student) -> None:
    for counts, macs in (
        ([1, 2], [5]),
        ([1], [5, 6]),
        ([0, 0], [5, 6]),
        ([3, -1], [5, 6]),
        ([4, 4, 4], [1, 2]),
    ):
        with expect.value_error(f"exit_counts {counts}, macs_per_block {macs}"):
            lists_or_tensors(student.expected_macs, counts, macs)


# ---------------------------------------------------------------- choose_threshold


def expect_threshold(
    student: Student, confidences: list[float], correct: list[int], target: float, what: str = ""
) -> None:
    """Expect a threshold at which just the right samples leave."""
    sure, right = torch.tensor(confidences), torch.tensor(correct, dtype=torch.bool)
    levels = sorted(set(confidences))
    share = {t: sum(r for c, r in zip(confidences, correct, strict=True) if c >= t) for t in levels}
    best = min(t for t in levels if share[t] >= target * sum(c >= t for c in confidences))
    below = max((t for t in levels if t < best), default=-1e9)
    got = expect.number(student.choose_threshold(sure, right, target), "the threshold")
    if not below + 1e-6 < got <= best + 1e-6:
        leaves = sorted((c for c in confidences if c >= best), reverse=True)
        fail(
            f"{what or 'confidences'} {confidences}, correct {correct}, target {target}: expected "
            f"{best} (those with {leaves} leave), got {got:.4f}"
        )


@check("choose_threshold", gate=True)
def test_smallest_threshold_that_reaches_the_target(student: Student) -> None:
    expect_threshold(student, [0.95, 0.8, 0.6, 0.4], [1, 1, 0, 0], 1.0)
    expect_threshold(student, [0.4, 0.95, 0.6, 0.8], [0, 1, 1, 1], 0.9)


@check("choose_threshold", weight=2)
def test_accuracy_may_fall_and_rise_again(student: Student) -> None:
    expect_threshold(student, [0.9, 0.8, 0.6, 0.4], [1, 0, 1, 1], 0.75)
    expect_threshold(student, [0.35, 0.9, 0.75, 0.5, 0.6], [0, 0, 1, 1, 1], 0.7)
    expect_threshold(student, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0, 0, 1, 1, 0, 1], 0.65)


@check("choose_threshold", weight=2)
def test_accuracy_of_those_who_leave(student: Student) -> None:
    expect_threshold(student, [0.9, 0.85, 0.5, 0.4, 0.3, 0.2], [1, 1, 0, 0, 0, 0], 0.9)
    expect_threshold(student, [0.9, 0.85, 0.5, 0.4, 0.3, 0.2], [1, 1, 1, 0, 0, 0], 0.6)
    expect_threshold(student, [0.25, 0.7, 0.95], [0, 0, 1], 0.9)


@check("choose_threshold")
def test_target_that_is_just_reached(student: Student) -> None:
    expect_threshold(student, [0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 1, 0, 0], 0.75)
    expect_threshold(student, [0.9, 0.8, 0.7], [1, 0, 0], 0.5)


@check("choose_threshold", weight=2)
def test_equal_confidences_leave_together(student: Student) -> None:
    for tied in itertools.permutations([1, 0, 1]):
        expect_threshold(student, [0.9, 0.5, 0.5, 0.5, 0.2], [1, *tied, 0], 1.0, "ties:")
        expect_threshold(student, [0.9, 0.5, 0.5, 0.5, 0.2], [1, *tied, 0], 0.75, "ties:")


@check("choose_threshold")
def test_confidences_close_together(student: Student) -> None:
    close = [0.999, 0.997, 0.995, 0.993, 0.991]
    expect_threshold(student, close, [1, 1, 1, 0, 0], 1.0)
    expect_threshold(student, close, [1, 1, 0, 0, 0], 0.6)
    expect_threshold(student, [0.52, 0.5, 0.48, 0.46], [1, 0, 0, 0], 0.9)


@check("choose_threshold")
def test_everybody_may_leave(student: Student) -> None:
    expect_threshold(student, [0.9, 0.3, 0.6], [1, 1, 1], 1.0)
    expect_threshold(student, [0.45], [1], 0.8)
    expect_threshold(student, [0.9, 0.3, 0.6, 0.2], [1, 0, 1, 1], 0.5)


@check("choose_threshold")
def test_target_that_nothing_reaches(student: Student) -> None:
    sure = torch.tensor([0.9, 0.7, 0.4])
    for correct, target in (([0, 0, 0], 0.5), ([0, 1, 1], 0.7), ([0, 1, 0], 0.9)):
        with expect.value_error(f"correct {correct}, target {target}: no threshold reaches it"):
            student.choose_threshold(sure, torch.tensor(correct, dtype=torch.bool), target)


@check("choose_threshold", weight=0.5)
def test_threshold_by_keyword(student: Student) -> None:
    sure, right = torch.tensor([0.9, 0.7, 0.4]), torch.tensor([True, True, False])
    before = (sure.clone(), right.clone())
    got = student.choose_threshold(confidences=sure, correct=right, target_accuracy=1.0)
    got = expect.number(got, "the threshold", 0.4001, 0.7001)
    expect.unchanged(before, (sure, right), "(confidences, correct)")


@check("choose_threshold", weight=0.5)
def test_threshold_rejects_impossible_arguments(student: Student) -> None:
    sure, right = torch.tensor([0.9, 0.7, 0.4]), torch.tensor([True, True, True])
    for target in (-0.1, 1.1, 95):
        with expect.value_error(f"target_accuracy = {target}"):
            student.choose_threshold(sure, right, target)
    with expect.value_error("3 confidences, 2 answers"):
        student.choose_threshold(sure, right[:2], 0.5)
    with expect.value_error("no samples"):
        student.choose_threshold(sure[:0], right[:0], 0.5)
    with expect.value_error("confidences with NaN"):
        student.choose_threshold(torch.tensor([0.9, NAN, 0.4]), right, 0.5)
