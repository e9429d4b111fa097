"""Hidden checks: prune_quantize_distill."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import redraw, stripes
from autograder.topics.combining_techniques import teaching
from autograder.topics.combining_techniques.toys import (
    Trainer,
    expect_grid,
    expect_rejections,
    expect_rounding_felt,
    expect_zeros,
    grid_step,
    layers_of,
    levels,
    long_tails,
    nested_net,
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
    values = max(len(levels(weight)) for weight in weights.values())
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


@check("prune_quantize_distill", weight=2)
def test_pruned_weights_stay_zero(student: Student, rng: torch.Generator) -> None:
    model, teacher, bits = wide_net(rng), wide_net(rng).eval(), 8
    got = trainer(student, 0.5, bits)(model, teacher, stripes(rng), 10, 1.0, 0.5, 0.1)
    for name, weight in weights_of(got, model, "ten epochs").items():
        sizes = layers_of(model)[name].weight.detach().abs()
        # Those that are small on any grid, so that rounding before pruning is right too.
        cut = sizes.quantile(0.5) - 2 * sizes.max() / 2 ** (bits - 1)
        if back := int((weight[sizes < cut] != 0).sum()):
            fail(
                f"sparsity 0.5, 8 bits, ten epochs, layer {name}: {back} of the weights that were "
                "pruned are not zero afterwards; the mask is made once, before the training",
                "moving_mask",
            )


@check("prune_quantize_distill")
def test_biases_and_norms_stay_in_float(student: Student, rng: torch.Generator) -> None:
    teaching.expect_biases_and_norms_kept(trainer(student, 0.8, 4), rng)


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
    for model, bits in (
        (wide_net(rng), 8),
        (nested_net(rng), 16),
        (redraw(LeNet(3, 4, 9), rng), 10),
    ):
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
                    # A name with a dot is that of a layer inside another module.
                    None if "." in name else "wrong_weights_pruned",
                )
            off = float((weight - old)[large].abs().max()) / size
            if off > 0.03:
                fail(
                    f"epochs = 0, layer {name}, {bits} bits: a large weight is off by {off:.0%} of "
                    "the largest",
                    "wrong_weights_pruned",
                )


@check("prune_quantize_distill", weight=2)
def test_weights_go_to_the_nearest_level(student: Student, rng: torch.Generator) -> None:
    model = long_tails(rng)
    for bits in (3, 5):
        got = trainer(student, 0.2, bits)(model, model, stripes(rng), 0, 1.0, 0.5, 0.01)
        for name, weight in weights_of(got, model, f"{bits} bits").items():
            what = f"0 epochs, {bits} bits, layer {name} with a few large weights"
            expect_grid(weight, bits, what, "codes_out_of_range")
            old, step = layers_of(model)[name].weight.detach(), grid_step(weight, bits)
            inside = (weight != 0) & (old.abs() <= weight.abs().max())
            off = float((weight - old)[inside].abs().max()) / step
            message = (
                f"{what}: a weight went to a level {off:.2f} steps away; the nearest level is at "
                "most half a step away, unless the weight lies beyond the last one"
            )
            expect.true(off < 0.52, message, "cuts_instead_of_rounding")


@check("prune_quantize_distill", weight=2)
def test_learns_from_the_teacher_on_the_grid(student: Student, rng: torch.Generator) -> None:
    teaching.expect_learns_from_the_teacher(trainer(student), rng)


@check("prune_quantize_distill", weight=2)
def test_alpha_weighs_the_labels_on_the_grid(student: Student) -> None:
    teaching.expect_alpha_weighs_the_labels(trainer(student))


@check("prune_quantize_distill")
def test_hard_loss_is_not_softened_on_the_grid(student: Student) -> None:
    teaching.expect_hard_loss_without_temperature(trainer(student))


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
    train = trainer(student, 0.7, 3)
    teaching.expect_the_teacher_is_whole(train, rng, "teacher_is_compressed_too")


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


@check("prune_quantize_distill", weight=3)
def test_distillation_feels_the_rounding(student: Student, rng: torch.Generator) -> None:
    def train(model: nn.Module, loader: DataLoader) -> Any:
        return trainer(student, 0.3, 3)(model, model, loader, 6, 2.0, 0.5, 1e-4)

    expect_rounding_felt(train, rng, "rounds_at_the_end")


@check("prune_quantize_distill", weight=2, timeout=40)
def test_lenet_learns_on_the_grid(student: Student, course: Course) -> None:
    lenet = course.checkpoint("lenet")
    loader = course.loader("train", limit=1000, batch_size=50)
    got = trainer(student, 0.5, 4)(lenet, lenet, loader, 1, 1.0, 0.3, 1e-3)
    for name, weight in weights_of(got, lenet, "LeNet").items():
        expect_zeros(weight, 0.5, f"LeNet, 50 % zeros, 4 bits, layer {name}", "zeros_lost")
        expect_grid(weight, 4, f"LeNet, 50 % zeros, 4 bits, layer {name}", "grid_lost")
    right = course.hidden_accuracy(teaching.model_of(got, lenet), 1000)
    lowest = 0.7  # scale and optimizer are free: from the largest weight some lose much at first
    message = (
        f"LeNet, 50 % zeros, 4 bits, one epoch on 1,000 images: expected at least {lowest:.0%} on "
        f"hidden images, got {right:.0%}"
    )
    expect.true(right >= lowest, message)
