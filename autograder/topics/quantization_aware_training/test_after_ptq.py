"""Hidden checks: finetune_after_ptq."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import RemoteObject, Student
from autograder.judge.toys import lived_in, redraw, small_network, snapshot, stripes
from autograder.topics.quantization_aware_training.toys import (
    HIDDEN_IMAGES,
    accepted,
    folded_checkpoint,
    frozen_grids,
    hits,
    modes,
    on_grid,
)
from course_utils.data import make_loader
from course_utils.models import LeNet

Grid = tuple[float, int, int, bool]


def weight_of(got: Any, name: str) -> Tensor:
    """Return the weight of the layer `name` of a model, also of one that stays in the sandbox."""
    if isinstance(got, nn.Module):
        return got.get_submodule(name).weight.detach()
    if isinstance(got, RemoteObject):
        keys = got.state_dict()
        for key, value in keys.items():
            if key.startswith(f"{name}.") and key.endswith("weight") and isinstance(value, Tensor):
                return value.detach()
        fail(f"the result has no weight for the layer {name!r}; its tensors are {list(keys)}")
    fail(f"expected a model, got {describe(got)}")


def expect_on_grids(got: Any, grids: dict[str, Grid], what: str) -> dict[str, Tensor]:
    """Expect the weights of all named layers on their grids; return their codes."""
    return {
        name: on_grid(weight_of(got, name), grid, f"{what}, {name}") for name, grid in grids.items()
    }


def ptq_codes(weight: Tensor, grid: Grid) -> Tensor:
    """Return the codes that quantizing gives."""
    scale, zero_point, bits, signed = grid
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return (torch.round(weight.detach() / scale) + zero_point).clamp(low, high).double()


@check("finetune_after_ptq", gate=True)
def test_weights_lie_on_the_frozen_grid(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    grids = {"0": (0.15, 0, 3, True), "3": (0.06, 0, 4, True)}
    for epochs in (1, 3):
        got = student.finetune_after_ptq(model, grids, stripes(rng), epochs, 0.01)
        expect_on_grids(got, grids, f"after {epochs} epochs")


@check("finetune_after_ptq")
def test_every_kind_of_grid(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    for grids in (
        {"0": (0.2, 2, 2, False), "3": (0.05, 9, 4, False)},
        {"0": (0.3, -1, 2, True), "3": (0.01, 100, 8, False)},
        {"0": (0.11, 3, 3, False), "3": (0.08, 0, 2, True)},
    ):
        got = student.finetune_after_ptq(model, grids, stripes(rng), 2, 0.02)
        expect_on_grids(got, grids, "zero points, signed and unsigned codes")
    grids = {"0": (0.001, 0, 12, True), "3": (0.003, 2000, 12, False)}
    with accepted("a weight of 12 bits", "at_most_eight_bits"):
        got = student.finetune_after_ptq(model, grids, stripes(rng, count=64), 1, 0.02)
    expect_on_grids(got, grids, "12 bits")


@check("finetune_after_ptq")
def test_without_epochs_it_is_ptq(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    grids = {"0": (0.23, 1, 3, False)}
    got = student.finetune_after_ptq(model, grids, stripes(rng), 0, 0.02)
    codes = expect_on_grids(got, grids, "epochs=0")["0"]
    wanted = ptq_codes(model[0].weight, grids["0"])
    if (codes != wanted).double().mean() > 0.02:
        fail("epochs=0: expected the rounded weights of the model, and no other codes")
    expect.close(
        weight_of(got, "3"),
        model[3].weight.detach(),
        "epochs=0: the weight of a layer that qparams does not name",
        atol=0,
        rtol=0,
        mistake="quantizes_layers_without_qparams",
    )
    got = student.finetune_after_ptq(model, {}, stripes(rng, count=64), 0, 0.02)
    what = "epochs=0, no layer named in qparams: the weight of a layer"
    expect.close(weight_of(got, "0"), model[0].weight.detach(), what, atol=0, rtol=0)


@check("finetune_after_ptq")
def test_layers_by_their_full_names(student: Student, rng: torch.Generator) -> None:
    flat = small_network(rng)
    model = nn.Sequential(nn.Sequential(*flat[:2]), nn.Sequential(nn.Sequential(*flat[2:])))
    grids = {"0.0": (0.15, 0, 3, True), "1.0.1": (0.06, 0, 4, True)}
    for epochs in (0, 1):
        with accepted("a layer name such as '1.0.1'", "direct_children_only"):
            got = student.finetune_after_ptq(model, grids, stripes(rng, count=64), epochs, 0.01)
        expect_on_grids(got, grids, f"layers inside other modules, epochs={epochs}")
        names, wanted = list(got.state_dict()), list(model.state_dict())
        if sorted(names) != sorted(wanted):
            fail(
                f"expected the same architecture with the tensors {wanted}, got {names}",
                "wrappers_stay",
            )


def rounded_away(rng: torch.Generator) -> tuple[nn.Sequential, dict[str, Grid], DataLoader]:
    """Return a task, a model that is perfect in float, and a grid that rounds it to 0."""
    labels = torch.randint(4, (512,), generator=rng)
    images = torch.zeros(512, 1, 3, 3)
    images.flatten(1)[torch.arange(512), labels] = 10.0
    loader = make_loader(images, labels, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
        model[1].weight[:, :4] = 4 * torch.eye(4) - 2
    return model, {"1": (8.0, 0, 3, True)}, loader


@check("finetune_after_ptq", weight=3)
def test_the_rounded_weights_learn(student: Student, rng: torch.Generator) -> None:
    # In float the gradient is 0. So codes change only if the loss sees the rounded weights,
    # straight through.
    model, grids, loader = rounded_away(rng)
    start = hits(student.finetune_after_ptq(model, grids, loader, 0, 0.5), loader)
    got = student.finetune_after_ptq(model, grids, loader, 12, 0.5)
    expect_on_grids(got, grids, "after 12 epochs")
    right = hits(got, loader)
    if right < 0.9:
        fail(
            f"a task whose weights PTQ rounds to 0 (accuracy {start:.0%}): expected 90 % after "
            f"12 epochs, got {right:.0%}. The layer must compute with the rounded weights while it "
            "trains, and the gradient must reach the float weights",
            "rounds_only_at_the_end",
        )


@check("finetune_after_ptq")
def test_epochs_and_learning_rate_of_tuning_count(student: Student, rng: torch.Generator) -> None:
    model, grids, loader = rounded_away(rng)
    right = hits(student.finetune_after_ptq(model, grids, loader, 12, 0.05), loader)
    if right < 0.9:
        large = hits(student.finetune_after_ptq(model, grids, loader, 12, 0.5), loader)
        fail(
            f"12 epochs with a small lr: expected 90 %, got {right:.0%} (with lr=0.5 {large:.0%}); "
            "are all epochs trained?",
            "ignores_epochs" if large >= 0.9 else None,
        )
    got = student.finetune_after_ptq(model, grids, loader, 12, 1e-6)
    codes = on_grid(weight_of(got, "1"), grids["1"], "lr=1e-6")
    message = "with lr=1e-6 the codes changed all the same: is `lr` used?"
    expect.true(not codes.any(), message, "ignores_the_learning_rate")


@check("finetune_after_ptq", weight=2)
def test_scales_do_not_move(student: Student, rng: torch.Generator) -> None:
    # Scales that suit no weight: whoever computes scales anew lands on another grid.
    model = small_network(rng)
    for grids in (
        {"0": (0.7, 0, 3, True), "3": (0.004, 0, 4, True)},
        {"0": (0.011, 3, 4, False), "3": (0.31, 1, 2, False)},
    ):
        before = copy.deepcopy(grids)
        got = student.finetune_after_ptq(model, grids, stripes(rng), 2, 0.02)
        expect_on_grids(got, before, "scales that do not suit the weights")
        expect.unchanged(before, grids, "qparams")


@check("finetune_after_ptq")
def test_the_rest_of_the_model_is_kept(student: Student, rng: torch.Generator) -> None:
    model = redraw(LeNet(2, 3, 8), rng)
    images, labels = torch.randn(64, 1, 28, 28, generator=rng), torch.arange(64) % 10
    loader = make_loader(images, labels, batch_size=16)
    grids = {"conv2": (0.1, 0, 4, True), "fc2": (0.1, 0, 2, True)}
    for epochs in (0, 1):
        got = student.finetune_after_ptq(model, grids, loader, epochs, 1e-3)
        expect_on_grids(got, grids, f"LeNet, epochs={epochs}")
        for name in ("conv1", "fc1"):
            weight = weight_of(got, name)
            if len(weight.unique()) < 0.9 * weight.numel():
                fail(
                    f"{name} is not in qparams: its weight stays in float",
                    "quantizes_layers_without_qparams",
                )
        with torch.no_grad():
            twin = copy.deepcopy(model)
            for name in ("conv1", "conv2", "fc1", "fc2"):
                twin.get_submodule(name).weight.copy_(weight_of(got, name))
            if epochs == 0:
                wanted, shown = twin(images), got(images).detach()
                expect.close(shown, wanted, "epochs=0: the outputs", atol=1e-4, mistake="bias_lost")


@check("finetune_after_ptq")
def test_tuned_model_is_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    model, grids = small_network(rng), {"0": (0.2, 0, 3, True)}
    for epochs in (0, 1):
        for start in (copy.deepcopy(model).train(), copy.deepcopy(model).eval()):
            got = student.finetune_after_ptq(start, grids, stripes(rng, count=64), epochs, 0.01)
            if isinstance(got, nn.Module):
                flags = [module.training for module in got.modules()]
            else:
                flags = modes(student, got)
            message = f"epochs={epochs}: expected eval mode everywhere"
            expect.true(not any(flags), message, "left_in_train_mode")


@check("finetune_after_ptq", weight=2)
def test_tuning_leaves_the_callers_model(student: Student, rng: torch.Generator) -> None:
    model = lived_in(small_network(rng), rng)
    before, grids = snapshot(model), {"0": (0.2, 0, 3, True), "3": (0.1, 1, 2, False)}
    for epochs in (0, 1):
        arguments = {"loader": stripes(rng, count=64), "epochs": epochs, "lr": 0.01}
        try:
            student.finetune_after_ptq(model=model, qparams=grids, **arguments)
        except Exception as problem:
            if "no longer has the layers" not in str(problem):
                raise
            fail("the given model was changed: work on a deep copy", "changes_the_model")
        expect.unchanged(before, model, "the caller's model", "changes_the_model")


@check("finetune_after_ptq", weight=0.5)
def test_tuning_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model, loader, grid = small_network(rng), stripes(rng, count=32), (0.2, 0, 3, True)
    for name in ("conv9", "7", "0.weight"):
        with expect.value_error(f"qparams for {name!r}, which the model does not have"):
            student.finetune_after_ptq(model, {"0": grid, name: grid}, loader, 1, 0.01)
    for bits in (1, 17):
        with expect.value_error(f"{bits} bits in qparams"):
            student.finetune_after_ptq(model, {"0": (0.2, 0, bits, True)}, loader, 1, 0.01)
    with expect.value_error("epochs = -1"):
        student.finetune_after_ptq(model, {"0": grid}, loader, -1, 0.01)
    for lr in (0, -0.1):
        with expect.value_error(f"lr = {lr}"):
            student.finetune_after_ptq(model, {"0": grid}, loader, 1, lr)


@check("finetune_after_ptq", weight=2, timeout=30)
def test_tuning_brings_accuracy_back(
    student: Student, course: Course, expected: SimpleNamespace
) -> None:
    model = folded_checkpoint(course)
    grids = frozen_grids(model, 2)
    loader = course.loader("train", limit=2000, batch_size=64)
    got = student.finetune_after_ptq(model, grids, loader, 1, 2e-3)
    expect_on_grids(got, grids, "2 bits")
    images, labels = course.images("grading", HIDDEN_IMAGES)
    with torch.no_grad():
        right = float((got(images).argmax(1) == labels).double().mean())
    # Optimizer and schedule are free: plain gradient descent learns little in one epoch.
    low = expected.ptq_two_bits.high + 0.1
    message = (
        f"2-bit weights, one epoch on 2,000 images: expected {low:.1%} or more, got {right:.1%}"
    )
    expect.true(right > low, message, "rounds_only_at_the_end")
