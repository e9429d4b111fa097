"""Inputs and expectations that the checks of this topic share."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import expect, fail
from autograder.judge.student import Student, StudentError
from course_utils.data import make_loader

CODE_TYPES = {True: torch.int8, False: torch.uint8}
NEAR_A_HALF = 1e-3
FLOAT32 = 3e-7  # relative error of a quotient in float32, twice over


def loader_of(images: Tensor, batch_size: int = 50) -> DataLoader:
    """Return a loader over the images, in order, with labels 0."""
    return make_loader(images, torch.zeros(len(images), dtype=torch.int64), batch_size)


def code_limits(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest code."""
    low = -(2 ** (bits - 1)) if signed else 0
    return low, low + 2**bits - 1


def code_type(bits: int, signed: bool) -> torch.dtype:
    """Return the dtype of codes."""
    return CODE_TYPES[signed] if bits <= 8 else torch.int32


def expect_rounded(
    got: object, real: Tensor, low: int, high: int, dtype: torch.dtype, what: str
) -> Tensor:
    """Expect `real` (float64) rounded and saturated.

    Where `real` lies within a thousandth of a half, either neighbour is right: float32 and float64
    differ there. Exact halves have checks of their own.
    """
    got = expect.tensor(got, real.shape, dtype, what)
    codes, wanted = got.to(torch.float64), real.round().clamp(low, high)
    tie = (real - real.floor() - 0.5).abs() < NEAR_A_HALF + FLOAT32 * real.abs()
    wrong = (codes - wanted).abs() > tie.double()
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        fail(
            f"{what}: expected code {int(wanted[place])}, got {int(codes[place])} at {place} "
            f"({int(wrong.sum())} of {wrong.numel()} are wrong); before rounding it is "
            f"{float(real[place]):.4f}, and codes go from {low} to {high}"
        )
    return got


def expect_affine(got: object, x: Tensor, bits: int, what: str) -> tuple[float, int]:
    """Expect scale and zero point of asymmetric quantization of x."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail(f"{what}: expected (scale, zero_point), got {got!r}"[:300])
    scale = expect.number(got[0], f"{what}: scale")
    zero_point = expect.number(got[1], f"{what}: zero point")
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    wanted = (high - low) / (2**bits - 1)
    what = f"{what} (range {low:.4g} .. {high:.4g} with zero, {bits} bits)"
    expect.close(scale, wanted, f"{what}: scale", atol=0, rtol=1e-5)
    if zero_point != round(zero_point) or abs(zero_point + low / wanted) > 0.5 + NEAR_A_HALF:
        fail(
            f"{what}: expected zero point round({-low / wanted:.4f}), got {zero_point}; it is the "
            "code of the number 0, and low gets the code 0"
        )
    message = f"{what}: zero point {zero_point} lies outside the codes 0 .. {2**bits - 1}"
    expect.true(0 <= zero_point <= 2**bits - 1, message)
    return scale, int(zero_point)


def quantizable(model: nn.Module) -> dict[str, nn.Module]:
    """Return the conv and linear layers by name."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def layer_values(model: nn.Module, images: Tensor, *, outputs: bool = False) -> dict[str, Tensor]:
    """Return all that enters (or leaves) each conv and linear layer in eval mode, flat."""
    model = copy.deepcopy(model).eval()
    kept: dict[str, Tensor] = {}
    for name, layer in quantizable(model).items():

        def note(_layer: object, inputs: tuple[Tensor], output: Tensor, name: str = name) -> None:
            kept[name] = (output if outputs else inputs[0]).flatten()

        layer.register_forward_hook(note)
    with torch.no_grad():
        model(images)
    return kept


def expect_ranges(got: object, model: nn.Module) -> dict[str, tuple[float, float]]:
    """Expect one (low, high) for each conv and linear layer."""
    names = list(quantizable(model))
    if not isinstance(got, dict) or set(got) != set(names):
        keys = sorted(map(str, got)) if isinstance(got, dict) else type(got).__name__
        fail(f"expected a dict with the layers {names}, named as in named_modules(), got {keys}")
    ranges = {}
    for name in names:
        pair = got[name]
        if isinstance(pair, Tensor):
            pair = pair.flatten().tolist()
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            fail(f"{name}: expected a pair (low, high), got {pair!r}"[:300])
        low, high = (expect.number(end, f"{name}: range") for end in pair)
        ranges[name] = (low, high)
    return ranges


def expect_end(
    got: float, accepted: list[tuple[float, float]], what: str, mistake: str | None = None
) -> None:
    """Expect an end of a range within one of the accepted intervals."""
    if not any(low <= got <= high for low, high in accepted):
        shown = " or ".join(f"{low:.5g} .. {high:.5g}" for low, high in accepted)
        fail(f"{what}: expected {shown}, got {got:.5g}", mistake)


def ends_of(values: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return float(values.min()), float(values.max())


def quantized(student: Student, *args: object, **kwargs: object) -> object:
    """Call the student's quantize_model; say it clearly when the caller's model lost its layers."""
    try:
        return student.quantize_model(*args, **kwargs)
    except StudentError as error:
        if "no longer has the layers" not in error.message:
            raise
        fail(
            "the layers of the caller's model were replaced: quantize a deep copy",
            "changes_the_callers_model",
        )


def run(model: object, images: Tensor, what: str = "the quantized model") -> Tensor:
    """Return what the model gives for the images: a model here, or one in the sandbox."""
    if not callable(model):
        fail(f"expected a model that can be called on images, got {type(model).__name__}")
    with torch.no_grad():
        logits = model(images)
    return expect.tensor(logits, what=f"the output of {what}").detach()


def count_levels(values: Tensor) -> int:
    """Return how many different values there are, but for rounding errors."""
    ordered = values.flatten().double().sort().values
    gap = 1e-4 * float(ordered[-1] - ordered[0])
    return 1 + int((ordered.diff() > gap).sum())
