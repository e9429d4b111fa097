"""Hidden checks: fold_batch_norm."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, redraw, snapshot


def pair(
    rng: torch.Generator,
    *,
    bias: bool = True,
    affine: bool = True,
    eps: float = 1e-5,
    inside: int = 3,
    outside: int = 5,
    **conv: object,
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return a conv layer and a batch normalisation with statistics, in eval mode."""
    conv = {"kernel_size": 3, **conv}
    layer = redraw(nn.Conv2d(inside, outside, bias=bias, **conv), rng).eval()
    bn = nn.BatchNorm2d(outside, eps=eps, affine=affine).eval()
    bn.running_mean.copy_(torch.randn(outside, generator=rng))
    bn.running_var.copy_(torch.rand(outside, generator=rng) + 0.2)
    if affine:
        with torch.no_grad():
            bn.weight.copy_(torch.randn(outside, generator=rng))
            bn.bias.copy_(torch.randn(outside, generator=rng))
    return layer, bn


def expect_folded(
    student: Student, conv: nn.Conv2d, bn: nn.BatchNorm2d, rng: torch.Generator, what: str
) -> None:
    """Fold, and expect a conv layer that gives what bn(conv(x)) gives in eval mode."""
    conv_before, bn_before = copy.deepcopy(conv), copy.deepcopy(bn)
    got = student.fold_batch_norm(conv, bn)
    if not isinstance(got, nn.Conv2d):
        fail(f"{what}: expected an nn.Conv2d, got {describe(got)}")
    expect.true(got.bias is not None, f"{what}: the folded layer needs a bias")
    x = torch.randn(4, conv.in_channels, 11, 12, generator=rng)
    with torch.no_grad():
        first = conv_before.double()
        wanted = bn_before.double().eval()(first(x.double()))
        result = got(x)
    size = float(wanted.abs().max())
    expect.close(
        result, wanted.float(), f"{what}: output of the folded layer", atol=2e-5 * size, rtol=1e-4
    )


@check("fold_batch_norm", gate=True)
def test_folds_a_conv_layer_with_bias(student: Student, rng: torch.Generator) -> None:
    for _ in range(2):
        conv, bn = pair(rng)
        expect_folded(student, conv, bn, rng, "conv with bias")


@check("fold_batch_norm", weight=2)
def test_folds_a_conv_layer_without_bias(student: Student, rng: torch.Generator) -> None:
    for affine in (True, False):
        conv, bn = pair(rng, bias=False, affine=affine)
        expect_folded(student, conv, bn, rng, "conv without bias")


@check("fold_batch_norm", weight=2)
def test_eps_lies_under_the_root(student: Student, rng: torch.Generator) -> None:
    for eps in (0.3, 1e-2, 1e-7):
        conv, bn = pair(rng, eps=eps)
        bn.running_var[:3] = torch.tensor([1e-3, 1e-2, 0.1])
        expect_folded(student, conv, bn, rng, f"eps = {eps}")


@check("fold_batch_norm", weight=2)
def test_folds_without_affine(student: Student, rng: torch.Generator) -> None:
    conv, bn = pair(rng, affine=False)
    expect_folded(student, conv, bn, rng, "affine=False")


@check("fold_batch_norm", weight=2)
def test_keeps_stride_padding_and_dilation(student: Student, rng: torch.Generator) -> None:
    for settings in (
        {"stride": 2, "padding": 1},
        {"kernel_size": (2, 5), "stride": (1, 3), "padding": (0, 2)},
        {"dilation": 2, "padding": 2, "bias": False},
        {"kernel_size": 1},
        {"inside": 5, "outside": 5},
        {"inside": 2, "outside": 1},
    ):
        conv, bn = pair(rng, **settings)
        expect_folded(student, conv, bn, rng, f"conv layer with {settings}")


@check("fold_batch_norm")
def test_running_statistics_in_train_mode(student: Student, rng: torch.Generator) -> None:
    conv, bn = pair(rng)
    before = snapshot(bn.train())
    expect_folded(student, conv.train(), bn, rng, "layers in train mode")
    expect.unchanged(before, bn, "bn, in train mode")


@check("fold_batch_norm")
def test_folding_leaves_both_layers(student: Student, rng: torch.Generator) -> None:
    for bias in (True, False):
        conv, bn = pair(rng, bias=bias)
        lived_in(conv, rng), lived_in(bn, rng)
        before = snapshot(conv), snapshot(bn)
        named = student.fold_batch_norm(conv=conv, bn=bn)
        expect.true(isinstance(named, nn.Conv2d), f"expected an nn.Conv2d, got {describe(named)}")
        expect_folded(student, conv, bn, rng, "layers with gradients")
        expect.unchanged(before[0], conv, "conv")
        expect.unchanged(before[1], bn, "bn")


@check("fold_batch_norm")
def test_signs_and_zeros_of_gamma(student: Student, rng: torch.Generator) -> None:
    conv, bn = pair(rng)
    with torch.no_grad():
        bn.weight[:3] = torch.tensor([0.0, -2.0, 1.0])
    expect_folded(student, conv, bn, rng, "gamma of 0 and below")
