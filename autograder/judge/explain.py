"""From a check's failure to a message for the student, with the mistake's name where it is known.

A check may name the mistake itself. Otherwise the calls that it made are made again on every
typical mistake of the exercise: the one that answers just as the student's code did is the cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.authoring.answers import Mistake, as_function, load_mistakes
from autograder.authoring.reference import load_reference
from autograder.judge.checking import CheckFailure, NotRejected, first_change
from autograder.judge.student import Call, Student, StudentError
from autograder.sandbox.seeding import seed_everything
from autograder.sandbox.session import printable
from autograder.sandbox.wire import decode

NOT_WRITTEN = "not implemented yet"
TOLERANCE = 1e-6
MOST_HINTS = 3
MESSAGE_CHARACTERS = 10_000
Rehearsal = Callable[[Mistake], BaseException | None]


def explain(
    error: BaseException | None,
    student: Student | None,
    topic: str,
    exercise: str,
    check: str,
    rehearsal: Rehearsal | None = None,
) -> tuple[str, str | None, bool]:
    """Return the message, the mistake's name if known, and whether a person should look.

    Args:
        error: how the check failed; None when it passed.
        student: the proxy, with the calls that were made.
        topic: name of the topic.
        exercise: name of the exercise.
        check: name of the check; the mistakes that it is there to catch are thought of first.
        rehearsal: runs the check on a known mistake and returns how that fails.
    """
    if error is None:
        return "", None, False
    if isinstance(error, pytest.skip.Exception):
        return str(error), None, False
    if isinstance(error, StudentError) and error.is_a("NotImplementedError"):
        return NOT_WRITTEN, None, False
    if isinstance(error, StudentError):
        message, review = error.message if error.fatal else f"your code raised {error}", error.fatal
    elif isinstance(error, AssertionError):
        message, review = str(error), False
    else:
        message = f"what came back could not be checked: {type(error).__name__}: {error}"
        review = True
    message = printable(message, MESSAGE_CHARACTERS)
    try:
        found = _causes(error, student, topic, exercise, check, None if review else rehearsal)
    except Exception:  # values from the sandbox may break any comparison; the message stands
        found = []
    if not found:
        return message, None, review
    # Several mistakes can look the same to one check; then all of them are worth a thought.
    hints = "\nor this: ".join(mistake.hint for mistake in found[:MOST_HINTS])
    return f"{message}\nIt looks like this mistake: {hints}", found[0].name, review


def _causes(
    error: BaseException,
    student: Student | None,
    topic: str,
    exercise: str,
    check: str,
    rehearsal: Rehearsal | None,
) -> list[Mistake]:
    """Return the typical mistakes that fail just so; see `explain`."""
    mistakes = [mistake for mistake in load_mistakes(topic) if mistake.exercise == exercise]
    named = error.mistake if isinstance(error, CheckFailure) else None
    if named is not None:
        short = named.removeprefix(f"{exercise}__")
        return [mistake for mistake in mistakes if mistake.name == short]
    own = [mistake for mistake in mistakes if mistake.caught_by == check]
    # Many a mistake fails to raise a ValueError too, without that being what it is about.
    others = [m for m in mistakes if m.caught_by != check]
    if isinstance(error, NotRejected):
        others = []
    calls = student.calls if student else []
    for candidates in (own, others):
        found = _recognise(candidates, calls, topic, exercise)
        if not found and rehearsal is not None:
            found = [m for m in candidates if m.replay and _alike(rehearsal(m), error)]
        if found:
            return found
    return []


def _alike(left: BaseException | None, right: BaseException) -> bool:
    """Tell whether two failures say the same."""
    return type(left) is type(right) and str(left) == str(right)


def _recognise(
    mistakes: list[Mistake], calls: list[Call], topic: str, exercise: str
) -> list[Mistake]:
    """Return the mistakes that answer every recorded call as the student's code did."""
    calls = [call for call in calls if call.name == exercise]
    if not calls or not all(call.request for call in calls):
        return []
    right = [_replay(getattr(load_reference(topic), exercise), call) for call in calls]
    given = [call.error if call.error is not None else call.result for call in calls]
    if _same(given, right):
        return []
    return [
        mistake
        for mistake in mistakes
        if mistake.replay and _answers_alike(as_function(mistake, topic), given, calls)
    ]


def _answers_alike(function: Any, given: list[Any], calls: list[Call]) -> bool:
    pairs = zip(given, calls, strict=True)
    return all(_same(answer, _replay(function, call)) for answer, call in pairs)


def _replay(function: Any, call: Call) -> Any:
    request = decode(call.request)
    seed_everything(call.seed)
    try:
        return function(*request["args"], **request["kwargs"])
    except Exception as error:  # an exception is an answer like any other
        return error


def _same(left: Any, right: Any) -> bool:
    """Compare two answers, numbers with a small tolerance, exceptions by their type."""
    if isinstance(left, StudentError):
        return isinstance(right, BaseException) and type(right).__name__ == left.type_name
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        if left.shape != right.shape or left.dtype != right.dtype:
            return False
        return torch.allclose(
            left.detach().double(), right.detach().double(), TOLERANCE, TOLERANCE, equal_nan=True
        )
    if isinstance(left, nn.Module) and isinstance(right, nn.Module):
        return not first_change(left, right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        pairs = zip(left, right, strict=False)
        return len(left) == len(right) and all(_same(a, b) for a, b in pairs)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, int | float) and isinstance(right, int | float):
        close = math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return close or (left != left and right != right)
    return type(left) is type(right) and left == right
