"""Hidden checks: prune_then_distill."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import redraw, stripes
from autograder.topics.combining_techniques import teaching
from autograder.topics.combining_techniques.toys import (
    Trainer,
    expect_eval,
    expect_rejections,
    expect_zeros,
    layers_of,
    weights_of,
    wide_net,
)
from course_utils.data import make_loader
from course_utils.models import BatchNormCNN, LeNet


def trainer(student: Student, sparsity: float = 0.0) -> Trainer:
    """Return the exercise as a function that trains, at a fixed sparsity."""

    def train(model, teacher, loader, epochs, temperature, alpha, lr) -> Any:
        return student.prune_then_distill(
            model=model,
            teacher=teacher,
            loader=loader,
            sparsity=sparsity,
            epochs=epochs,
            temperature=temperature,
            alpha=alpha,
            lr=lr,
        )

    return train


@check("prune_then_distill", gate=True)
def test_zeros_are_there_after_distillation(student: Student, rng: torch.Generator) -> None:
    model, teacher = wide_net(rng), wide_net(rng).eval()
    for sparsity in (0.5, 0.8):
        got = student.prune_then_distill(model, teacher, stripes(rng), sparsity, 1, 2.0, 0.5, 0.01)
        sizes = weights_of(got, model, f"sparsity {sparsity}")
        total = sum(weight.numel() for weight in sizes.values())
        zeros = sum(int((weight == 0).sum()) for weight in sizes.values())
        if zeros < round(sparsity * total) - len(sizes):
            fail(
                f"sparsity {sparsity}, one epoch: expected {sparsity:.0%} of all weights to be 0, "
                f"got {zeros / total:.0%}; zeros must be held while the model learns",
                "masks_lost",
            )
        if zeros > round(sparsity * total) + 0.1 * total:
            fail(f"sparsity {sparsity}: {zeros / total:.0%} of all weights are 0, far too many")


@check("prune_then_distill", weight=3)
def test_every_layer_has_its_sparsity(student: Student, rng: torch.Generator) -> None:
    model, teacher = wide_net(rng), wide_net(rng).eval()
    for sparsity in (0.0, 0.33, 0.7, 0.95):
        for epochs in (0, 2):
            what = f"sparsity {sparsity}, {epochs} epochs"
            got = student.prune_then_distill(
                model, teacher, stripes(rng), sparsity, epochs, 1.0, 0.5, 0.01
            )
            for name, weight in weights_of(got, model, what).items():
                zeros, wanted = int((weight == 0).sum()), round(sparsity * weight.numel())
                cause = "masks_lost" if epochs else "global_threshold"
                if zeros < wanted:
                    fail(f"{what}, layer {name}: expected {wanted} zeros, got {zeros}", cause)
                if epochs == 0 and zeros > wanted:
                    fail(f"{what}, layer {name}: expected {wanted} zeros, got {zeros}", cause)


@check("prune_then_distill", weight=3)
def test_the_smallest_magnitudes_go(student: Student, rng: torch.Generator) -> None:
    for model in (wide_net(rng), redraw(LeNet(3, 4, 9), rng)):
        shape = (1, 6, 6) if isinstance(model, nn.Sequential) else (1, 28, 28)
        images = torch.randn(16, *shape, generator=rng)
        loader = make_loader(images, torch.arange(16) % 3, 8)
        got = student.prune_then_distill(model, model, loader, 0.6, 0, 1.0, 0.5, 0.01)
        for name, weight in weights_of(got, model, "epochs = 0").items():
            old = layers_of(model)[name].weight.detach()
            gone = weight == 0
            if old[gone].abs().max() > old[~gone].abs().min():
                fail(
                    f"epochs = 0, layer {name}: a weight of size {old[gone].abs().max():.3g} was "
                    f"pruned, one of {old[~gone].abs().min():.3g} was kept",
                    "signed_comparison" if old[~gone].min() >= 0 else None,
                )
            expect.close(weight[~gone], old[~gone], f"epochs = 0, layer {name}: the kept weights")


@check("prune_then_distill")
def test_biases_and_norms_are_kept(student: Student, rng: torch.Generator) -> None:
    model = redraw(BatchNormCNN((3, 4, 5)), rng)
    images = torch.randn(32, 1, 28, 28, generator=rng)
    loader = make_loader(images, torch.arange(32) % 10, 16)
    for epochs in (0, 1):
        got = student.prune_then_distill(model, model, loader, 0.8, epochs, 1.0, 0.5, 1e-3)
        state = teaching.model_of(got, model).state_dict()
        weights = {f"{name}.weight" for name in layers_of(model)}
        for name, value in model.state_dict().items():
            if name in weights or not value.is_floating_point():
                continue
            if epochs == 0:
                expect.equal(state[name].detach(), value, f"epochs = 0: {name}", "prunes_all")
            elif (state[name] == 0).sum() > (value == 0).sum() + 1:
                fail(f"{name}: only the weights of conv and linear layers are pruned", "prunes_all")


@check("prune_then_distill", weight=3)
def test_learns_from_the_teacher(student: Student, rng: torch.Generator) -> None:
    teaching.expect_learns_from_the_teacher(trainer(student), rng)


@check("prune_then_distill", weight=2)
def test_alpha_weighs_the_labels(student: Student) -> None:
    teaching.expect_alpha_weighs_the_labels(trainer(student))


@check("prune_then_distill", weight=2)
def test_soft_loss_keeps_its_weight(student: Student) -> None:
    teaching.expect_t_squared(trainer(student))


@check("prune_then_distill", weight=2)
def test_temperature_is_used(student: Student) -> None:
    teaching.expect_temperature(trainer(student))


@check("prune_then_distill", weight=3)
def test_callers_models_do_not_change(student: Student, rng: torch.Generator) -> None:
    teaching.expect_callers_models_unchanged(trainer(student, 0.5), rng)


@check("prune_then_distill", weight=2)
def test_it_trains_properly(student: Student, rng: torch.Generator) -> None:
    teaching.expect_trains_properly(trainer(student), rng)


@check("prune_then_distill", weight=2)
def test_a_model_teaches_its_pruned_copy(student: Student, rng: torch.Generator) -> None:
    model, loader = wide_net(rng).train(), stripes(rng)
    labels = torch.randint(3, (192,), generator=rng)  # they tell nothing
    loader = make_loader(loader.dataset.tensors[0], labels, 32, shuffle=True)
    pruned = student.prune_then_distill(model, model, loader, 0.9, 0, 1.0, 0.0, 0.05)
    got = student.prune_then_distill(model, model, loader, 0.9, 20, 1.0, 0.0, 0.05)
    expect_eval(got, "model is its own teacher")
    for name, weight in weights_of(got, model, "model is its own teacher").items():
        expect_zeros(weight, 0.9, f"model is its own teacher, layer {name}", "masks_lost")
    before, after = (teaching.agreement(m, model, loader) for m in (pruned, got))
    if after < min(0.9, before + 0.02):
        fail(
            "a model that is its own teacher: after distillation expected more agreement with the "
            f"model before pruning than {before:.0%}, got {after:.0%}; is the teacher still whole?",
            "teacher_is_pruned_too",
        )


@check("prune_then_distill")
def test_pruning_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model, loader = wide_net(rng), stripes(rng, count=32)
    given = {"model": model, "teacher": model, "loader": loader}
    right = {**given, "sparsity": 0.5, "epochs": 1, "temperature": 2.0, "alpha": 0.5, "lr": 0.01}
    wrong = {
        "sparsity": (-0.1, 1.0, 1.5),
        "epochs": (-1,),
        "temperature": (0.0, -1.0),
        "alpha": (-0.5, 1.5),
        "lr": (0.0, -0.01),
    }
    expect_rejections(student.prune_then_distill, right, wrong)


@check("prune_then_distill", weight=2, timeout=40)
def test_lenet_recovers(student: Student, course: Course, expected: SimpleNamespace) -> None:
    lenet = course.checkpoint("lenet")
    loader = course.loader("train", limit=1500, batch_size=50)
    got = student.prune_then_distill(lenet, lenet, loader, 0.9, 2, 1.0, 0.3, 2e-3)
    for name, weight in weights_of(got, lenet, "LeNet").items():
        expect_zeros(weight, 0.9, f"LeNet, 90 % pruned, layer {name}", "masks_lost")
    right = course.hidden_accuracy(teaching.model_of(got, lenet), 1000)
    # Optimizer and schedule are free: plain gradient descent recovers less.
    lowest = expected.pruned_only.high + 0.08
    message = (
        f"LeNet, 90 % of each layer pruned, two epochs on 1,500 images: expected at least "
        f"{lowest:.0%} on hidden images (without training: {expected.pruned_only.value:.0%}), "
        f"got {right:.0%}"
    )
    expect.true(right >= lowest, message, "does_not_train")
