"""Hidden checks: quantize_and_cluster."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, redraw, snapshot, stripes
from autograder.topics.combining_techniques.toys import (
    expect_eval,
    expect_grid,
    expect_rejections,
    layers_of,
    weights_of,
    wide_net,
)
from course_utils.data import make_loader
from course_utils.models import BatchNormCNN


def expect_codebooks(got: Any, like: nn.Module, k: int, bits: int, what: str) -> dict[str, Tensor]:
    """Expect at most k values on the grid in each layer; return the weights."""
    weights = weights_of(got, like, what)
    for name, weight in weights.items():
        values = len(weight.unique())
        if values > k:
            message = f"{what}, layer {name}: expected at most k = {k} values, got {values}"
            fail(message, "no_clustering" if values > 2 * k else None)
        expect_grid(weight, bits, f"{what}, layer {name}", "off_the_grid")
    return weights


def accuracy_of(got: Any, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy of a model or of an object that stays in the sandbox."""
    with torch.no_grad():
        return float((got(images).argmax(1) == labels).double().mean())


@check("quantize_and_cluster", gate=True)
def test_few_values_on_the_grid(student: Student, rng: torch.Generator) -> None:
    model = wide_net(rng)
    for k, bits, epochs in ((4, 8, 1), (3, 4, 1), (8, 4, 0)):
        got = student.quantize_and_cluster(model, stripes(rng), k, bits, epochs, 0.01)
        what = f"k = {k}, {bits} bits, {epochs} epochs"
        weights = expect_codebooks(got, model, k, bits, what)
        if all(len(weight.unique()) == 1 for weight in weights.values()):
            fail(f"{what}: every layer has one single value")


@check("quantize_and_cluster", weight=3)
def test_many_settings(student: Student, rng: torch.Generator) -> None:
    model = wide_net(rng)
    for k, bits, epochs in ((2, 8, 0), (5, 3, 1), (16, 6, 1), (7, 2, 1), (64, 4, 0)):
        got = student.quantize_and_cluster(
            model=model, loader=stripes(rng), k=k, bits=bits, epochs=epochs, lr=0.01
        )
        expect_codebooks(got, model, k, bits, f"k = {k}, {bits} bits, {epochs} epochs")


@check("quantize_and_cluster", weight=3)
def test_clusters_follow_the_weights(student: Student, rng: torch.Generator) -> None:
    # Most weights are small and a few are large: equal steps waste their levels on the large ones.
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 60), nn.ReLU(), nn.Linear(60, 30))
    for layer in (model[1], model[3]):
        with torch.no_grad():
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng) ** 3)
    got = student.quantize_and_cluster(model, stripes(rng), 8, 10, 0, 0.01)
    for name, weight in expect_codebooks(got, model, 8, 10, "weights with long tails").items():
        old = layers_of(model)[name].weight.detach()
        steps = torch.linspace(float(old.min()), float(old.max()), 8)
        equal = steps[(old.flatten()[:, None] - steps).abs().argmin(1)].view_as(old)
        error = float((weight - old).square().mean() / (equal - old).square().mean())
        if error > 0.7:
            fail(
                f"layer {name} has many small weights and a few large ones; k = 8, 10 bits, "
                f"epochs = 0: the squared error is {error:.0%} of that of 8 equal steps, expected "
                "less than 70 %",
                "uniform_levels",
            )


@check("quantize_and_cluster", weight=2)
def test_every_layer_has_its_own_codebook(student: Student, rng: torch.Generator) -> None:
    model = wide_net(rng)
    got = student.quantize_and_cluster(model, stripes(rng), 16, 8, 0, 0.01)
    for name, weight in expect_codebooks(got, model, 16, 8, "k = 16, 8 bits").items():
        old = layers_of(model)[name].weight.detach()
        error = float((weight - old).square().mean() / old.square().mean())
        if error > 0.05:
            fail(
                f"layer {name}, k = 16, 8 bits, epochs = 0: the squared error is {error:.0%} of "
                "the weights' own; does each layer have a scale and a codebook of its own?",
                "one_codebook_for_all",
            )


@check("quantize_and_cluster", weight=2)
def test_with_room_nothing_is_lost(student: Student, rng: torch.Generator) -> None:
    model = wide_net(rng)
    got = student.quantize_and_cluster(model, stripes(rng), 4096, 12, 0, 0.01)
    for name, weight in expect_codebooks(got, model, 4096, 12, "k = 4096, 12 bits").items():
        old = layers_of(model)[name].weight.detach()
        off = float((weight - old).abs().max() / old.abs().max())
        message = f"layer {name}, k = 4096, 12 bits, epochs = 0: a weight is off by {off:.2%}"
        expect.true(off < 0.01, message)


@check("quantize_and_cluster")
def test_only_weights_are_rounded(student: Student, rng: torch.Generator) -> None:
    model = redraw(BatchNormCNN((3, 4, 5)), rng)
    images = torch.randn(32, 1, 28, 28, generator=rng)
    loader = make_loader(images, torch.arange(32) % 10, 16)
    got = student.quantize_and_cluster(model, loader, 4, 4, 0, 0.01)
    if not isinstance(got, nn.Module):
        return  # an object of the student's own; its weights were looked at by other checks
    weights = {f"{name}.weight" for name in layers_of(model)}
    state = got.state_dict()
    for name, value in model.state_dict().items():
        if name not in weights and name in state:
            what = f"epochs = 0: {name} stays in float"
            expect.close(state[name].detach(), value, what, atol=1e-6, mistake="biases_rounded")


@check("quantize_and_cluster", weight=3)
def test_training_helps(student: Student, rng: torch.Generator) -> None:
    model, loader = wide_net(rng), stripes(rng, count=384)
    images, labels = loader.dataset.tensors
    plain = student.quantize_and_cluster(model, loader, 8, 4, 0, 0.02)
    got = student.quantize_and_cluster(model, loader, 8, 4, 25, 0.02)
    expect_codebooks(got, model, 8, 4, "25 epochs")
    before, after = (accuracy_of(m, images, labels) for m in (plain, got))
    message = (
        f"an untrained model, an easy task, 25 epochs: expected at least 80 %, got {after:.0%} "
        f"(before: {before:.0%}); does the training reach the weights that are returned?"
    )
    expect.true(after >= 0.8, message, "does_not_train")


@check("quantize_and_cluster", weight=2)
def test_epochs_and_learning_rate_count(student: Student, rng: torch.Generator) -> None:
    model, loader = wide_net(rng), stripes(rng)

    def moved(epochs: int, lr: float) -> float:
        got = student.quantize_and_cluster(model, loader, 8, 8, epochs, lr)
        if not isinstance(got, nn.Module):
            fail(f"expected a model of the same class, got {describe(got)}")
        return float((got[3].bias - model[3].bias).detach().abs().sum())

    usual = moved(2, 1e-3)
    expect.true(usual > 0, "two epochs: the bias did not learn", "does_not_train")
    message = "ten times the epochs moved the bias no further: are all epochs trained?"
    expect.true(moved(20, 1e-3) > 1.5 * usual, message, "one_epoch_only")
    message = "a learning rate 100 times smaller moved the bias as far: is `lr` used?"
    expect.true(moved(2, 1e-5) < 0.3 * usual, message, "ignores_the_learning_rate")


@check("quantize_and_cluster", weight=2)
def test_result_is_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    for start in (wide_net(rng).train(), wide_net(rng).eval()):
        for epochs in (0, 1):
            got = student.quantize_and_cluster(start, stripes(rng, count=64), 4, 4, epochs, 0.01)
            expect_eval(got, f"epochs = {epochs}")


@check("quantize_and_cluster", weight=3)
def test_callers_model_does_not_change(student: Student, rng: torch.Generator) -> None:
    for model in (wide_net(rng).train(), lived_in(wide_net(rng), rng)):
        before = snapshot(model)
        for epochs in (0, 1):
            student.quantize_and_cluster(model, stripes(rng, count=64), 4, 4, epochs, 0.01)
            expect.unchanged(before, model, "the caller's model", "changes_the_model")


@check("quantize_and_cluster")
def test_clustering_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    given = {"model": wide_net(rng), "loader": stripes(rng, count=32)}
    right = {**given, "k": 4, "bits": 4, "epochs": 1, "lr": 0.01}
    wrong = {"k": (0, -2), "bits": (1, 0, 17), "epochs": (-1,), "lr": (0.0, -0.01)}
    expect_rejections(student.quantize_and_cluster, right, wrong)


@check("quantize_and_cluster", weight=3, timeout=40)
def test_lenet_at_two_bits(student: Student, course: Course, expected: SimpleNamespace) -> None:
    lenet = course.checkpoint("lenet")
    loader = course.loader("train", limit=2000, batch_size=50)
    got = student.quantize_and_cluster(lenet, loader, 4, 2, 2, 1e-3)
    expect_codebooks(got, lenet, 4, 2, "LeNet, 2 bits")
    right = accuracy_of(copy.deepcopy(got), *course.images("grading", 1000))
    lowest = 0.75
    message = (
        f"LeNet at 2 bits, k = 4, two epochs on 2,000 images: expected at least {lowest:.0%} on "
        f"hidden images, got {right:.0%} (the reference: {expected.two_bits_trained.value:.0%}); "
        "the network must feel the rounding while it learns"
    )
    expect.true(right >= lowest, message, "trains_in_float")


@check("quantize_and_cluster", weight=2, timeout=40)
def test_lenet_keeps_its_accuracy(
    student: Student, course: Course, expected: SimpleNamespace
) -> None:
    lenet = course.checkpoint("lenet")
    loader = course.loader("train", limit=500, batch_size=50)
    got = student.quantize_and_cluster(lenet, loader, 16, 8, 0, 1e-3)
    expect_codebooks(got, lenet, 16, 8, "LeNet, 8 bits, k = 16")
    right = accuracy_of(got, *course.images("grading", 1000))
    lowest = expected.clustered.low - 0.03
    message = (
        f"LeNet, 8 bits, k = 16, epochs = 0: expected at least {lowest:.1%} on hidden images, "
        f"got {right:.1%}"
    )
    expect.true(right >= lowest, message, "uniform_levels")
