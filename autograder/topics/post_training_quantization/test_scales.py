"""Hidden checks: model_size_mib, symmetric and asymmetric scales, scales per channel."""

from __future__ import annotations

import torch
from torch import Tensor

from autograder.judge.checking import check, expect
from autograder.judge.student import Student
from autograder.topics.post_training_quantization.toys import expect_affine

NAN = float("nan")
BAD_BITS = (1, 0, -3, 17, 32)
MEBIBYTE = 2**20


def whole(rng: torch.Generator, low: int, high: int) -> int:
    """Return a random whole number in low .. high - 1."""
    return int(torch.randint(low, high, (), generator=rng))


# ---------------------------------------------------------------- model_size_mib


@check("model_size_mib", gate=True)
def test_size_with_32_bits(student: Student, rng: torch.Generator) -> None:
    for _ in range(4):
        count = whole(rng, 10**7, 10**9)
        got = student.model_size_mib(count, 32)
        what = f"size of {count} parameters with 32 bits, in MiB"
        expect.close(got, count * 4 / MEBIBYTE, what, atol=0, rtol=1e-3)


@check("model_size_mib", weight=2)
def test_size_with_other_bits(student: Student, rng: torch.Generator) -> None:
    for bits in (16, 8, 7, 6, 5, 4, 3, 2):
        count = whole(rng, 10**8, 10**9)
        got = student.model_size_mib(count, bits)
        what = f"size of {count} parameters with {bits} bits, in MiB"
        expect.close(got, count * bits / 8 / MEBIBYTE, what, atol=0, rtol=1e-3)


@check("model_size_mib")
def test_size_is_not_rounded(student: Student, rng: torch.Generator) -> None:
    for count, bits in ((1, 8), (3, 3), (whole(rng, 100, 900), 5), (431_080, 2)):
        got = student.model_size_mib(count, bits)
        wanted = count * bits / 8 / MEBIBYTE
        what = f"size of {count} parameters with {bits} bits, in MiB, not rounded"
        # Too small for the judge's own recognition of mistakes, which allows 1e-5.
        rounded = any(got == round(wanted, digits) for digits in range(5))
        expect.close(got, wanted, what, 0, 1e-6, mistake="rounded" if rounded else None)


@check("model_size_mib")
def test_sizes_of_the_slide(student: Student) -> None:
    for bits, shown in ((32, 381.47), (8, 95.37)):
        got = student.model_size_mib(num_parameters=100_000_000, bits=bits)
        expect.close(got, shown, f"100 million parameters with {bits} bits", atol=0.006, rtol=0)


@check("model_size_mib")
def test_size_rejects_impossible_arguments(student: Student) -> None:
    for count, bits in ((-1, 8), (-1000, 32), (10, 0), (10, -8)):
        with expect.value_error(f"num_parameters = {count}, bits = {bits}"):
            student.model_size_mib(count, bits)


# ---------------------------------------------------------------- symmetric_scale


def expect_symmetric(got: object, x: Tensor, bits: int, what: str) -> None:
    """Expect max|x| over the largest signed code."""
    wanted = float(x.detach().double().abs().max()) / (2 ** (bits - 1) - 1)
    expect.close(got, wanted, f"scale of {what}, {bits} bits", atol=0, rtol=1e-5)


@check("symmetric_scale", gate=True)
def test_symmetric_scale(student: Student, rng: torch.Generator) -> None:
    for bits in (8, 4):
        x = torch.rand(6, 7, generator=rng) * 2 - 1
        x[2, 3] = 1.5
        expect_symmetric(student.symmetric_scale(x, bits), x, bits, "a tensor of mixed signs")


@check("symmetric_scale", weight=2)
def test_symmetric_scale_at_every_width(student: Student, rng: torch.Generator) -> None:
    for bits in range(2, 17):
        x = torch.randn(50, generator=rng) * 3
        expect_symmetric(student.symmetric_scale(x, bits), x, bits, "a random tensor")


@check("symmetric_scale", weight=2)
def test_symmetric_scale_counts_both_signs(student: Student, rng: torch.Generator) -> None:
    positive = torch.rand(40, generator=rng) + 0.5
    lopsided = torch.cat([positive, torch.tensor([-7.25])])
    for x in (positive, -positive, lopsided, -lopsided):
        for bits in (3, 8):
            expect_symmetric(student.symmetric_scale(x, bits), x, bits, "a lopsided tensor")


@check("symmetric_scale")
def test_symmetric_scale_of_constants(student: Student) -> None:
    for value in (2.5, -2.5, 1e-6, -3e4):
        for bits in (2, 5, 8):
            x = torch.full((3, 4), value)
            expect_symmetric(student.symmetric_scale(x, bits), x, bits, f"a constant {value}")


@check("symmetric_scale")
def test_symmetric_scale_of_zeros(student: Student) -> None:
    for bits in (2, 4, 8, 16):
        got = student.symmetric_scale(torch.zeros(4, 3), bits)
        expect.close(got, 1.0, f"scale of an all-zero tensor, {bits} bits", atol=0, rtol=1e-7)


@check("symmetric_scale")
def test_symmetric_scale_is_a_python_float(student: Student, rng: torch.Generator) -> None:
    for x in (torch.randn(5, generator=rng), torch.zeros(5)):
        got = student.symmetric_scale(x, 8)
        message = f"expected a Python float (use .item()), got {type(got).__name__}"
        expect.true(isinstance(got, float), message)


@check("symmetric_scale")
def test_symmetric_scale_of_any_shape(student: Student, rng: torch.Generator) -> None:
    weight = torch.randn(4, 3, 2, 5, generator=rng)
    for x in (
        weight.double(),
        weight.transpose(0, 3),
        torch.tensor([-0.75]),
        weight[:1, :1].clone().requires_grad_(True),
    ):
        before = x.detach().clone()
        expect_symmetric(student.symmetric_scale(x=x, bits=6), before, 6, "a tensor of any shape")
        expect.unchanged(before.requires_grad_(x.requires_grad), x, "x")


@check("symmetric_scale")
def test_symmetric_scale_rejects_impossible_arguments(student: Student) -> None:
    for bits in BAD_BITS:
        with expect.value_error(f"bits = {bits}"):
            student.symmetric_scale(torch.ones(3), bits)
    with expect.value_error("x with NaN"):
        student.symmetric_scale(torch.tensor([1.0, NAN, 2.0]), 8)


# ---------------------------------------------------------------- asymmetric_scale_zero_point


@check("asymmetric_scale_zero_point", gate=True)
def test_asymmetric_of_mixed_signs(student: Student, rng: torch.Generator) -> None:
    for bits in (8, 4):
        x = torch.rand(60, generator=rng) * 4 - 1
        x[0], x[1] = -1.2, 3.3
        got = student.asymmetric_scale_zero_point(x, bits)
        expect_affine(got, x, bits, "a tensor of mixed signs")


@check("asymmetric_scale_zero_point", weight=2)
def test_asymmetric_at_every_width(student: Student, rng: torch.Generator) -> None:
    for bits in range(2, 17):
        x = torch.randn(80, generator=rng) * 2 + 0.7
        got = student.asymmetric_scale_zero_point(x, bits)
        expect_affine(got, x, bits, "a random tensor")


@check("asymmetric_scale_zero_point", weight=2)
def test_asymmetric_of_positive_data(student: Student, rng: torch.Generator) -> None:
    for low in (0.0, 0.5, 20.0):
        for bits in (2, 4, 8):
            x = torch.rand(5, 9, generator=rng) * 3 + low
            got = student.asymmetric_scale_zero_point(x, bits)
            expect_affine(got, x, bits, "an all-positive tensor")


@check("asymmetric_scale_zero_point", weight=2)
def test_asymmetric_of_negative_data(student: Student, rng: torch.Generator) -> None:
    for high in (0.0, -0.5, -20.0):
        for bits in (2, 4, 8):
            x = high - torch.rand(5, 9, generator=rng) * 3
            got = student.asymmetric_scale_zero_point(x, bits)
            expect_affine(got, x, bits, "an all-negative tensor")


@check("asymmetric_scale_zero_point")
def test_asymmetric_of_constants(student: Student) -> None:
    for value in (3.5, -3.5, 1e-4, -200.0):
        for bits in (2, 3, 8):
            x = torch.full((6,), value)
            got = student.asymmetric_scale_zero_point(x, bits)
            expect_affine(got, x, bits, f"a constant {value}")


@check("asymmetric_scale_zero_point")
def test_asymmetric_of_zeros(student: Student) -> None:
    for bits in (2, 8):
        scale, zero_point = student.asymmetric_scale_zero_point(torch.zeros(3, 2), bits)
        scale = expect.number(scale, "scale of an all-zero tensor")
        expect.true(scale > 0, f"the scale of an all-zero tensor must be above 0, got {scale}")
        what = "zero point of an all-zero tensor"
        zero_point = expect.number(zero_point, what, low=0, high=2**bits - 1)
        expect.equal(zero_point, round(zero_point), what)


@check("asymmetric_scale_zero_point", weight=2)
def test_zero_point_is_rounded(student: Student, rng: torch.Generator) -> None:
    for fraction in (0.3, 0.7, 0.9, 0.1, 0.6):
        for bits in (3, 4, 8):
            codes = 2**bits - 1
            zero = whole(rng, 1, codes - 1) + fraction
            x = torch.tensor([-zero, codes - zero, 0.0]) * 0.37
            got = student.asymmetric_scale_zero_point(x, bits)
            expect_affine(got, x, bits, "a zero point that is no whole number")


@check("asymmetric_scale_zero_point")
def test_asymmetric_types(student: Student, rng: torch.Generator) -> None:
    for x in (torch.randn(9, generator=rng), torch.rand(9, generator=rng), torch.zeros(4)):
        scale, zero_point = student.asymmetric_scale_zero_point(x, 8)
        message = f"the scale must be a Python float, got {type(scale).__name__}"
        expect.true(isinstance(scale, float), message)
        expect.integer(zero_point, "the zero point")


@check("asymmetric_scale_zero_point")
def test_asymmetric_leaves_its_argument(student: Student, rng: torch.Generator) -> None:
    for x in (
        torch.rand(2, 3, 4, 5, generator=rng) + 1,
        9 * torch.randn(7, generator=rng).double(),
    ):
        before = x.clone()
        got = student.asymmetric_scale_zero_point(x=x, bits=5)
        expect.unchanged(before, x, "x")
        expect_affine(got, before, 5, "a tensor of any shape")


@check("asymmetric_scale_zero_point")
def test_asymmetric_rejects_impossible_arguments(student: Student) -> None:
    for bits in BAD_BITS:
        with expect.value_error(f"bits = {bits}"):
            student.asymmetric_scale_zero_point(torch.tensor([-1.0, 2.0]), bits)
    with expect.value_error("x with NaN"):
        student.asymmetric_scale_zero_point(torch.tensor([1.0, NAN, -2.0]), 8)


# ---------------------------------------------------------------- symmetric_scale_per_channel


def expect_per_channel(got: object, weight: Tensor, bits: int, axis: int, what: str) -> None:
    """Expect one symmetric scale for every slice, 1.0 for a slice of zeros."""
    largest = weight.detach().double().abs().movedim(axis, 0).flatten(1).amax(dim=1)
    wanted = largest / (2 ** (bits - 1) - 1)
    wanted[largest == 0] = 1.0
    what = f"scales of {what} {tuple(weight.shape)} along axis {axis}, {bits} bits"
    expect.close(got, wanted, what, atol=0, rtol=1e-5)


@check("symmetric_scale_per_channel", gate=True)
def test_scales_of_a_linear_layer(student: Student, rng: torch.Generator) -> None:
    for bits in (8, 4):
        weight = torch.randn(5, 9, generator=rng)
        got = student.symmetric_scale_per_channel(weight, bits, 0)
        expect_per_channel(got, weight, bits, 0, "a linear weight")


@check("symmetric_scale_per_channel", weight=2)
def test_scales_of_a_conv_layer(student: Student, rng: torch.Generator) -> None:
    for shape in ((6, 3, 5, 2), (4, 4, 4, 4), (1, 7, 3, 3)):
        weight = torch.randn(shape, generator=rng)
        got = student.symmetric_scale_per_channel(weight, 8, 0)
        expect_per_channel(got, weight, 8, 0, "a conv weight")


@check("symmetric_scale_per_channel", weight=2)
def test_scales_along_other_axes(student: Student, rng: torch.Generator) -> None:
    for shape in ((4, 4), (3, 8), (5, 3, 4, 2), (3, 3, 3, 3)):
        weight = torch.randn(shape, generator=rng)
        for axis in range(len(shape)):
            got = student.symmetric_scale_per_channel(weight, 6, axis)
            expect_per_channel(got, weight, 6, axis, "a weight")


@check("symmetric_scale_per_channel")
def test_axis_is_zero_by_default(student: Student, rng: torch.Generator) -> None:
    for shape in ((4, 4), (6, 2, 3, 3)):
        weight = torch.randn(shape, generator=rng)
        expect_per_channel(student.symmetric_scale_per_channel(weight, 8), weight, 8, 0, "a weight")


@check("symmetric_scale_per_channel", weight=2)
def test_scales_at_every_width(student: Student, rng: torch.Generator) -> None:
    for bits in range(2, 17):
        weight = torch.randn(3, 10, generator=rng) * torch.tensor([[1e-7], [1.0], [30.0]])
        got = student.symmetric_scale_per_channel(weight, bits, 0)
        expect_per_channel(got, weight, bits, 0, "channels of very different size")


@check("symmetric_scale_per_channel", weight=2)
def test_scale_of_a_dead_channel(student: Student, rng: torch.Generator) -> None:
    for shape in ((5, 4), (5, 2, 3, 3)):
        weight = torch.randn(shape, generator=rng)
        weight[1] = 0
        weight[4] = 0
        for bits in (2, 8):
            got = student.symmetric_scale_per_channel(weight, bits, 0)
            expect_per_channel(got, weight, bits, 0, "a weight with dead channels")
    got = student.symmetric_scale_per_channel(torch.zeros(3, 2), 4, 1)
    expect_per_channel(got, torch.zeros(3, 2), 4, 1, "a weight of zeros")


@check("symmetric_scale_per_channel")
def test_scales_of_negative_channels(student: Student, rng: torch.Generator) -> None:
    weight = torch.rand(4, 6, generator=rng) + 0.2
    weight[1] = -weight[1]
    weight[2, 3] = -5.0
    for bits in (3, 8):
        got = student.symmetric_scale_per_channel(weight, bits, 0)
        expect_per_channel(got, weight, bits, 0, "a weight with negative channels")


@check("symmetric_scale_per_channel")
def test_scales_leave_the_weight(student: Student, rng: torch.Generator) -> None:
    weight = torch.randn(4, 5, generator=rng).requires_grad_(True)
    before = weight.detach().clone()
    got = student.symmetric_scale_per_channel(weight=weight, bits=8, axis=1)
    expect.unchanged(before.clone().requires_grad_(True), weight, "weight")
    expect_per_channel(got, before, 8, 1, "a parameter")


@check("symmetric_scale_per_channel")
def test_scales_reject_impossible_arguments(student: Student) -> None:
    weight = torch.ones(3, 4)
    for bits in BAD_BITS:
        with expect.value_error(f"bits = {bits}"):
            student.symmetric_scale_per_channel(weight, bits, 0)
    weight[1, 2] = NAN
    with expect.value_error("a weight with NaN"):
        student.symmetric_scale_per_channel(weight, 8, 0)
