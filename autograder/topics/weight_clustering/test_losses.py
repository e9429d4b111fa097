"""Hidden checks: cluster_loss and quantize_codebook."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student, StudentError
from autograder.judge.toys import uniform

# ---------------------------------------------------------------- cluster_loss


def true_loss(weights: Tensor, codebook: Tensor) -> Tensor:
    """Return the lecture's sum."""
    return (weights.flatten()[:, None] - codebook).square().min(1).values.sum()


@check("cluster_loss", gate=True)
def test_sum_of_squared_distances(student: Student, rng: torch.Generator) -> None:
    for count, k in ((7, 2), (50, 4)):
        weights = torch.randn(count, generator=rng)
        codebook = torch.randn(k, generator=rng).sort().values
        got = student.cluster_loss(weights, codebook)
        wanted = true_loss(weights, codebook)
        distances = (weights[:, None] - codebook).abs().min(1).values
        value = expect.number(got, "the loss")
        for other, mistake, what in (
            (wanted / count, "mean", "this is the mean; the lecture's loss is a sum"),
            (distances.sum(), "absolute", "distances are squared, not absolute"),
            (wanted.sqrt(), "root", "no root is taken of the sum"),
        ):
            if abs(value - float(other)) < 1e-4 * float(other):
                fail(f"expected {float(wanted):.5g}, got {value:.5g}: {what}", mistake)
        expect.close(got, wanted, f"the loss of {count} weights, k={k}", atol=1e-5, rtol=1e-4)


@check("cluster_loss", weight=3)
def test_gradient_reaches_the_weights(student: Student, rng: torch.Generator) -> None:
    codebook = torch.tensor([-1.5, -0.25, 0.5, 2.0])
    weights = torch.randn(5, 8, generator=rng).requires_grad_()
    try:
        student.call_and_backward("cluster_loss", weights, codebook)
    except StudentError as problem:
        if "does not require grad" not in problem.message:
            raise
        fail("the loss is cut off from the weights: no gradient", "no_gradient")
    if weights.grad is None:
        fail("no gradient reached the weights", "no_gradient")
    flat = weights.detach()
    nearest = codebook[(flat[..., None] - codebook).abs().argmin(-1)]
    what = "the gradient, 2 (w - nearest centroid)"
    expect.close(weights.grad, 2 * (flat - nearest), what, atol=1e-5, rtol=1e-4)


@check("cluster_loss", weight=2)
def test_codebook_in_any_order(student: Student, rng: torch.Generator) -> None:
    for codebook in ([2.0, -1.0, 0.3], [0.5, 0.5, -2.0, 3.0], [0.7]):
        weights = 2 * torch.randn(40, generator=rng)
        wanted = true_loss(weights, torch.tensor(codebook))
        got = student.cluster_loss(weights, torch.tensor(codebook))
        expect.close(got, wanted, f"codebook {codebook}", atol=1e-5, rtol=1e-4)


@check("cluster_loss")
def test_weights_of_any_shape(student: Student, rng: torch.Generator) -> None:
    for shape in ((3, 4), (4, 2, 3, 3), (1,)):
        weights = torch.randn(shape, generator=rng)
        codebook = torch.tensor([0.9, -0.5, 1.4, 0.1])
        before = weights.clone(), codebook.clone()
        got = student.cluster_loss(weights=weights, codebook=codebook)
        wanted = true_loss(weights, codebook)
        expect.close(got, wanted, f"weights of shape {shape}", atol=1e-5, rtol=1e-4)
        expect.unchanged(before, (weights, codebook), "weights or codebook")


@check("cluster_loss")
def test_no_distance_no_loss(student: Student, rng: torch.Generator) -> None:
    codebook = torch.tensor([-0.3, 0.2, 1.1])
    weights = codebook[torch.randint(3, (30,), generator=rng)].requires_grad_()
    got = student.call_and_backward("cluster_loss", weights, codebook)
    expect.close(got, 0.0, "all weights lie on centroids: the loss", atol=1e-6)
    flat = torch.zeros(30) if weights.grad is None else weights.grad
    expect.close(flat, torch.zeros(30), "all weights lie on centroids: the gradient", atol=1e-5)


# ---------------------------------------------------------------- quantize_codebook


def on_grid(codebook: Tensor, bits: int) -> Tensor:
    """Return the values rounded to the symmetric grid."""
    scale = float(codebook.abs().max()) / (2 ** (bits - 1) - 1) or 1.0
    return torch.round(codebook / scale) * scale


def expect_on_grid(got: Any, codebook: Tensor, bits: int, what: str) -> None:
    """Expect whole multiples of the scale, each at most half a step away.

    With many bits, float32 and float64 may round a value near a half differently: both are right.
    """
    got = expect.tensor(got, codebook.shape, what=what).detach()
    scale = float(codebook.abs().max()) / (2 ** (bits - 1) - 1)
    steps, exact = got.double() / scale, codebook.double() / scale
    wrong = ((steps - steps.round()).abs() > 0.02) | ((steps - exact).abs() > 0.52)
    if bool(wrong.any()):
        place = int(wrong.nonzero()[0])
        fail(
            f"{what}: {float(codebook[place]):.6g} is {float(exact[place]):.6g} steps of "
            f"{scale:.4g}; expected the nearest whole number of steps, got "
            f"{float(got[place]):.6g}, which is {float(steps[place]):.6g} steps"
        )


@check("quantize_codebook", gate=True)
def test_values_lie_on_the_grid(student: Student, rng: torch.Generator) -> None:
    for bits in (8, 4):
        codebook = torch.randn(16, generator=rng).sort().values
        got = student.quantize_codebook(codebook, bits)
        expect.close(got, on_grid(codebook, bits), f"{bits} bits", atol=1e-5)


@check("quantize_codebook", weight=2)
def test_every_width_of_the_grid(student: Student, rng: torch.Generator) -> None:
    for bits in (2, 3, 5, 12, 16):
        for factor in (0.02, 1.0, 50.0):
            codebook = factor * torch.randn(32, generator=rng)
            got = student.quantize_codebook(codebook=codebook, bits=bits)
            what = f"{bits} bits, values around {factor:g}"
            expect_on_grid(got, codebook, bits, what)


@check("quantize_codebook", weight=2)
def test_one_sided_codebooks(student: Student, rng: torch.Generator) -> None:
    for sign in (1, -1):
        codebook = sign * (0.1 + torch.rand(9, generator=rng))
        what = f"all values {'positive' if sign > 0 else 'negative'}, 4 bits"
        got = student.quantize_codebook(codebook, 4)
        expect.close(got, on_grid(codebook, 4), what, atol=1e-5)
    codebook = torch.tensor([-2.0, 0.3, 0.9])
    got = student.quantize_codebook(codebook, 3)
    expect.close(got, on_grid(codebook, 3), "the largest magnitude is negative", atol=1e-5)


@check("quantize_codebook")
def test_halves_and_zeros(student: Student) -> None:
    got = student.quantize_codebook(torch.zeros(5), 8)
    expect.close(got, torch.zeros(5), "a codebook of zeros")
    got = student.quantize_codebook(torch.tensor([-3.0, 0.5, 1.5, 2.5]), 3)
    expect.close(got, torch.tensor([-3.0, 0.0, 2.0, 2.0]), "halves at scale 1 go to even")


@check("quantize_codebook")
def test_quantizing_keeps_dtype_and_argument(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.float32, torch.float64):
        codebook = torch.randn(uniform(rng, 3, 20), generator=rng, dtype=dtype)
        before = codebook.clone()
        got = student.quantize_codebook(codebook, 6)
        expect.tensor(got, codebook.shape, dtype, f"the result for a {dtype} codebook")
        expect.unchanged(before, codebook, "codebook")


@check("quantize_codebook", weight=0.5)
def test_quantizing_rejects_impossible_arguments(student: Student) -> None:
    codebook = torch.tensor([-1.0, 0.2, 0.7])
    for bits in (1, 0, 17):
        with expect.value_error(f"bits = {bits}"):
            student.quantize_codebook(codebook, bits)
    codebook[1] = float("nan")
    with expect.value_error("NaN in the codebook"):
        student.quantize_codebook(codebook, 8)
