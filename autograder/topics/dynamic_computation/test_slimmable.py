"""Hidden checks: SlimmableLinear and SlimmableConv2d."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.topics.dynamic_computation.toys import (
    channels,
    expect_object,
    outputs,
    refill,
    run_layer,
    trainable,
)

FLAGS = ((True, True), (False, True), (True, False), (False, False))
OUTSIDE = (0.0, -0.25, 1.25, 2)


def described(slice_input: bool, slice_output: bool) -> str:
    """Name a setting."""
    return f"slice_input={slice_input}, slice_output={slice_output}"


# ---------------------------------------------------------------- SlimmableLinear


def linear(student: Student, rng: torch.Generator, *args: Any, **kwargs: Any) -> RemoteObject:
    """Build a linear layer with random weights."""
    return refill(expect_object(student.SlimmableLinear(*args, **kwargs), "SlimmableLinear"), rng)


def read_linear(layer: RemoteObject, features: int) -> tuple[Tensor, Tensor]:
    """Return weight (out, in) and bias (out,), read through the layer at width 1."""
    rows = outputs(
        layer, torch.cat([torch.eye(features), torch.zeros(1, features)]), 1.0, "width 1"
    )
    return (rows[:-1] - rows[-1]).T, rows[-1]


def expect_linear(
    layer: RemoteObject,
    sizes: tuple[int, int],
    flags: tuple[bool, bool],
    widths: tuple[float, ...],
    rng: torch.Generator,
) -> None:
    """Expect the first outputs of the first inputs at every width."""
    weight, bias = read_linear(layer, sizes[0])
    for width in widths:
        inputs, used = (channels(width, n, flag) for n, flag in zip(sizes, flags, strict=True))
        what = f"Linear{sizes}, {described(*flags)}, width {width}"
        x = torch.randn(5, inputs, generator=rng)
        got = expect.tensor(run_layer(layer, x, width, what), (5, used), what=what)
        wanted = x @ weight[:used, :inputs].T + bias[:used]
        expect.close(got, wanted, what, atol=1e-4, rtol=1e-4)


@check("SlimmableLinear", gate=True)
def test_linear_uses_the_first_channels(student: Student, rng: torch.Generator) -> None:
    layer = linear(student, rng, 8, 12)
    weight, bias = read_linear(layer, 8)
    expect.true(weight.shape == (12, 8), "width 1: expected a layer with 8 inputs, 12 outputs")
    message = "an input of 0 gives an output of 0: the bias is missing"
    expect.true(bias.any(), message, "bias_forgotten")
    expect_linear(layer, (8, 12), (True, True), (1.0, 0.5), rng)


@check("SlimmableLinear", weight=3)
def test_linear_slices_what_it_is_told(student: Student, rng: torch.Generator) -> None:
    for slice_input, slice_output in FLAGS:
        layer = linear(student, rng, 8, 12, slice_input=slice_input, slice_output=slice_output)
        expect_linear(layer, (8, 12), (slice_input, slice_output), (0.25, 0.5, 0.75, 1.0), rng)


@check("SlimmableLinear", weight=2)
def test_linear_rounds_channels_up(student: Student, rng: torch.Generator) -> None:
    for sizes, widths in (((10, 7), (0.25, 0.5, 0.75)), ((5, 9), (0.125, 0.25)), ((3, 3), (0.25,))):
        for flags in ((True, True), (False, True), (True, False)):
            layer = linear(student, rng, *sizes, slice_input=flags[0], slice_output=flags[1])
            expect_linear(layer, sizes, flags, widths, rng)


def expect_shared_gradient(
    student: Student,
    layer: RemoteObject,
    x: Tensor,
    width: float,
    wanted: Tensor,
    wanted_bias: Tensor,
) -> None:
    """Expect these gradients in the one weight and the one bias, and 0 beyond their parts."""
    try:
        student.call_and_backward(layer, x, width)
    except StudentError as error:
        if "does not require grad" not in error.message:
            raise
        fail("no gradient reaches the weight", "gradient_cut_off")
    held = trainable(layer)
    gradients = [p.grad for p in held if p.grad is not None and p.grad.any()]
    if not any(gradient.shape == wanted.shape for gradient in gradients):
        if not gradients or all(g.dim() == 1 for g in gradients):
            fail("no gradient reaches the weight: a slice must stay a view", "gradient_cut_off")
        return  # the weight is stored in another form
    gradient = next(g for g in gradients if g.shape == wanted.shape)
    expect.close(gradient, wanted, f"the gradient of the weight, width {width}", 1e-3, 1e-3)
    for bias in (p for p in held if p.shape == wanted_bias.shape):
        expect.true(bias.grad is not None, "no gradient reaches the bias: slice it as a view")
        expect.close(bias.grad, wanted_bias, f"the gradient of the bias, width {width}", 1e-3, 1e-3)


def expect_healthy_start(layer: RemoteObject, plain: str) -> None:
    """Expect that a new layer with hundreds of inputs to each output has small weights."""
    for weight in (p for p in trainable(layer) if p.dim() > 1):
        size = float(weight.detach().abs().mean())
        expect.true(
            0 < size < 0.25,
            f"a new layer has small weights as {plain} has, about 1 / sqrt(inputs), but their mean "
            f"magnitude is {size:.3f}",
        )


@check("SlimmableLinear", weight=2)
def test_linear_gradient_reaches_the_shared_weight(student: Student, rng: torch.Generator) -> None:
    layer = linear(student, rng, 8, 12)
    x = torch.randn(5, 4, generator=rng)
    wanted = torch.zeros(12, 8)
    wanted[:6, :4] = x.sum(0)
    wanted_bias = torch.zeros(12)
    wanted_bias[:6] = 5
    expect_shared_gradient(student, layer, x, 0.5, wanted, wanted_bias)


@check("SlimmableLinear")
def test_linear_has_one_set_of_weights(student: Student, rng: torch.Generator) -> None:
    for bias, numbers in ((True, 66), (False, 60)):
        layer = expect_object(student.SlimmableLinear(10, 6, bias=bias), "SlimmableLinear")
        for width in (0.25, 0.5, 1.0):
            fresh = outputs(layer, torch.ones(1, channels(width, 10)), width, f"width {width}")
            healthy = bool(fresh.isfinite().all() and fresh.any() and fresh.abs().max() < 1e3)
            expect.true(healthy, "a new layer has weights as nn.Linear has, not 0 or garbage")
        count = sum(p.numel() for p in trainable(layer))
        if count != numbers:
            fail(f"bias={bias}: expected {numbers} parameters for all widths, got {count}")
    large = expect_object(student.SlimmableLinear(400, 20), "SlimmableLinear")
    expect_healthy_start(large, "nn.Linear")


@check("SlimmableLinear")
def test_linear_without_bias_and_by_keyword(student: Student, rng: torch.Generator) -> None:
    arguments = {"in_features": 6, "out_features": 8, "bias": False}
    layer = linear(student, rng, **arguments, slice_input=False, slice_output=True)
    _, bias = read_linear(layer, 6)
    expect.true(not bias.any(), "bias=False: expected outputs of 0 for inputs of 0")
    expect_linear(layer, (6, 8), (False, True), (0.25, 0.75), rng)
    x = torch.randn(2, 6, generator=rng)
    before = x.clone()
    got = layer(x=x, width=0.5)
    expect.tensor(got, (2, 4), what="layer(x=..., width=0.5)")
    expect.unchanged(before, x, "x")


@check("SlimmableLinear", weight=0.5)
def test_linear_rejects_impossible_widths(student: Student, rng: torch.Generator) -> None:
    layer = linear(student, rng, 4, 4, slice_input=False, slice_output=False)
    for width in OUTSIDE:
        with expect.value_error(f"width = {width}"):
            layer(torch.ones(2, 4), width)


# ---------------------------------------------------------------- SlimmableConv2d


def conv(student: Student, rng: torch.Generator, *args: Any, **kwargs: Any) -> RemoteObject:
    """Build a conv layer with random weights."""
    return refill(expect_object(student.SlimmableConv2d(*args, **kwargs), "SlimmableConv2d"), rng)


def read_conv(layer: RemoteObject, sizes: tuple[int, int], kernel: tuple[int, int]) -> Any:
    """Return weight (out, in, h, w) and bias (out,) from the layer's state."""
    held = {tuple(p.shape): p.detach() for p in trainable(layer)}
    shape = (sizes[1], sizes[0], *kernel)
    if shape not in held:
        fail(f"expected one weight of the shape {shape}, as in nn.Conv2d, got {list(held)}")
    return held[shape], held.get((sizes[1],))


def expect_conv(
    layer: RemoteObject,
    sizes: tuple[int, int],
    options: dict[str, Any],
    flags: tuple[bool, bool],
    widths: tuple[float, ...],
    rng: torch.Generator,
) -> None:
    """Expect the outputs of the plain convolution with the first channels at every width."""
    kernel = options["kernel_size"]
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    weight, bias = read_conv(layer, sizes, kernel)
    geometry = {key: options[key] for key in ("stride", "padding", "dilation") if key in options}
    for width in widths:
        inputs, used = (channels(width, n, flag) for n, flag in zip(sizes, flags, strict=True))
        what = f"Conv2d{sizes}, {options}, {described(*flags)}, width {width}"
        x = torch.randn(2, inputs, 11, 10, generator=rng)
        part = None if bias is None else bias[:used]
        wanted = F.conv2d(x, weight[:used, :inputs], part, **geometry)
        got = expect.tensor(run_layer(layer, x, width, what), wanted.shape, what=what)
        expect.close(got, wanted, what, atol=1e-3, rtol=1e-3)


@check("SlimmableConv2d", gate=True)
def test_conv_uses_the_first_channels(student: Student, rng: torch.Generator) -> None:
    layer = conv(student, rng, 4, 8, 3)
    expect_conv(layer, (4, 8), {"kernel_size": 3}, (True, True), (1.0, 0.5), rng)


@check("SlimmableConv2d", weight=3)
def test_conv_slices_what_it_is_told(student: Student, rng: torch.Generator) -> None:
    for flags in FLAGS:
        layer = conv(student, rng, 4, 8, 3, slice_input=flags[0], slice_output=flags[1])
        expect_conv(layer, (4, 8), {"kernel_size": 3}, flags, (0.25, 0.5, 0.75), rng)


@check("SlimmableConv2d", weight=2)
def test_conv_keeps_its_geometry(student: Student, rng: torch.Generator) -> None:
    for options in (
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 3), "padding": (2, 1)},
        {"kernel_size": 2, "dilation": 3},
        {"kernel_size": (2, 3), "dilation": (3, 2)},
        {"kernel_size": 5, "padding": 2, "bias": False},
    ):
        layer = conv(student, rng, 4, 6, **options)
        expect_conv(layer, (4, 6), options, (True, True), (0.5, 1.0), rng)
    layer = conv(student, rng, 4, 6, 3, 2, 1)
    options = {"kernel_size": 3, "stride": 2, "padding": 1}
    expect_conv(layer, (4, 6), options, (True, True), (0.5,), rng)


@check("SlimmableConv2d", weight=2)
def test_conv_rounds_channels_up(student: Student, rng: torch.Generator) -> None:
    for sizes, widths in (((10, 7), (0.25, 0.5, 0.75)), ((3, 9), (0.125, 0.25))):
        for flags in ((True, True), (False, True), (True, False)):
            layer = conv(student, rng, *sizes, 2, slice_input=flags[0], slice_output=flags[1])
            expect_conv(layer, sizes, {"kernel_size": 2}, flags, widths, rng)


@check("SlimmableConv2d", weight=2)
def test_conv_gradient_reaches_the_shared_weight(student: Student, rng: torch.Generator) -> None:
    layer = conv(student, rng, 4, 8, 3)
    x = torch.randn(2, 2, 6, 6, generator=rng)
    twin = torch.zeros(8, 4, 3, 3, requires_grad=True)
    F.conv2d(x, twin[:4, :2]).sum().backward()
    wanted_bias = torch.zeros(8)
    wanted_bias[:4] = 2 * 4 * 4  # images and places
    expect_shared_gradient(student, layer, x, 0.5, twin.grad, wanted_bias)


@check("SlimmableConv2d")
def test_conv_has_one_set_of_weights(student: Student, rng: torch.Generator) -> None:
    for bias, numbers in ((True, 222), (False, 216)):
        layer = expect_object(student.SlimmableConv2d(4, 6, 3, bias=bias), "SlimmableConv2d")
        for width in (0.25, 0.5, 1.0):
            x = torch.ones(1, channels(width, 4), 5, 5)
            fresh = outputs(layer, x, width, f"width {width}")
            healthy = bool(fresh.isfinite().all() and fresh.any() and fresh.abs().max() < 1e3)
            expect.true(healthy, "a new layer has weights as nn.Conv2d has, not 0 or garbage")
        count = sum(p.numel() for p in trainable(layer))
        if count != numbers:
            fail(f"bias={bias}: expected {numbers} parameters for all widths, got {count}")
    expect_healthy_start(expect_object(student.SlimmableConv2d(40, 6, 3), "the layer"), "nn.Conv2d")


@check("SlimmableConv2d")
def test_conv_by_keyword(student: Student, rng: torch.Generator) -> None:
    options = {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 1, "bias": True}
    flags = {"slice_input": False, "slice_output": True}
    layer = conv(student, rng, in_channels=3, out_channels=8, **options, **flags)
    expect_conv(layer, (3, 8), options, (False, True), (0.25, 0.5), rng)
    x = torch.randn(2, 3, 6, 6, generator=rng)
    before = x.clone()
    expect.tensor(layer(x=x, width=0.5), (2, 4, 6, 6), what="layer(x=..., width=0.5)")
    expect.unchanged(before, x, "x")


@check("SlimmableConv2d", weight=0.5)
def test_conv_rejects_impossible_widths(student: Student, rng: torch.Generator) -> None:
    layer = conv(student, rng, 4, 4, 3, slice_input=False, slice_output=False)
    for width in OUTSIDE:
        with expect.value_error(f"width = {width}"):
            layer(torch.ones(2, 4, 5, 5), width)
