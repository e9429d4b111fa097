"""What checks are written with: the `check` mark, and expectations whose failures teach.

A failure says what was expected, what came, and, where the check knows it, which mistake causes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from autograder.judge.by_reference import as_left
from autograder.judge.student import StudentError

SHOWN_ELEMENTS = 12


class CheckFailure(AssertionError):
    """A check did not hold; `mistake` names the cause when the check knows it."""

    def __init__(self, message: str, mistake: str | None = None) -> None:
        super().__init__(message)
        self.mistake = mistake


class NotRejected(CheckFailure):
    """An argument that cannot be right was accepted, or rejected in another way."""


def check(
    exercise: str,
    *,
    gate: bool = False,
    weight: float = 1.0,
    timeout: int | None = None,
    in_place: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test function as a check of `exercise`.

    Args:
        exercise: name of the exercise, as in the notebook source.
        gate: without this check the exercise earns nothing, and its other checks are not run.
        weight: share of the exercise's points, relative to its other checks.
        timeout: CPU seconds for this check, when it needs other than the usual.
        in_place: the exercise changes its arguments by contract, and the check looks at them.
    """
    return pytest.mark.check(exercise, gate=gate, weight=weight, timeout=timeout, in_place=in_place)


def fail(message: str, mistake: str | None = None) -> NoReturn:
    """End the check with `message`; `mistake` is a name from the topic's mistakes."""
    raise CheckFailure(message, mistake)


def describe(value: Any) -> str:
    """Return a short text for `value`, fit for a failure message."""
    if isinstance(value, Tensor):
        kind = f"tensor of shape {tuple(value.shape)}, {value.dtype}"
        if value.numel() <= SHOWN_ELEMENTS:
            return f"{kind}: {value.detach().tolist()}"
        return kind
    if isinstance(value, nn.Module):
        return f"a model of class {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({type(value).__name__})"


class Expect:
    """Expectations. Each returns what it accepted, or fails with a message for the student."""

    def true(self, condition: object, message: str, mistake: str | None = None) -> None:
        """Fail with `message` unless `condition` holds."""
        if not condition:
            fail(message, mistake)

    def tensor(
        self,
        got: Any,
        shape: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
        what: str = "the result",
    ) -> Tensor:
        """Expect a dense tensor, of this shape and dtype where given."""
        if not isinstance(got, Tensor):
            fail(f"{what}: expected a torch.Tensor, got {describe(got)}")
        if shape is not None and tuple(got.shape) != tuple(shape):
            fail(f"{what}: expected shape {tuple(shape)}, got {tuple(got.shape)}")
        if dtype is not None and got.dtype != dtype:
            fail(f"{what}: expected dtype {dtype}, got {got.dtype}")
        return got

    def equal(self, got: Any, expected: Any, what: str, mistake: str | None = None) -> None:
        """Expect the same value: tensors element by element with the same shape and dtype."""
        if isinstance(expected, Tensor):
            self.tensor(got, expected.shape, expected.dtype, what)
            if not torch.equal(got, expected):
                fail(_first_difference(what, got, expected), mistake)
        elif isinstance(got, Tensor) or not bool(got == expected):
            fail(f"{what}: expected {describe(expected)}, got {describe(got)}", mistake)

    def close(
        self,
        got: Any,
        expected: Any,
        what: str,
        atol: float = 1e-6,
        rtol: float = 1e-5,
        mistake: str | None = None,
    ) -> None:
        """Expect nearly the same numbers: |got - expected| <= atol + rtol * |expected|."""
        if isinstance(expected, Tensor) and expected.dim() > 0:
            self.tensor(got, expected.shape, what=what)
            left, right = got.detach().double(), expected.detach().double()
            if not torch.allclose(left, right, atol=atol, rtol=rtol):
                fail(_first_difference(what, got, expected, atol, rtol), mistake)
        else:
            number = self.number(got, what)
            if not math.isclose(number, float(expected), abs_tol=atol, rel_tol=rtol):
                fail(f"{what}: expected {float(expected):.6g}, got {number:.6g}", mistake)

    def number(
        self, got: Any, what: str, low: float | None = None, high: float | None = None
    ) -> float:
        """Expect a finite number (a tensor with one element counts), within [low, high]."""
        if isinstance(got, Tensor) and got.numel() == 1 and not got.is_complex():
            got = got.item()
        if isinstance(got, bool) or not isinstance(got, Real) or not math.isfinite(got):
            fail(f"{what}: expected a finite number, got {describe(got)}")
        if low is not None and got < low:
            fail(f"{what}: expected at least {low:.6g}, got {float(got):.6g}")
        if high is not None and got > high:
            fail(f"{what}: expected at most {high:.6g}, got {float(got):.6g}")
        return float(got)

    def integer(self, got: Any, what: str) -> int:
        """Expect a whole number of an integer type."""
        if isinstance(got, bool) or not isinstance(got, Integral):
            fail(f"{what}: expected an int, got {describe(got)}")
        return int(got)

    def unchanged(self, before: Any, after: Any, what: str, mistake: str | None = None) -> None:
        """Expect that an argument (tensor, model, or container of them) was left as it was.

        Args:
            before: a copy that was made earlier.
            after: the very object that was passed; a view such as `x.detach()` is another one.
            what: its name, for the message.
            mistake: name of the mistake that a change shows.
        """
        difference = first_change(before, after)
        if difference:
            fail(f"{what} was changed: {difference}. Work on a copy.", mistake)

    @contextmanager
    def value_error(self, what: str, mistake: str | None = None) -> Iterator[None]:
        """Expect a ValueError from the student's code in the block."""
        try:
            yield
        except StudentError as error:
            if error.is_a("ValueError"):
                return
            if error.is_a("NotImplementedError") or error.fatal:
                raise
            got = f"{error.type_name}: {error.message}"
            raise NotRejected(f"{what}: expected a ValueError, got {got}", mistake) from None
        raise NotRejected(
            f"{what}: expected a ValueError that names the argument, but none was raised", mistake
        )


expect = Expect()


def first_change(before: Any, after: Any) -> str:
    """Say where two values first differ; empty when they are the same, to the last bit.

    Args:
        before: a copy that was made earlier.
        after: the very object that was passed; what student code did to it counts.
    """
    after = as_left(after)
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        if before.shape != after.shape or before.dtype != after.dtype:
            return f"it was a {describe(before)}, it is a {describe(after)}"
        if not torch.equal(before.nan_to_num(0.5), after.nan_to_num(0.5)):
            return "its values differ"
        if before.requires_grad != after.requires_grad:
            return f"requires_grad is now {after.requires_grad}"
        if (before.grad is None) != (after.grad is None):
            return "it now has a gradient" if before.grad is None else "its gradient is gone"
        if before.grad is not None and not torch.equal(before.grad, after.grad):
            return "its gradient differs"
        return ""
    if isinstance(before, nn.Module) and isinstance(after, nn.Module):
        return _first_module_change(before, after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if list(before) != list(after):
            return f"its keys were {list(before)}, they are {list(after)}"
        changes = ((key, first_change(before[key], after[key])) for key in before)
        return next((f"at {key!r}: {change}" for key, change in changes if change), "")
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        if len(before) != len(after):
            return f"its length was {len(before)}, it is {len(after)}"
        pairs = enumerate(zip(before, after, strict=True))
        changes = ((place, first_change(left, right)) for place, (left, right) in pairs)
        return next((f"at {place}: {change}" for place, change in changes if change), "")
    odd = any(isinstance(value, Tensor | nn.Module) for value in (before, after))
    if odd or before != after:
        return f"it was {describe(before)}, it is {describe(after)}"
    return ""


def _first_module_change(before: nn.Module, after: nn.Module) -> str:
    modules, others = dict(before.named_modules()), dict(after.named_modules())
    if list(modules) != list(others):
        return f"its layers were {list(modules)[1:]}, they are {list(others)[1:]}"
    for name, module in modules.items():
        if module.training != others[name].training:
            mode = "train" if others[name].training else "eval"
            return f"{name or 'the model'} is now in {mode} mode"
    for kind in ("named_parameters", "named_buffers"):
        change = first_change(dict(getattr(before, kind)()), dict(getattr(after, kind)()))
        if change:
            return change
    return ""


def _first_difference(
    what: str, got: Tensor, expected: Tensor, atol: float = 0.0, rtol: float = 0.0
) -> str:
    left, right = got.detach().double(), expected.detach().double()
    wrong = ~torch.isclose(left, right, atol=atol, rtol=rtol, equal_nan=True)
    if got.dim() == 0:
        return f"{what}: expected {expected.item()}, got {got.item()}"
    place = tuple(wrong.nonzero()[0].tolist())
    count = int(wrong.sum())
    return (
        f"{what}: at index {place} expected {expected[place].item():.6g}, got "
        f"{got[place].item():.6g} ({count} of {got.numel()} elements differ)"
    )
