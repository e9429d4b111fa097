"""Hidden checks: quantize, dequantize, integer_linear."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student
from autograder.topics.post_training_quantization.toys import code_limits, code_type, expect_rounded

NAN = float("nan")
BOTH = (True, False)


def expect_codes(
    got: object,
    x: Tensor,
    scale: float | Tensor,
    zero_point: int | Tensor,
    bits: int,
    signed: bool,
    what: str,
) -> None:
    """Expect the codes of x."""
    scale = torch.as_tensor(scale, dtype=torch.float64)
    ratio = x.detach().double() / scale
    low, high = code_limits(bits, signed)
    tie = (ratio - ratio.floor() - 0.5).abs() < 1e-9
    # An exact half is even before the zero point is added.
    real = torch.where(tie, ratio.round(), ratio) + zero_point
    kind = "signed" if signed else "unsigned"
    what = f"{what}, {bits} bits, {kind}"
    expect_rounded(got, real, low, high, code_type(bits, signed), what)


@check("quantize", gate=True)
def test_codes_inside_the_range(student: Student, rng: torch.Generator) -> None:
    for signed in BOTH:
        x = torch.rand(7, 8, generator=rng) * 5
        x = x * 2 - 5 if signed else x
        got = student.quantize(x, 0.05, 0, 8, signed)
        expect_codes(got, x, 0.05, 0, 8, signed, "codes")


@check("quantize", weight=2)
def test_codes_saturate(student: Student, rng: torch.Generator) -> None:
    for signed in BOTH:
        for bits in (8, 5, 3, 2):
            x = torch.randn(60, generator=rng) * 400
            x[:4] = torch.tensor([2e5, -2e5, 1e7, -1e7])
            zero_point = 1 if signed else 2 ** (bits - 1)
            got = student.quantize(x, 0.5, zero_point, bits, signed)
            expect_codes(got, x, 0.5, zero_point, bits, signed, "codes far outside the range")


@check("quantize", weight=2)
def test_halves_go_to_the_even_code(student: Student) -> None:
    x = torch.arange(-7.5, 8.5, 1.0)
    for signed in BOTH:
        for zero_point in (0, 3) if signed else (10, 9):
            got = student.quantize(x * 0.25, 0.25, zero_point, 8, signed)
            what = f"codes of exact halves, zero point {zero_point}"
            expect_codes(got, x * 0.25, 0.25, zero_point, 8, signed, what)


@check("quantize")
def test_codes_are_not_cut(student: Student) -> None:
    for sign in (1, -1):
        x = sign * torch.tensor([0.6, 0.9, 1.4, 1.7, 2.2, 2.8, 0.2, 3.99])
        got = student.quantize(x, 1.0, 0, 8, True)
        expect_codes(got, x, 1.0, 0, 8, True, "codes between two steps")


@check("quantize", weight=2)
def test_codes_at_every_width(student: Student, rng: torch.Generator) -> None:
    for bits in range(2, 17):
        for signed in BOTH:
            x = torch.randn(64, generator=rng) * 2**bits
            x[0], x[1] = 2.0**bits * 4, -(2.0**bits) * 4
            zero_point = 0 if signed else 2 ** (bits - 1)
            got = student.quantize(x, 1.7, zero_point, bits, signed)
            expect_codes(got, x, 1.7, zero_point, bits, signed, "codes")


@check("quantize", weight=2)
def test_zero_point_shifts_the_codes(student: Student, rng: torch.Generator) -> None:
    for bits, signed, zero_point in (
        *((8, False, 0), (8, False, 255), (8, False, 77), (4, False, 11)),
        *((8, True, -128), (8, True, 127), (8, True, -5), (3, True, 2)),
    ):
        x = torch.randn(80, generator=rng) * 40
        got = student.quantize(x, 0.7, zero_point, bits, signed)
        expect_codes(got, x, 0.7, zero_point, bits, signed, f"codes, zero point {zero_point}")


@check("quantize", weight=2)
def test_scales_per_channel_broadcast(student: Student, rng: torch.Generator) -> None:
    weight = torch.randn(4, 3, 2, 2, generator=rng) * 5
    scales = torch.rand(4, 1, 1, 1, generator=rng) + 0.05
    got = student.quantize(weight, scales, 0, 8, True)
    expect_codes(got, weight, scales, 0, 8, True, "codes with a scale per channel")
    x = torch.randn(5, 6, generator=rng) * 9
    scales = torch.rand(6, generator=rng) + 0.05
    zeros = torch.randint(0, 16, (6,), generator=rng)
    got = student.quantize(x, scales, zeros, 4, False)
    expect_codes(got, x, scales, zeros, 4, False, "codes with scale and zero point per column")
    got = student.quantize(x, torch.tensor(0.3), torch.tensor(7), 4, False)
    expect_codes(got, x, torch.tensor(0.3), 7, 4, False, "codes with tensors of one element")


@check("quantize")
def test_types_of_codes(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(3, 4, generator=rng)
    for bits in (2, 8, 9, 16):
        for signed in BOTH:
            got = student.quantize(x, 0.1, 0, bits, signed)
            what = f"codes with {bits} bits, {'signed' if signed else 'unsigned'}"
            expect.tensor(got, x.shape, code_type(bits, signed), what)


@check("quantize")
def test_quantize_leaves_its_argument(student: Student, rng: torch.Generator) -> None:
    x = (torch.randn(4, 5, generator=rng) * 100).requires_grad_(True)
    scale = torch.rand(4, 1, generator=rng) + 0.1
    before = x.detach().clone(), scale.clone()
    got = student.quantize(x=x, scale=scale, zero_point=3, bits=6, signed=False)
    expect.unchanged(before[0].clone().requires_grad_(True), x, "x")
    expect.unchanged(before[1], scale, "scale")
    expect_codes(got, before[0], before[1], 3, 6, False, "codes")


@check("quantize")
def test_quantize_rejects_impossible_arguments(student: Student) -> None:
    for bits in (1, 0, -2, 17, 32):
        with expect.value_error(f"bits = {bits}"):
            student.quantize(torch.ones(3), 0.5, 0, bits, True)
    for signed in BOTH:
        with expect.value_error("x with NaN"):
            student.quantize(torch.tensor([1.0, NAN]), 0.5, 0, 8, signed)


# ---------------------------------------------------------------- dequantize


def codes_of(rng: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return random codes of the whole range of a dtype (int32: of 16 bits)."""
    limits = torch.iinfo(torch.int16 if dtype == torch.int32 else dtype)
    return torch.randint(limits.min, limits.max + 1, shape, generator=rng).to(dtype)


def expect_numbers(got: object, q: Tensor, scale: float | Tensor, zero: int | Tensor) -> None:
    """Expect (q - zero point) * scale as float32."""
    wanted = (q.double() - zero) * torch.as_tensor(scale, dtype=torch.float64)
    what = f"numbers of {str(q.dtype).removeprefix('torch.')} codes"
    got = expect.tensor(got, wanted.shape, torch.float32, what)
    expect.close(got, wanted.float(), what, atol=1e-6 * float(wanted.abs().max()), rtol=1e-5)


@check("dequantize", gate=True)
def test_numbers_without_zero_point(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.int8, torch.uint8):
        q = codes_of(rng, (5, 6), dtype)
        expect_numbers(student.dequantize(q, 0.37, 0), q, 0.37, 0)


@check("dequantize", weight=3)
def test_subtraction_does_not_wrap(student: Student, rng: torch.Generator) -> None:
    for dtype, zeros in ((torch.uint8, (1, 128, 255)), (torch.int8, (-128, -3, 5, 127))):
        for zero_point in zeros:
            q = codes_of(rng, (9, 10), dtype)
            expect_numbers(student.dequantize(q, 0.37, zero_point), q, 0.37, zero_point)


@check("dequantize")
def test_numbers_of_wide_codes(student: Student, rng: torch.Generator) -> None:
    q = codes_of(rng, (40,), torch.int32)
    for zero_point in (0, 1000, 32768):
        for scale in (1e-3, 3e-7):
            expect_numbers(student.dequantize(q, scale, zero_point), q, scale, zero_point)


@check("dequantize", weight=2)
def test_numbers_per_channel(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.int8, torch.uint8):
        q = codes_of(rng, (4, 3, 2, 2), dtype)
        scale = torch.rand(4, 1, 1, 1, generator=rng) + 0.01
        zero = torch.randint(0, 100, (4, 1, 1, 1), generator=rng)
        expect_numbers(student.dequantize(q, scale, zero), q, scale, zero)
        expect_numbers(student.dequantize(q, scale, 0), q, scale, 0)


@check("dequantize")
def test_numbers_are_float32(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.int8, torch.uint8, torch.int32):
        q = codes_of(rng, (3, 4), dtype)
        before = q.clone()
        for scale in (2.0, torch.rand(4, generator=rng).double() + 0.1):
            got = student.dequantize(q=q, scale=scale, zero_point=3)
            expect.unchanged(before, q, "q")
            expect_numbers(got, before, scale, 3)


# ---------------------------------------------------------------- integer_linear


def accumulators(x_q: Tensor, x_zero: int, w_q: Tensor, bias_q: Tensor) -> Tensor:
    """Return the exact sums, int64."""
    return (x_q.long() - x_zero) @ w_q.long().T + bias_q.long()


def expect_layer(
    student: Student,
    x_q: Tensor,
    x_zero: int,
    w_q: Tensor,
    bias_q: Tensor,
    multiplier: float,
    out_zero: int,
    what: str,
) -> None:
    """Expect the output codes of a layer."""
    got = student.integer_linear(x_q, x_zero, w_q, bias_q, multiplier, out_zero)
    real = accumulators(x_q, x_zero, w_q, bias_q).double() * multiplier
    tie = (real - real.floor() - 0.5).abs() < 1e-9
    real = torch.where(tie, real.round(), real) + out_zero
    limits = torch.iinfo(x_q.dtype)
    expect_rounded(got, real, limits.min, limits.max, x_q.dtype, what)


def layer(
    rng: torch.Generator, dtype: torch.dtype, rows: int = 6, inside: int = 20, outside: int = 7
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return input codes, weight codes, bias codes, and a multiplier that fits them."""
    x_q, w_q = codes_of(rng, (rows, inside), dtype), codes_of(rng, (outside, inside), torch.int8)
    bias_q = torch.randint(-9000, 9000, (outside,), generator=rng).to(torch.int32)
    return x_q, w_q, bias_q, 0.3 / (127 * inside**0.5)


@check("integer_linear", gate=True)
def test_layer_without_zero_points(student: Student, rng: torch.Generator) -> None:
    x_q = torch.randint(-3, 4, (5, 4), generator=rng).to(torch.int8)
    w_q = torch.randint(-2, 3, (3, 4), generator=rng).to(torch.int8)
    bias_q = torch.randint(-5, 6, (3,), generator=rng).to(torch.int32)
    expect_layer(student, x_q, 0, w_q, bias_q, 0.37, 0, "a small layer, zero points 0")


@check("integer_linear", weight=2)
def test_accumulators_are_wide(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.int8, torch.uint8):
        for inside in (3, 60, 1500):
            x_q, w_q, bias_q, multiplier = layer(rng, dtype, inside=inside)
            what = f"a layer with {inside} inputs ({dtype}): sums need int32"
            expect_layer(student, x_q, 0, w_q, bias_q, multiplier, 0, what)
    limit = torch.full((2, 1500), 127, dtype=torch.int8)
    bias_q = torch.zeros(2, dtype=torch.int32)
    expect_layer(student, limit, 0, limit, bias_q, 4e-6, 0, "1500 products of 127 * 127")


@check("integer_linear", weight=2)
def test_input_zero_point_counts(student: Student, rng: torch.Generator) -> None:
    for dtype, zeros in ((torch.uint8, (255, 128, 3)), (torch.int8, (-128, 17, 127))):
        for zero in zeros:
            x_q, w_q, bias_q, multiplier = layer(rng, dtype)
            what = f"a layer with {dtype} input, zero point {zero}"
            expect_layer(student, x_q, zero, w_q, bias_q, multiplier, 0, what)


@check("integer_linear", weight=2)
def test_output_zero_point_and_saturation(student: Student, rng: torch.Generator) -> None:
    for dtype, zeros in ((torch.uint8, (0, 100, 255)), (torch.int8, (-128, 5, 127))):
        for zero in zeros:
            x_q, w_q, bias_q, multiplier = layer(rng, dtype)
            for factor in (1, 30):
                what = f"a layer with {dtype} output, zero point {zero}"
                expect_layer(student, x_q, 4, w_q, bias_q, factor * multiplier, zero, what)


@check("integer_linear")
def test_layer_rounds_half_to_even(student: Student, rng: torch.Generator) -> None:
    x_q = torch.arange(-20, 21, dtype=torch.int8).reshape(-1, 1)
    w_q = torch.ones(2, 1, dtype=torch.int8)
    bias_q = torch.tensor([0, 3], dtype=torch.int32)
    for multiplier in (0.5, 0.25):
        for out_zero in (0, 7):
            what = f"sums times {multiplier}, output zero point {out_zero}"
            expect_layer(student, x_q, 0, w_q, bias_q, multiplier, out_zero, what)


@check("integer_linear")
def test_accumulators_are_exact(student: Student, rng: torch.Generator) -> None:
    # Sums above 2^24, where float32 has no odd numbers; the bias brings them back to small ones.
    x_q = torch.full((4, 3000), 127, dtype=torch.int8)
    x_q[:, 0] = torch.tensor([1, 3, 5, 9], dtype=torch.int8)
    w_q = torch.full((3, 3000), 127, dtype=torch.int8)
    w_q[:, 0] = torch.tensor([1, -1, 3], dtype=torch.int8)
    bias_q = torch.full((3,), -2999 * 127 * 127, dtype=torch.int32)
    expect_layer(student, x_q, 0, w_q, bias_q, 1.0, 0, "sums near 48 million, in exact integers")


@check("integer_linear")
def test_square_layers(student: Student, rng: torch.Generator) -> None:
    # Where two sizes agree, a weight or a bias along the wrong axis raises no error.
    for rows, inside, outside in ((3, 5, 5), (4, 9, 4), (6, 6, 6)):
        x_q, w_q, bias_q, multiplier = layer(rng, torch.int8, rows, inside, outside)
        what = f"a layer from {inside} to {outside} values, {rows} rows"
        expect_layer(student, x_q, -7, w_q, bias_q, multiplier, 2, what)


@check("integer_linear")
def test_layer_has_a_bias(student: Student, rng: torch.Generator) -> None:
    x_q = torch.full((3, 5), 9, dtype=torch.uint8)
    w_q = codes_of(rng, (4, 5), torch.int8)
    bias_q = torch.tensor([100_000, -40_000, 0, 777], dtype=torch.int32)
    expect_layer(student, x_q, 9, w_q, bias_q, 1e-3, 50, "an input of zeros leaves the bias")


@check("integer_linear")
def test_layer_keeps_dtype_and_arguments(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.uint8, torch.int8):
        x_q, w_q, bias_q, multiplier = layer(rng, dtype)
        before = [tensor.clone() for tensor in (x_q, w_q, bias_q)]
        got = student.integer_linear(
            x_q=x_q,
            x_zero_point=3,
            w_q=w_q,
            bias_q=bias_q,
            multiplier=multiplier,
            out_zero_point=1,
        )
        expect.tensor(got, (6, 7), dtype, "the output codes")
        expect.unchanged(before, [x_q, w_q, bias_q], "an argument")


@check("integer_linear", weight=2)
def test_layer_agrees_with_the_simulation(
    student: Student, reference: SimpleNamespace, rng: torch.Generator
) -> None:
    x = torch.randn(30, 200, generator=rng).relu()
    weight = torch.randn(12, 200, generator=rng) / 14
    bias = torch.randn(12, generator=rng)
    y = x @ weight.T + bias
    x_scale, x_zero = reference.asymmetric_scale_zero_point(x, 8)
    y_scale, y_zero = reference.asymmetric_scale_zero_point(y, 8)
    w_scale = reference.symmetric_scale(weight, 8)
    x_q = reference.quantize(x, x_scale, x_zero, 8, False)
    w_q = reference.quantize(weight, w_scale, 0, 8, True)
    bias_q = torch.round(bias / (x_scale * w_scale)).to(torch.int32)
    multiplier = x_scale * w_scale / y_scale
    got = student.integer_linear(x_q, x_zero, w_q, bias_q, multiplier, y_zero)
    got = expect.tensor(got, (30, 12), torch.uint8, "the output codes")
    simulated = (
        reference.dequantize(x_q, x_scale, x_zero) @ reference.dequantize(w_q, w_scale, 0).T + bias
    )
    steps = got.int() - reference.quantize(simulated, y_scale, y_zero, 8, False).int()
    if int(steps.abs().max()) > 1:
        fail(
            "expected codes within one step of the simulation in float, got a difference of "
            f"{int(steps.abs().max())} steps"
        )
