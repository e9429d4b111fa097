"""Hidden checks: QATLinear and QATConv2d."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import RemoteObject, Student
from autograder.judge.toys import snapshot
from autograder.topics.quantization_aware_training.toys import (
    backward,
    calibrate,
    error,
    expect_float_bias,
    expect_gradient_to_the_input,
    fill,
    find_parameter,
    linear,
    most_levels,
    outputs,
    read_conv,
    read_linear,
    state,
    wrap,
)

# Relative error of an evenly spread weight that the worst sane scheme stays below, by bits.
WORST = {2: 0.8, 3: 0.45, 4: 0.22, 5: 0.12, 8: 0.02}


def expect_near(module: Any, layer: nn.Module, x: Tensor, limit: float, what: str) -> None:
    """Expect nearly the outputs of the float layer, in train and in eval mode."""
    with torch.no_grad():
        wanted = layer(x)
        no_bias = wanted if layer.bias is None else wanted - layer(torch.zeros_like(x))
    module.train()
    module(x)
    for mode in ("train", "eval"):
        getattr(module, mode)()
        got = expect.tensor(outputs(module, x), wanted.shape, what=f"{what}, {mode} mode")
        if not error(got, wanted) <= limit:
            lost = layer.bias is not None and error(got, no_bias) < limit
            fail(
                f"{what}, {mode} mode: expected nearly the outputs of the float layer, but they "
                f"are off by {error(got, wanted):.1%} (allowed {limit:.0%})"
                + ("; the bias is missing" if lost else ""),
                "bias_lost" if lost else None,
            )


def expect_weight_levels(rows: Tensor, weight: Tensor, bits: int, mode: str = "train") -> None:
    """Expect a weight with at most 2^bits levels that is near the float weight."""
    levels, off = most_levels(rows), error(rows, weight.flatten(1))
    if levels > 2**bits:
        if off < 1e-4:
            fail(
                f"weight_bits={bits}, {mode} mode: the weight is not quantized",
                "weight_not_quantized" if mode == "train" else "float_in_eval_mode",
            )
        fail(
            f"weight_bits={bits}: expected at most {2**bits} levels of the weight, got {levels}; "
            "are weight_bits and activation_bits in their places?",
            "bits_swapped",
        )
    if not off <= WORST[bits]:
        fail(
            f"weight_bits={bits}: the rounded weight is off by {off:.1%}, expected at most "
            f"{WORST[bits]:.0%}; are weight_bits and activation_bits in their places?",
            "bits_swapped",
        )


def expect_few_levels_of_a_long_tail(
    student: Student, layer: nn.Module, read: Callable[[RemoteObject], Tensor]
) -> None:
    """Expect at most 2^bits levels of a weight whose largest value need not set the scale."""
    with torch.no_grad():
        layer.weight.pow_(5)
    for bits in (2, 3):
        levels = most_levels(read(wrap(student, layer, bits, 8)))
        if levels > 2**bits:
            fail(
                f"weight_bits={bits}, a weight with a few large values: expected at most "
                f"{2**bits} levels, got {levels}; what lies beyond the last code is clipped",
                "weight_not_clipped",
            )


def expect_zeros(student: Student, layer: nn.Module, x: Tensor) -> None:
    """Expect the float layer's outputs where a channel or the whole input is zero."""
    with torch.no_grad():
        layer.weight[0] = 0
    what = "an output channel whose weights are all 0"
    expect_near(wrap(student, layer, 8, 8), layer, x, 0.04, what)
    module = calibrate(wrap(student, layer, 8, 8), torch.zeros_like(x))
    with torch.no_grad():
        wanted = layer(torch.zeros_like(x))
    got = outputs(module, torch.zeros_like(x), "the output for an input of zeros")
    what = "the output for an input of zeros is the bias"
    expect.close(got, wanted, what, atol=1e-3, mistake="divides_by_zero")


def expect_input_levels(student: Student, layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Expect that the input of a layer with two weights of 1 is rounded to 2^bits levels."""
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.copy_(torch.tensor([0, 0.37]))
    x = torch.linspace(-1, 2, 400).reshape(shape)
    for bits in (2, 3, 4):
        module = calibrate(wrap(student, layer, 8, bits), x)
        for mode in ("eval", "train"):
            getattr(module, mode)()
            both = outputs(module, x).transpose(0, 1).flatten(1)
            if both.shape[0] != 2:
                fail(f"expected 2 outputs, got {both.shape[0]}")
            got, beside = both
            levels = most_levels(got.reshape(1, -1), 1e-4)
            if levels > 2**bits:
                fail(
                    f"activation_bits={bits}, {mode} mode: expected at most {2**bits} levels of "
                    f"the input, got {levels}: the input is quantized too",
                    "input_not_quantized",
                )
            if float((beside - got - 0.37).abs().max()) > 1e-3:
                fail(
                    f"activation_bits={bits}, {mode} mode: two outputs with the same weights "
                    "differ by more than their biases: the input is quantized, not the output",
                    "output_quantized",
                )
            step = 2 / (2 ** (bits - 1) - 1)
            off = float((got.reshape(-1) - x.reshape(-1)).abs().max())
            allowed = 1.05 * step
            message = f"activation_bits={bits}: an input in [-1, 2] is off by {off:.2f}"
            expect.true(off < allowed, message, "negative_inputs_lost")


def expect_shadow(student: Student, layer: nn.Module, x: Tensor) -> None:
    """Expect that the float weight stays a parameter, and that gradients reach it."""
    weight = layer.weight.detach()
    module = wrap(student, layer, 2, 8)
    module.train()
    for _ in range(2):
        module(x)
    if find_parameter(module, weight) is None:
        fail(
            "after forward the float weight is no longer there as a parameter: quantize a copy in "
            "each forward, never overwrite the weight",
            "weight_replaced",
        )
    backward(student, module, x, mistake="weight_gets_no_gradient")
    shadow = find_parameter(module, weight)
    if shadow is None or shadow.grad is None or not shadow.grad.any():
        fail("no gradient reaches the float weight", "weight_gets_no_gradient")
    with torch.enable_grad():
        twin = snapshot(layer)
        twin.zero_grad()
        twin(x).sum().backward()
    wanted = twin.weight.grad
    # Where the weight is clipped the gradient is 0, and a scheme may clip a few.
    near = (shadow.grad - wanted).abs() <= 0.05 * wanted.abs().max()
    clipped = shadow.grad == 0
    if (near | clipped).double().mean() < 0.9 or near.double().mean() < 0.4:
        fail("the gradient of the float weight is not that of the layer, straight through")
    if layer.bias is not None:
        bias = find_parameter(module, layer.bias.detach())
        if bias is None or bias.grad is None or not bias.grad.any():
            fail("no gradient reaches the bias: it stays a float parameter")


def expect_rounded_anew(
    module: RemoteObject, weight: Tensor, read: Callable[[RemoteObject], Tensor], x: Tensor
) -> None:
    """Expect that the module rounds the weight that it has now, not the one it had."""
    first = read(module)
    start = {key: value.detach() for key, value in state(module).items()}
    keys = [k for k, v in start.items() if v.shape == weight.shape and torch.equal(v, weight)]
    module.load_state_dict({**start, **{key: -start[key] for key in keys}}, strict=False)
    second = read(module)
    if error(second, -first) > 0.6:
        fail(
            "the float weight has changed, but the layer still computes with the old rounded one: "
            "round it anew in each forward",
            "weight_rounded_once",
        )
    module.eval()
    shown = outputs(module, x)
    module.load_state_dict(start, strict=False)
    if (outputs(module, x) - shown).abs().max() < 0.01:
        fail(
            "eval mode: the float weight has changed, but the layer still computes with the weight "
            "that it rounded in train mode: round it anew in each forward",
            "rounded_weight_remembered",
        )
    module.load_state_dict({**start, **{key: 8 * start[key] for key in keys}}, strict=False)
    for _ in range(30):  # the scale may follow the weight slowly
        third = read(module)
    if third.abs().max() < 2 * first.abs().max():
        fail(
            "the float weight is 8 times larger now, but it is clipped to the old range: the scale "
            "of the weight follows the weight",
            "weight_scale_fixed",
        )


def expect_frozen_range(module: Any, x: Tensor) -> None:
    """Expect an input range that eval mode freezes and train mode moves."""
    calibrate(module, x)
    before = outputs(module, x)
    wide = outputs(module, 100 * x)
    if wide.abs().max() > 5 * before.abs().max():
        fail(
            "eval mode: inputs 100 times larger than all that were seen must be clipped at the "
            "frozen range",
            "updates_in_eval",
        )
    if not torch.equal(outputs(module, x), before):
        fail("eval mode: the same input gives another output after others", "updates_in_eval")
    module.train()
    for _ in range(5):
        module(1000 * x)
    module.eval()
    if outputs(module, 1000 * x).abs().max() < 1.5 * before.abs().max():
        fail("train mode: the range of the input must follow the batches", "range_never_moves")


def expect_rejected(student: Student, layer: nn.Module) -> None:
    """Expect a ValueError for bits that cannot be."""
    x = torch.rand(2, *([3] * (layer.weight.dim() - 1)))
    for weight_bits, activation_bits in ((1, 8), (17, 8), (8, 1), (8, 17), (0, 8), (8, -2)):
        with expect.value_error(f"weight_bits={weight_bits}, activation_bits={activation_bits}"):
            student.call(f"QAT{type(layer).__name__}", layer, weight_bits, activation_bits)(x)
    for weight_bits, activation_bits in ((2, 16), (16, 2)):  # both ends belong to the range
        outputs(wrap(student, layer, weight_bits, activation_bits), x)


# ---------------------------------------------------------------- QATLinear


@check("QATLinear", gate=True)
def test_linear_at_eight_bits(student: Student, rng: torch.Generator) -> None:
    layer, x = linear(rng, 12, 7), torch.rand(50, 12, generator=rng)
    expect_near(wrap(student, layer, 8, 8), layer, x, 0.03, "8 bits")


@check("QATLinear", weight=2)
def test_linear_weight_has_few_levels(student: Student, rng: torch.Generator) -> None:
    layer = linear(rng, 40, 9)
    for bits in (3, 2, 4, 5):
        module = wrap(student, layer, bits, 8)
        for mode in ("train", "eval"):
            rows = read_linear(module, 40, mode)
            expect_weight_levels(rows, layer.weight.detach(), bits, mode)
    rows = read_linear(wrap(student, layer, 8, 3), 40)
    expect_weight_levels(rows, layer.weight.detach(), 8)
    expect_few_levels_of_a_long_tail(student, layer, lambda module: read_linear(module, 40))


@check("QATLinear", weight=2)
def test_linear_input_has_few_levels(student: Student, rng: torch.Generator) -> None:
    expect_input_levels(student, nn.Linear(1, 2), (400, 1))


@check("QATLinear", weight=2)
def test_linear_float_weight_learns(student: Student, rng: torch.Generator) -> None:
    expect_shadow(student, linear(rng, 12, 7), torch.rand(50, 12, generator=rng))


@check("QATLinear")
def test_linear_passes_the_gradient_on(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(50, 12, generator=rng) - 0.3
    expect_gradient_to_the_input(student, linear(rng, 12, 7), x)


@check("QATLinear")
def test_linear_bias_stays_in_float(student: Student, rng: torch.Generator) -> None:
    expect_float_bias(student, linear(rng, 12, 16), 2 * torch.rand(50, 12, generator=rng) - 1)


@check("QATLinear")
def test_linear_weight_is_rounded_anew(student: Student, rng: torch.Generator) -> None:
    layer = linear(rng, 12, 7)
    module, x = wrap(student, layer, 3, 8), torch.eye(12)
    expect_rounded_anew(module, layer.weight.detach(), lambda m: read_linear(m, 12), x)


@check("QATLinear")
def test_linear_inputs_of_any_sign(student: Student, rng: torch.Generator) -> None:
    layer = linear(rng, 12, 7)
    x = torch.rand(50, 12, generator=rng)
    for what, batch in (
        ("inputs of both signs", 2 * x - 1),
        ("negative inputs", -x),
        ("inputs far from 0", 5 + x),
    ):
        try:
            expect_near(wrap(student, layer, 8, 8), layer, batch, 0.04, what)
        except AssertionError as problem:
            fail(str(problem), "negative_inputs_lost" if batch.min() < 0 else None)


@check("QATLinear", weight=2)
def test_linear_range_is_frozen_in_eval(student: Student, rng: torch.Generator) -> None:
    layer, x = linear(rng, 12, 7), torch.rand(50, 12, generator=rng) - 0.3
    expect_frozen_range(wrap(student, layer, 8, 8), x)


@check("QATLinear")
def test_linear_shapes_and_no_bias(student: Student, rng: torch.Generator) -> None:
    layer = linear(rng, 6, 4, bias=False)
    for shape in ((9, 6), (3, 5, 6)):
        x = torch.rand(shape, generator=rng) - 0.4
        expect_near(wrap(student, layer, 8, 8), layer, x, 0.04, f"no bias, input {shape}")
    before, arguments = snapshot(layer), {"weight_bits": 8, "activation_bits": 8}
    student.QATLinear(layer=layer, **arguments)
    expect.unchanged(before, layer, "the given layer")


@check("QATLinear", weight=0.5)
def test_linear_with_zeros(student: Student, rng: torch.Generator) -> None:
    expect_zeros(student, linear(rng, 12, 7), torch.rand(50, 12, generator=rng))


@check("QATLinear", weight=0.5)
def test_linear_rejects_impossible_bits(student: Student, rng: torch.Generator) -> None:
    expect_rejected(student, nn.Linear(3, 2))


# ---------------------------------------------------------------- QATConv2d


@check("QATConv2d", gate=True)
def test_conv_at_eight_bits(student: Student, rng: torch.Generator) -> None:
    layer = fill(nn.Conv2d(3, 5, 3), rng)
    expect_near(
        wrap(student, layer, 8, 8), layer, torch.rand(6, 3, 9, 9, generator=rng), 0.03, "3x3"
    )


@check("QATConv2d", weight=2)
def test_conv_keeps_its_geometry(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(4, 2, 11, 10, generator=rng) - 0.4
    for options in (
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 3), "padding": (2, 1)},
        {"kernel_size": 2, "dilation": (3, 2)},
        {"kernel_size": 3, "padding": "same"},
    ):
        layer = fill(nn.Conv2d(2, 4, **options), rng)
        with torch.no_grad():
            wanted = layer(x).shape
        module = wrap(student, layer, 8, 8)
        module.train()
        got = outputs(module, x)
        if got.shape != wanted:
            fail(
                f"{options}: expected outputs of shape {tuple(wanted)}, got {tuple(got.shape)}; "
                "stride, padding and dilation are those of the layer",
                "geometry_lost",
            )
        expect_near(module, layer, x, 0.04, str(options))


@check("QATConv2d", weight=2)
def test_conv_weight_has_few_levels(student: Student, rng: torch.Generator) -> None:
    layer = fill(nn.Conv2d(3, 6, (3, 4)), rng)
    for bits, activation_bits in ((2, 8), (3, 8), (4, 8), (8, 3)):
        module = wrap(student, layer, bits, activation_bits)
        for mode in ("train", "eval"):
            rows = read_conv(module, layer, mode)
            expect_weight_levels(rows, layer.weight.detach(), bits, mode)
    expect_few_levels_of_a_long_tail(student, layer, lambda module: read_conv(module, layer))


@check("QATConv2d", weight=2)
def test_conv_input_has_few_levels(student: Student, rng: torch.Generator) -> None:
    expect_input_levels(student, nn.Conv2d(1, 2, 1), (4, 1, 10, 10))


@check("QATConv2d", weight=2)
def test_conv_float_weight_learns(student: Student, rng: torch.Generator) -> None:
    layer, x = fill(nn.Conv2d(3, 5, 3), rng), torch.rand(6, 3, 9, 9, generator=rng)
    expect_shadow(student, layer, x)
    module = wrap(student, layer, 3, 8)
    expect_rounded_anew(module, layer.weight.detach(), lambda m: read_conv(m, layer), x)


@check("QATConv2d")
def test_conv_passes_the_gradient_on(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(6, 3, 9, 9, generator=rng) - 0.3
    expect_gradient_to_the_input(student, fill(nn.Conv2d(3, 5, 3), rng), x)


@check("QATConv2d")
def test_conv_bias_stays_in_float(student: Student, rng: torch.Generator) -> None:
    x = 2 * torch.rand(6, 3, 9, 9, generator=rng) - 1
    expect_float_bias(student, fill(nn.Conv2d(3, 16, 3), rng), x)


@check("QATConv2d")
def test_conv_range_is_frozen_in_eval(student: Student, rng: torch.Generator) -> None:
    layer, x = fill(nn.Conv2d(3, 5, 3), rng), torch.rand(6, 3, 9, 9, generator=rng) - 0.3
    expect_frozen_range(wrap(student, layer, 8, 8), x)
    try:
        expect_near(wrap(student, layer, 8, 8), layer, x - 0.2, 0.04, "inputs of both signs")
    except AssertionError as problem:
        fail(str(problem), "negative_inputs_lost")


@check("QATConv2d")
def test_conv_without_bias(student: Student, rng: torch.Generator) -> None:
    layer = fill(nn.Conv2d(2, 4, 2, bias=False), rng)
    x = torch.rand(3, 2, 6, 6, generator=rng)
    expect_near(wrap(student, layer, 8, 8), layer, x, 0.03, "no bias")
    before = snapshot(layer)
    student.QATConv2d(layer=layer, weight_bits=4, activation_bits=8)
    expect.unchanged(before, layer, "the given layer")


@check("QATConv2d", weight=0.5)
def test_conv_with_zeros(student: Student, rng: torch.Generator) -> None:
    expect_zeros(student, fill(nn.Conv2d(3, 5, 3), rng), torch.rand(6, 3, 9, 9, generator=rng))


@check("QATConv2d", weight=0.5)
def test_conv_rejects_impossible_bits(student: Student, rng: torch.Generator) -> None:
    expect_rejected(student, nn.Conv2d(3, 2, 2))
