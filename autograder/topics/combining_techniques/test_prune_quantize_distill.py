"""Hidden checks: prune_quantize_distill."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import redraw, stripes
from autograder.topics.combining_techniques import teaching
from autograder.topics.combining_techniques.toys import (
    Trainer,
    expect_eval,
    expect_grid,
    expect_rejections,
    expect_zeros,
    layers_of,
    weights_of,
    wide_net,
)
from course_utils.data import make_loader
from course_utils.models import LeNet


def trainer(student: Student, sparsity: float = 0.0, bits: int = 8) -> Trainer:
    """Return the exercise as a function that trains, at fixed sparsity and bits."""

    def train(model, teacher, loader, epochs, temperature, alpha, lr) -> Any:
        return student.prune_quantize_distill(
            model=model,
            teacher=teacher,
            loader=loader,
            sparsity=sparsity,
            bits=bits,
            epochs=epochs,
            temperature=temperature,
            alpha=alpha,
            lr=lr,
        )

    return train


@check("prune_quantize_distill", gate=True)
def test_zeros_or_grid_remain(student: Student, rng: torch.Generator) -> None:
    model, teacher = wide_net(rng), wide_net(rng).eval()
    got = trainer(student, 0.5, 4)(model, teacher, stripes(rng), 1, 2.0, 0.5, 0.01)
    weights = weights_of(got, model, "sparsity 0.5, 4 bits, one epoch")
    total = sum(weight.numel() for weight in weights.values())
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    values = max(len(weight.unique()) for weight in weights.values())
    if zeros < round(0.5 * total) - len(weights) and values > 2**4:
        fail(
            f"sparsity 0.5, 4 bits, one epoch: {zeros / total:.0%} zeros, up to {values} values in "
            "a layer: neither the zeros nor the grid survived the training",
            "nothing_held",
        )


@check("prune_quantize_distill", weight=3)
def test_zeros_survive(student: Student, rng: torch.Generator) -> None:
    model, teacher = wide_net(rng), wide_net(rng).eval()
    for sparsity, bits, epochs in ((0.5, 8, 0), (0.5, 4, 2), (0.9, 3, 2), (0.7, 8, 3)):
        what = f"sparsity {sparsity}, {bits} bits, {epochs} epochs"
        got = trainer(student, sparsity, bits)(model, teacher, stripes(rng), epochs, 1.0, 0.5, 0.02)
        for name, weight in weights_of(got, model, what).items():
            # Where one other value is as frequent as the zeros should be, 0 is no level.
            commonest = int(weight.unique(return_counts=True)[1].max())
            shifted = commonest >= round(sparsity * weight.numel())
            cause = "zero_is_no_level" if shifted else "zeros_lost"
            expect_zeros(weight, sparsity, f"{what}, layer {name}", cause)


@check("prune_quantize_distill", weight=3)
def test_grid_survives(student: Student, rng: torch.Generator) -> None:
    model, teacher = wide_net(rng), wide_net(rng).eval()
    for sparsity, bits, epochs in ((0.5, 8, 0), (0.5, 4, 2), (0.0, 3, 2), (0.3, 2, 1)):
        what = f"sparsity {sparsity}, {bits} bits, {epochs} epochs"
        got = trainer(student, sparsity, bits)(model, teacher, stripes(rng), epochs, 1.0, 0.5, 0.02)
        for name, weight in weights_of(got, model, what).items():
            expect_grid(weight, bits, f"{what}, layer {name}", "grid_lost")


@check("prune_quantize_distill", weight=3)
def test_without_epochs_it_is_pruned_and_rounded(student: Student, rng: torch.Generator) -> None:
    for model, bits in ((wide_net(rng), 8), (redraw(LeNet(3, 4, 9), rng), 10)):
        shape = (1, 28, 28) if isinstance(model, LeNet) else (1, 6, 6)
        images = torch.randn(16, *shape, generator=rng)
        loader = make_loader(images, torch.arange(16) % 3, 8)
        got = trainer(student, 0.6, bits)(model, model, loader, 0, 1.0, 0.5, 0.01)
        for name, weight in weights_of(got, model, "epochs = 0").items():
            old = layers_of(model)[name].weight.detach()
            sizes, size = old.abs(), float(old.abs().max())
            cut = float(sizes.flatten().sort().values[round(0.6 * old.numel()) - 1])
            step = 2 * size / 2 ** (bits - 1)
            small, large = sizes < cut - step, sizes > cut + 2 * step
            if (weight[small] != 0).any():
                fail(
                    f"epochs = 0, layer {name}: a weight that is clearly among the smallest 60 % "
                    "of its layer is not zero",
                    "wrong_weights_pruned",
                )
            off = float((weight - old)[large].abs().max()) / size
            if off > 0.03:
                fail(
                    f"epochs = 0, layer {name}, {bits} bits: a large weight is off by {off:.0%} of "
                    "the largest",
                    "wrong_weights_pruned",
                )


@check("prune_quantize_distill", weight=2)
def test_learns_from_the_teacher_on_the_grid(student: Student, rng: torch.Generator) -> None:
    teaching.expect_learns_from_the_teacher(trainer(student), rng)


@check("prune_quantize_distill", weight=2)
def test_alpha_weighs_the_labels_on_the_grid(student: Student) -> None:
    teaching.expect_alpha_weighs_the_labels(trainer(student))


@check("prune_quantize_distill", weight=2)
def test_soft_loss_keeps_its_weight_on_the_grid(student: Student) -> None:
    teaching.expect_t_squared(trainer(student))


@check("prune_quantize_distill")
def test_temperature_is_used_on_the_grid(student: Student) -> None:
    teaching.expect_temperature(trainer(student))


@check("prune_quantize_distill", weight=3)
def test_models_of_the_caller_stay(student: Student, rng: torch.Generator) -> None:
    teaching.expect_callers_models_unchanged(trainer(student, 0.5, 4), rng)


@check("prune_quantize_distill", weight=2)
def test_compressed_model_trains_properly(student: Student, rng: torch.Generator) -> None:
    teaching.expect_trains_properly(trainer(student), rng)


@check("prune_quantize_distill")
def test_own_teacher_stays_whole(student: Student, rng: torch.Generator) -> None:
    model, loader = wide_net(rng), stripes(rng)
    labels = torch.randint(3, (192,), generator=rng)  # they tell nothing
    loader = make_loader(loader.dataset.tensors[0], labels, 32, shuffle=True)
    plain = trainer(student, 0.7, 3)(model, model, loader, 0, 1.0, 0.0, 0.02)
    got = trainer(student, 0.7, 3)(model, model, loader, 15, 1.0, 0.0, 0.02)
    expect_eval(got, "model is its own teacher")
    before, after = (
        teaching.agreement(teaching.model_of(m, model), model, loader) for m in (plain, got)
    )
    if after < min(0.85, before + 0.02):
        fail(
            "a model that is its own teacher: expected more agreement with the model before "
            f"compression than {before:.0%}, got {after:.0%}; is the teacher still whole?",
            "teacher_is_compressed_too",
        )


@check("prune_quantize_distill")
def test_compression_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model, loader = wide_net(rng), stripes(rng, count=32)
    given = {"model": model, "teacher": model, "loader": loader, "sparsity": 0.5, "bits": 4}
    right = {**given, "epochs": 1, "temperature": 2.0, "alpha": 0.5, "lr": 0.01}
    wrong = {
        "sparsity": (-0.1, 1.0),
        "bits": (1, 17),
        "epochs": (-1,),
        "temperature": (0.0, -1.0),
        "alpha": (-0.5, 1.5),
        "lr": (0.0, -0.01),
    }
    expect_rejections(student.prune_quantize_distill, right, wrong)


@check("prune_quantize_distill", weight=3, timeout=40)
def test_distillation_repairs_the_rounding(
    student: Student, course: Course, expected: SimpleNamespace
) -> None:
    lenet = course.checkpoint("lenet")
    loader = course.loader("train", limit=2000, batch_size=50)
    got = trainer(student, 0.5, 2)(lenet, lenet, loader, 2, 1.0, 0.3, 2e-3)
    for name, weight in weights_of(got, lenet, "LeNet").items():
        expect_zeros(weight, 0.5, f"LeNet, 50 % zeros, 2 bits, layer {name}", "zeros_lost")
        expect_grid(weight, 2, f"LeNet, 50 % zeros, 2 bits, layer {name}", "grid_lost")
    right = course.hidden_accuracy(teaching.model_of(got, lenet), 1000)
    lowest = 0.78  # rounding after the training gives 0.73; optimizers are free
    message = (
        f"LeNet, 50 % zeros, 2 bits, two epochs on 2,000 images: expected at least {lowest:.0%} on "
        f"hidden images, got {right:.0%} (the reference: {expected.two_bits_distilled.value:.0%}); "
        "the network must feel zeros and grid while it learns"
    )
    expect.true(right >= lowest, message, "rounds_at_the_end")
