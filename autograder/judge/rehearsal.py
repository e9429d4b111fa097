"""A check run again on a known mistake, in this process: does it fail in just the same way?

All code that runs here is the project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autograder.authoring.answers import Mistake, as_function
from autograder.authoring.reference import load_reference
from autograder.judge.by_reference import forget_changes
from autograder.judge.student import Student
from autograder.sandbox.wire import decode


class LocalProcess:
    """Answers a check's calls as the sandbox would, without one."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        # Imported here: the worker brings much that only a failed check needs.
        from autograder.sandbox.worker import Calls

        self._calls = Calls(namespace, None)

    def request(self, request: bytes, handle: Callable[[int, str], Any]) -> Any:
        """Answer one call; values cross as bytes here too, so that nothing is shared.

        In the sandbox the call draws no random numbers of the judge's, so it does not here.
        """
        with torch.random.fork_rng(devices=()):
            answer = self._calls.answer(request)
        return decode(answer, handle)


def rehearse(
    check: Callable[..., None], arguments: dict[str, Any], mistake: Mistake, topic: str, seed: int
) -> BaseException | None:
    """Return how `check` fails on a mistake; None when it passes.

    Args:
        check: the check's function.
        arguments: its fixtures, `rng` as it was at the start; those that reach the student's code
            or the verdict are replaced.
        mistake: the known wrong answer.
        topic: name of the topic.
        seed: seed of the check's calls.
    """
    forget_changes()
    namespace = dict(vars(load_reference(topic)))
    namespace[mistake.exercise] = as_function(mistake, topic)
    marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "check"]
    in_place = any(mark.kwargs["in_place"] for mark in marks)
    student = Student(LocalProcess(namespace), seed, cpu_seconds=0, in_place=in_place)
    try:
        replaced = {"student": student, "elsewhere": student, "board": lambda name, value: None}
        check(**{**arguments, **{name: replaced[name] for name in replaced if name in arguments}})
    except Exception as error:
        return error
    return None
