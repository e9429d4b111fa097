"""Hidden checks: EarlyExitNet."""

from __future__ import annotations

import copy

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
    make_chain,
    mixed_chain,
)

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
def test_threshold_may_be_any_number(student: Student, rng: torch.Generator) -> None:
    # A probability of 1 is not enough for 1.5, and an unsure sample passes -0.95.
    unsure = make_chain(rng, 2, 6)
    sure = copy.deepcopy(unsure)
    with torch.no_grad():
        sure.exits[0].bias[1] += 3000.0
    sure = finish_chain(sure.blocks, sure.exits, sure.x)
    for chain, threshold, place in ((sure, 1.5, 1), (unsure, -0.95, 0)):
        net = early_exit_net(student, chain)
        what = f"threshold {threshold}: expected all at exit {place}"
        try:
            got = net.forward_until_confident(chain.x, threshold, "top1")
        except StudentError as error:
            if not error.is_a("ValueError"):
                raise
            continue
        expect_exits(got, chain.all_logits, torch.full((6,), place), what, INDEX)


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
    fine = [nn.ModuleList(part).double() for part in (chain.blocks, chain.exits)]
    net = expect_object(student.EarlyExitNet(*map(list, fine)), "the net")
    try:
        got = net.forward_until_confident(chain.x.double(), threshold, "entropy")
    except StudentError as error:
        if "dtype" not in error.message:
            raise
        fail(
            f"a float64 network raised {error}; a tensor for the logits needs their dtype",
            "float32_only",
        )
    expect.tensor(got[0], (10, 4), torch.float64, "logits of a float64 network")
    expect_exits(got, chain.all_logits, exits, "a float64 network", INDEX)


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
    for blocks, exits in ((2, 3), (3, 2)):
        with expect.value_error(f"{blocks} blocks, {exits} exits"):
            net = student.EarlyExitNet(chain.blocks[:blocks], chain.exits[:exits])
            net.forward_until_confident(chain.x, 0.9, "top1")
    with expect.value_error("criterion = 'top5'"):
        net = early_exit_net(student, chain)
        net.forward_until_confident(chain.x, 0.9, "top5")
