"""Hidden checks: SwitchableBatchNorm2d."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.topics.dynamic_computation.toys import (
    channels,
    expect_object,
    outputs,
    run_layer,
    trainable,
)


def norm_of(student: Student, count: int, widths: list[float]) -> RemoteObject:
    """Build a switchable batch norm in train mode."""
    norm = expect_object(student.SwitchableBatchNorm2d(count, widths), "SwitchableBatchNorm2d")
    norm.train()
    return norm


def shifted(rng: torch.Generator, count: int, mean: float, deviation: float) -> Tensor:
    """Return images whose channels have about this mean and deviation."""
    return mean + deviation * torch.randn(24, count, 5, 5, generator=rng)


def expect_standard(got: object, shape: torch.Size, what: str, limit: float) -> None:
    """Expect channels with mean 0 and deviation 1."""
    got = expect.tensor(got, shape, what=what).detach()
    mean, deviation = got.mean(dim=(0, 2, 3)), got.std(dim=(0, 2, 3))
    if mean.abs().max() > limit or (deviation - 1).abs().max() > limit:
        fail(
            f"{what}: expected every channel with mean 0 and deviation 1, got means "
            f"{[round(v, 2) for v in mean.tolist()]} and deviations "
            f"{[round(v, 2) for v in deviation.tolist()]}; each width has statistics of its own"
        )


@check("SwitchableBatchNorm2d", gate=True)
def test_train_mode_normalises_each_width(student: Student, rng: torch.Generator) -> None:
    norm = norm_of(student, 8, [0.25, 0.5, 1.0])
    for width, mean in ((0.25, 4.0), (1.0, -3.0), (0.5, 0.0)):
        x = shifted(rng, channels(width, 8), mean, 2.0)
        x[::2] += 5  # what differs from image to image is not normalised away
        what = f"train mode, width {width}"
        got = expect.tensor(run_layer(norm, x, width, what), x.shape, what=what)
        wanted = F.batch_norm(x, None, None, training=True)
        what += ": (x - mean) / deviation of each channel over the whole batch"
        expect.close(got, wanted, what, atol=0.02, rtol=0.01)


@check("SwitchableBatchNorm2d", weight=4)
def test_each_width_keeps_its_own_statistics(student: Student, rng: torch.Generator) -> None:
    # Of 3 channels both 0.75 and 1 use all: two widths all the same.
    for count, widths in ((8, [0.25, 0.5, 1.0]), (6, [1.0, 0.5]), (3, [0.75, 1.0])):
        norm = norm_of(student, count, widths)
        moments = [(5.0, 1.0), (-8.0, 3.0), (1.0, 0.4)]
        data = {
            width: shifted(rng, channels(width, count), *moment)
            for width, moment in zip(widths, moments, strict=False)
        }
        for _, width in itertools.product(range(60), widths):
            norm(data[width], width)
        norm.eval()
        for width in reversed(widths):
            what = f"eval mode, width {width} of {widths}"
            got = run_layer(norm, data[width], width, what)
            expect_standard(got, data[width].shape, what, 0.15)


@check("SwitchableBatchNorm2d", weight=2)
def test_eval_mode_uses_and_keeps_statistics(student: Student, rng: torch.Generator) -> None:
    norm = norm_of(student, 4, [0.5, 1.0])
    x = shifted(rng, 4, 3.0, 2.0)
    for _ in range(5):
        norm(x, 1.0)
        norm(x[:, :2], 0.5)
    norm.eval()
    before = outputs(norm, x, 1.0, "eval mode")
    single = outputs(norm, x[:1], 1.0, "eval mode, one image")
    message = "eval mode, one image"
    expect.close(single, before[:1], message, 1e-4, 1e-4)
    for _ in range(5):
        norm(50 * x + 100, 1.0)
        norm(50 * x[:, :2] + 100, 0.5)
    after = outputs(norm, x, 1.0, "eval mode")
    expect.close(after, before, "eval mode, after other images: statistics are frozen", 1e-4, 1e-4)


@check("SwitchableBatchNorm2d")
def test_norm_rounds_channels_up(student: Student, rng: torch.Generator) -> None:
    for count, width in ((10, 0.25), (5, 0.25), (7, 0.5), (3, 0.125)):
        norm = norm_of(student, count, [width, 1.0])
        x = shifted(rng, channels(width, count), 2.0, 3.0)
        what = f"{count} channels, width {width}: {channels(width, count)} are used"
        expect_standard(run_layer(norm, x, width, what), x.shape, what, 0.05)


@check("SwitchableBatchNorm2d")
def test_scale_and_shift_can_learn(student: Student, rng: torch.Generator) -> None:
    norm = norm_of(student, 4, [0.5, 1.0])
    x = shifted(rng, 2, 0.0, 1.0)
    try:
        student.call_and_backward(norm, x, 0.5)
    except StudentError as error:
        if "does not require grad" not in error.message:
            raise
        fail("batch norm has a scale and a shift that learn, as nn.BatchNorm2d", "not_affine")
    if not any(p.grad is not None and p.grad.any() for p in trainable(norm)):
        fail("batch norm has a scale and a shift that learn, but no gradient reaches them")


@check("SwitchableBatchNorm2d", weight=0.5)
def test_norm_by_keyword(student: Student, rng: torch.Generator) -> None:
    norm = expect_object(student.SwitchableBatchNorm2d(channels=4, widths=[0.5, 1.0]), "the norm")
    norm.train()
    x = shifted(rng, 2, 3.0, 2.0)
    before = x.clone()
    expect_standard(norm(x=x, width=0.5), x.shape, "by keyword", 0.05)
    expect.unchanged(before, x, "x")


@check("SwitchableBatchNorm2d")
def test_norm_rejects_impossible_widths(student: Student, rng: torch.Generator) -> None:
    norm = norm_of(student, 4, [0.25, 1.0])
    for width, count in ((0.5, 2), (0.75, 3), (2.0, 4)):
        with expect.value_error(f"width = {width}, which is not among [0.25, 1.0]"):
            norm(torch.randn(2, count, 3, 3, generator=rng), width)
    for widths in ([0.5, 1.5], [0.0, 1.0], [-0.5, 1.0]):
        with expect.value_error(f"widths = {widths}"):
            student.SwitchableBatchNorm2d(4, widths)
