"""Hidden checks: fake_quantize and MovingAverageObserver."""

from __future__ import annotations

import torch
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import RemoteObject, Student
from autograder.topics.quantization_aware_training.toys import (
    accepted,
    backward,
    expect_layer,
    outputs,
)

NAN = float("nan")


def codes_of(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest code."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def draw(
    rng: torch.Generator, scale: float, zero_point: int, bits: int, signed: bool, count: int = 300
) -> Tensor:
    """Return values on both sides of the range, none of them near the border of two levels."""
    low, high = codes_of(bits, signed)
    width = high - low + 1
    position = low - 0.4 * width + torch.rand(count, generator=rng) * 1.8 * width
    whole = position.floor()
    fraction = (position - whole) * 0.8 + 0.1
    fraction = torch.where((fraction - 0.5).abs() < 0.05, 0.3, fraction)
    return (whole + fraction - zero_point) * scale


def wanted_levels(x: Tensor, scale: float, zero_point: int, bits: int, signed: bool) -> Tensor:
    """Return what quantizing and dequantizing gives."""
    low, high = codes_of(bits, signed)
    codes = (torch.round(x.double() / scale) + zero_point).clamp(low, high)
    return ((codes - zero_point) * scale).float()


def expect_levels(
    student: Student, x: Tensor, scale: float, zero_point: int, bits: int, signed: bool
) -> None:
    """Expect the values of quantize-dequantize."""
    got = student.fake_quantize(x, scale, zero_point, bits, signed)
    what = f"scale {scale}, zero point {zero_point}, {bits} bits, signed={signed}"
    wanted = wanted_levels(x, scale, zero_point, bits, signed)
    expect.close(got, wanted, what, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- fake_quantize


@check("fake_quantize", gate=True)
def test_levels_of_four_bits(student: Student, rng: torch.Generator) -> None:
    for zero_point, signed in ((0, True), (5, False)):
        expect_levels(student, draw(rng, 0.25, zero_point, 4, signed), 0.25, zero_point, 4, signed)


@check("fake_quantize")
def test_levels_of_other_bits(student: Student, rng: torch.Generator) -> None:
    for bits in (2, 3, 5, 8, 12, 16):
        for signed in (True, False):
            low, high = codes_of(bits, signed)
            for zero_point in (low + 1, (low + high) // 2, 0):
                scale = 3.7 / (high - low)
                x = draw(rng, scale, zero_point, bits, signed)
                expect_levels(student, x, scale, zero_point, bits, signed)
    # Codes far beyond int32, and values whose rounding errors are larger than the whole range.
    far = torch.tensor([-1e10, -3e5, 3e5, 1e10])
    for bits, zero_point, signed in ((4, 0, True), (8, 100, False)):
        expect_levels(student, far, 0.25, zero_point, bits, signed)


@check("fake_quantize")
def test_rounds_half_to_even(student: Student, rng: torch.Generator) -> None:
    halves = torch.arange(-6, 7) + 0.5
    for scale in (1.0, 0.25):
        expect_levels(student, halves * scale, scale, 0, 5, True)
        # Round first, then add the zero point: an odd one turns even into odd.
        expect_levels(student, halves * scale, scale, 11, 5, False)


@check("fake_quantize", weight=2)
def test_gradient_passes_straight_through(student: Student, rng: torch.Generator) -> None:
    for bits, zero_point, signed in (
        *((4, 0, True), (3, 2, False), (2, 0, True), (8, 100, False)),
        *((4, -7, True), (4, 6, True)),
    ):
        low, high = codes_of(bits, signed)
        scale = 0.3
        codes = low + torch.rand(200, generator=rng) * (high - low)
        x = ((codes - zero_point) * scale).requires_grad_(True)
        call = (x, scale, zero_point, bits, signed)
        backward(student, "fake_quantize", *call, mistake="no_estimator")
        if x.grad is None or not x.grad.any():
            fail(
                "expected the gradient 1 between the first and the last level, got none: "
                "torch.round has gradient 0 everywhere, so nothing would learn",
                "no_estimator",
            )
        what = f"gradient between the first and the last level ({bits} bits, scale {scale})"
        scaled = "gradient_scaled" if x.grad.all() else None
        expect.close(x.grad, torch.ones(200), what, mistake=scaled)


@check("fake_quantize", weight=2)
def test_no_gradient_where_clipped(student: Student, rng: torch.Generator) -> None:
    for bits, zero_point, signed in (
        *((4, 0, True), (3, 2, False), (2, 0, True), (4, 15, False)),
        *((4, -7, True), (4, 6, True)),
    ):
        low, high = codes_of(bits, signed)
        scale = 0.3
        beyond = 0.6 + torch.rand(100, generator=rng) * 3 * (high - low)
        codes = torch.cat([low - beyond, high + beyond])
        x = ((codes - zero_point) * scale).requires_grad_(True)
        call = (x, scale, zero_point, bits, signed)
        backward(student, "fake_quantize", *call, mistake="no_estimator")
        got = torch.zeros(200) if x.grad is None else x.grad
        if got.count_nonzero():
            sides = [name for name, half in (("low", got[:100]), ("high", got[100:])) if half.any()]
            fail(
                f"{bits} bits, signed={signed}, zero point {zero_point}: expected the gradient 0 "
                f"where x is clipped, but it passes on the {' and the '.join(sides)} side",
                "gradient_through_clipping" if len(sides) == 2 else None,
            )


@check("fake_quantize")
def test_gradient_from_above_counts(student: Student, rng: torch.Generator) -> None:
    codes = torch.linspace(-7.9, 6.9, 80)
    x = (0.3 * torch.cat([codes, codes - 20])).requires_grad_(True)
    upstream = torch.randn(160, generator=rng)
    call = (x, 0.3, 0, 4, True)
    backward(student, "fake_quantize", *call, mistake="no_estimator", upstream=upstream)
    got = torch.zeros(160) if x.grad is None else x.grad
    wanted = torch.cat([upstream[:80], torch.zeros(80)])
    what = "the gradient that reaches the result passes on, times 1 or 0"
    alone = got.any() and len(got.unique()) <= 2
    expect.close(got, wanted, what, mistake="gradient_from_above_ignored" if alone else None)


@check("fake_quantize")
def test_scale_is_a_constant(student: Student, rng: torch.Generator) -> None:
    scale = torch.tensor(0.2, requires_grad=True)
    x = torch.linspace(-3, 3, 50, requires_grad=True)
    call = (x, scale, 0, 4, True)
    got = backward(student, "fake_quantize", *call, mistake="no_estimator")
    expect.close(got.detach(), wanted_levels(x.detach(), 0.2, 0, 4, True), "values", atol=1e-5)
    if scale.grad is not None and scale.grad.abs().sum() > 0:
        fail(
            f"a gradient of {float(scale.grad):.3g} went to the scale: it is a constant here",
            "gradient_to_the_scale",
        )


@check("fake_quantize")
def test_any_shape_and_keywords(student: Student, rng: torch.Generator) -> None:
    for shape in ((), (1,), (3, 4), (2, 3, 4, 5)):
        x = torch.rand(shape, generator=rng) * 4 - 2
        before = x.clone()
        got = student.fake_quantize(x=x, scale=0.25, zero_point=0, bits=6, signed=True)
        expect.tensor(got, shape, torch.float32)
        expect.unchanged(before, x, "x", "works_in_place")
        expect.true((got - x).abs().max() <= 0.126, "expected every value at its nearest level")
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    got = student.fake_quantize(x, 0.25, 0, 6, True)
    expect.tensor(got, (50,), torch.float64, "the result for an x of float64")


@check("fake_quantize")
def test_fake_quantize_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(5, generator=rng)
    for bits in (1, 0, -3, 17, 32):
        with expect.value_error(f"bits = {bits}"):
            student.fake_quantize(x, 0.5, 0, bits, True)
    with expect.value_error("an x with NaN"):
        student.fake_quantize(torch.tensor([1.0, NAN, 2.0]), 0.5, 0, 4, True)


# ---------------------------------------------------------------- MovingAverageObserver


def expect_range(
    observer: RemoteObject, low: float, high: float, what: str, mistake: str | None = None
) -> None:
    """Expect the observer's attributes."""
    for name, wanted in (("low", low), ("high", high)):
        got = expect.number(getattr(observer, name), f"{what}: {name}")
        if abs(got - wanted) > 1e-4 * max(1.0, abs(wanted)):
            fail(f"{what}: expected {name} = {wanted:.6g}, got {got:.6g}", mistake)


def batch_between(rng: torch.Generator, low: float, high: float) -> Tensor:
    """Return a batch whose smallest and largest values are these."""
    batch = low + torch.rand(6, 5, generator=rng) * (high - low)
    batch[2, 3], batch[4, 0] = low, high
    return batch


@check("MovingAverageObserver", gate=True)
def test_first_batch_is_taken_as_it_is(student: Student, rng: torch.Generator) -> None:
    for low, high in ((2.0, 4.5), (-7.0, -3.0), (-1.0, 6.0)):
        observer = expect_layer(student.MovingAverageObserver(0.9), "MovingAverageObserver(0.9)")
        observer.train()
        observer(batch_between(rng, low, high))
        message = f"after the first batch, which lies in [{low}, {high}]"
        expect_range(observer, low, high, message, "first_batch_averaged")


@check("MovingAverageObserver", weight=2)
def test_later_batches_are_averaged(student: Student, rng: torch.Generator) -> None:
    for momentum in (0.75, 0.9, 0.1, 0.5):
        observer = expect_layer(student.MovingAverageObserver(momentum), "the observer")
        observer.train()
        low = high = swapped = None
        for number, (bottom, top) in enumerate([(-2, 4), (-6, 1), (1, 8), (0.5, 3), (-1, 20)]):
            observer(batch_between(rng, bottom, top))
            low = bottom if number == 0 else momentum * low + (1 - momentum) * bottom
            high = top if number == 0 else momentum * high + (1 - momentum) * top
            swapped = top if number == 0 else (1 - momentum) * swapped + momentum * top
            got = expect.number(observer.high, "high")
            is_swapped = abs(got - swapped) < 1e-4 and abs(got - high) > 1e-3
            name = "momentum_swapped" if is_swapped else None
            if number == 1 and abs(got - 4) < 1e-4:
                name = "only_grows"
            expect_range(observer, low, high, f"momentum {momentum}, batch {number + 1}", name)


@check("MovingAverageObserver")
def test_zero_is_a_range_like_any_other(student: Student, rng: torch.Generator) -> None:
    # After a ReLU the smallest value is 0: it does not say that no batch was seen.
    for first in ((0.0, 4.0), (-4.0, 0.0), (0.0, 0.0)):
        observer = expect_layer(student.MovingAverageObserver(0.75), "the observer")
        observer.train()
        observer(batch_between(rng, *first))
        observer(batch_between(rng, -2, 8))
        low, high = 0.75 * first[0] - 0.5, 0.75 * first[1] + 2
        what = f"a first batch in [{first[0]:.0f}, {first[1]:.0f}], then one in [-2, 8]"
        taken = (
            expect.number(observer.low, "low") == -2 or expect.number(observer.high, "high") == 8
        )
        name = "zero_means_no_batch_yet" if taken else None
        expect_range(observer, low, high, what, name)


@check("MovingAverageObserver", weight=2)
def test_eval_mode_freezes_the_range(student: Student, rng: torch.Generator) -> None:
    observer = expect_layer(student.MovingAverageObserver(0.5), "the observer")
    observer.train()
    observer(batch_between(rng, -1, 2))
    observer.eval()
    for _ in range(2):
        wild = batch_between(rng, -50, 70)
        expect.equal(outputs(observer, wild), wild, "the output in eval mode")
        expect_range(observer, -1, 2, "eval mode must not update", "updates_in_eval")
    observer.train()
    observer(batch_between(rng, -3, 6))
    expect_range(observer, -2, 4, "back in train mode")
    late = expect_layer(student.MovingAverageObserver(0.9), "the observer")
    late.eval()
    late(batch_between(rng, -50, 70))
    late.train()
    late(batch_between(rng, 3, 5))
    expect_range(late, 3, 5, "the first batch in train mode, after one in eval mode")


@check("MovingAverageObserver")
def test_observer_returns_its_input(student: Student, rng: torch.Generator) -> None:
    observer = expect_layer(student.MovingAverageObserver(momentum=0.9), "momentum as a keyword")
    for training in (True, True, False):
        observer.train() if training else observer.eval()
        for shape in ((7,), (2, 3), (2, 3, 4, 5)):
            x = torch.randn(shape, generator=rng)
            before = x.clone()
            expect.equal(outputs(observer, x), before, f"the output, training={training}")
            expect.unchanged(before, x, "x")


@check("MovingAverageObserver")
def test_gradient_passes_the_observer(student: Student, rng: torch.Generator) -> None:
    observer = expect_layer(student.MovingAverageObserver(0.9), "the observer")
    observer.train()
    for _ in range(2):
        x = torch.randn(4, 3, generator=rng, requires_grad=True)
        backward(student, observer, x, mistake="cuts_the_gradient")
        if x.grad is None or not torch.equal(x.grad, torch.ones(4, 3)):
            fail("expected the gradient to pass unchanged through forward", "cuts_the_gradient")
    for name in ("low", "high"):
        value = getattr(observer, name)
        if isinstance(value, Tensor) and value.requires_grad:
            fail(f"{name} holds a gradient graph: detach x before you look at it", "keeps_a_graph")


@check("MovingAverageObserver", weight=0.5)
def test_observers_are_separate(student: Student, rng: torch.Generator) -> None:
    first = expect_layer(student.MovingAverageObserver(0.0), "momentum 0")
    second = expect_layer(student.MovingAverageObserver(0.8), "momentum 0.8")
    first.train()
    second.train()
    for low, high in ((-1, 1), (-2, 5)):
        first(batch_between(rng, low, high))
        second(batch_between(rng, 10 * low, 10 * high))
    expect_range(first, -2, 5, "momentum 0 follows the last batch")
    expect_range(second, -12, 18, "a second observer")


@check("MovingAverageObserver", weight=0.5)
def test_observer_rejects_impossible_momentum(student: Student, rng: torch.Generator) -> None:
    for momentum in (-0.1, 1.1, 2):
        with expect.value_error(f"momentum = {momentum}"):
            student.MovingAverageObserver(momentum)
    for momentum in (0, 1):  # both ends belong to the range
        with accepted(f"momentum = {momentum}", "refuses_the_ends"):
            student.MovingAverageObserver(momentum)
