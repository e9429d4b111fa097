"""Hidden checks: quantize_and_cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, redraw, snapshot, stripes
from autograder.topics.combining_techniques.toys import (
    expect_eval,
    expect_grid,
    expect_rejections,
    expect_rounding_felt,
    layers_of,
    levels,
    long_tails,
    nested_net,
    weights_of,
    wide_net,
)
from autograder.topics.knowledge_distillation.toys import bias_only, blind_task
from course_utils.data import make_loader
from course_utils.models import BatchNormCNN


def expect_codebooks(got: Any, like: nn.Module, k: int, bits: int, what: str) -> dict[str, Tensor]:
    """Expect at most k values on the grid in each layer; return the weights."""
    weights = weights_of(got, like, what)
    for name, weight in weights.items():
        values = len(levels(weight))
        if values > k:
            message = f"{what}, layer {name}: expected at most k = {k} values, got {values}"
            # A name with a dot is that of a layer inside another module.
            inner = "outer_layers_only" if "." in name else "no_clustering"
            fail(message, inner if values > 2 * k else None)
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
        if all(len(levels(weight)) == 1 for weight in weights.values()):
            fail(f"{what}: every layer has one single value")


@check("quantize_and_cluster", weight=3)
def test_many_settings(student: Student, rng: torch.Generator) -> None:
    model = wide_net(rng)
    for k, bits, epochs in ((1, 8, 1), (2, 8, 0), (5, 3, 1), (16, 6, 1), (7, 2, 1), (64, 4, 0)):
        got = student.quantize_and_cluster(
            model=model, loader=stripes(rng), k=k, bits=bits, epochs=epochs, lr=0.01
        )
        expect_codebooks(got, model, k, bits, f"k = {k}, {bits} bits, {epochs} epochs")


@check("quantize_and_cluster", weight=3)
def test_clusters_follow_the_weights(student: Student, rng: torch.Generator) -> None:
    model = long_tails(rng)  # equal steps waste their levels on the few large weights
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
def test_two_groups_are_two_clusters(student: Student, rng: torch.Generator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Linear(20, 3))
    for layer in (model[1], model[3]):
        first = torch.rand(layer.weight.shape, generator=rng) < 0.6
        noise = 0.005 * torch.randn(layer.weight.shape, generator=rng)
        with torch.no_grad():
            layer.weight.copy_(torch.where(first, 0.3, -0.1) + noise)
    got = student.quantize_and_cluster(model, stripes(rng), 2, 8, 0, 0.01)
    for name, weight in expect_codebooks(got, model, 2, 8, "two groups of weights").items():
        off = float((weight - layers_of(model)[name].weight.detach()).abs().max())
        message = (
            f"layer {name} has weights near 0.3 and near -0.1; k = 2, 8 bits, epochs = 0: a weight "
            f"is off by {off:.2f}; the two clusters are the two groups"
        )
        expect.true(off < 0.04, message, "too_few_clusters")


@check("quantize_and_cluster", weight=2)
def test_every_layer_has_its_own_codebook(student: Student, rng: torch.Generator) -> None:
    for model in (wide_net(rng), nested_net(rng)):
        got = student.quantize_and_cluster(model, stripes(rng), 16, 8, 0, 0.01)
        for name, weight in expect_codebooks(got, model, 16, 8, "k = 16, 8 bits").items():
            old = layers_of(model)[name].weight.detach()
            error = float((weight - old).square().mean() / old.square().mean())
            if error > 0.05:
                fail(
                    f"layer {name}, k = 16, 8 bits, epochs = 0: the squared error is {error:.0%} "
                    "of the weights' own; does each layer have a scale and a codebook of its own?",
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
    # So many levels that they cannot be told from floats.
    got = student.quantize_and_cluster(model, stripes(rng), 100_000, 16, 0, 0.01)
    for name, weight in weights_of(got, model, "k = 100,000, 16 bits").items():
        old = layers_of(model)[name].weight.detach()
        off = float((weight - old).abs().max() / old.abs().max())
        message = f"layer {name}, k = 100,000, 16 bits, epochs = 0: a weight is off by {off:.2%}"
        expect.true(off < 0.005, message)


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
    lowest = max(0.65, min(before + 0.02, 0.9))
    message = (
        f"an untrained model, an easy task, 25 epochs: expected at least {lowest:.0%}, got "
        f"{after:.0%} (before: {before:.0%}); does the training reach the weights that are "
        "returned?"
    )
    expect.true(after >= lowest, message, "does_not_train")


def learnt_bias(student: Student, labels: list[int], epochs: int, lr: float) -> Tensor:
    """Return the bias that a blind model learns from one batch of each of these labels."""
    model = bias_only()
    # Its input is always 0, so weights have no effect; without any there would be no scale.
    model[2].weight.data = torch.tensor([[0.5], [-0.3], [0.2]])
    images = blind_task(0, batch_size=8, batches=len(labels)).dataset.tensors[0]
    loader = make_loader(images, torch.tensor(labels).repeat_interleave(8), 8)
    got = student.quantize_and_cluster(model, loader, 4, 8, epochs, lr)
    if not isinstance(got, nn.Module):
        fail(f"expected a model of the same class, got {describe(got)}")
    return got[2].bias.detach()


@check("quantize_and_cluster", weight=2)
def test_epochs_and_learning_rate_count(student: Student) -> None:
    def moved(epochs: int, lr: float) -> float:
        return float(learnt_bias(student, [2] * 8, epochs, lr).abs().sum())

    usual = moved(2, 1e-3)
    expect.true(usual > 0, "two epochs: the bias did not learn", "does_not_train")
    message = "ten times the epochs moved the bias no further: are all epochs trained?"
    expect.true(moved(20, 1e-3) > 1.5 * usual, message, "one_epoch_only")
    message = "a learning rate 100 times smaller moved the bias as far: is `lr` used?"
    expect.true(moved(2, 1e-5) < 0.3 * usual, message, "ignores_the_learning_rate")


@check("quantize_and_cluster")
def test_all_batches_are_learnt(student: Student) -> None:
    for labels in ([0, 2, 2, 2], [2, 2, 2, 0]):
        bias = learnt_bias(student, labels, 30, 0.1)
        message = (
            f"four batches whose images all have the label {labels}, 30 epochs: expected class 2 "
            f"to win, got {int(bias.argmax())}; is every batch of an epoch used?"
        )
        expect.true(bias.argmax() == 2, message, "one_batch_only")


@check("quantize_and_cluster", weight=3)
def test_training_feels_the_rounding(student: Student, rng: torch.Generator) -> None:
    # With a value for every weight it is the same whether clustering comes before or after.
    def train(model: nn.Module, loader: DataLoader) -> Any:
        return student.quantize_and_cluster(model, loader, 1024, 3, 6, 1e-4)

    expect_rounding_felt(train, rng, "trains_in_float")


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


@check("quantize_and_cluster", weight=2, timeout=40)
def test_lenet_keeps_its_accuracy(
    student: Student, course: Course, expected: SimpleNamespace
) -> None:
    lenet = course.checkpoint("lenet")
    loader = course.loader("train", limit=500, batch_size=50)
    for epochs in (0, 1):
        got = student.quantize_and_cluster(lenet, loader, 16, 8, epochs, 1e-4)
        expect_codebooks(got, lenet, 16, 8, "LeNet, 8 bits, k = 16")
        right = accuracy_of(got, *course.images("grading", 1000))
        lowest = expected.clustered.low - 0.03
        message = (
            f"LeNet, 8 bits, k = 16, epochs = {epochs}: expected at least {lowest:.1%} on hidden "
            f"images, got {right:.1%}"
        )
        expect.true(right >= lowest, message, "uniform_levels")
