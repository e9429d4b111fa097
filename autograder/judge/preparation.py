"""What can be done before a submission is there: once for all that a warm process will judge.

Only the project's own code runs here. A fork that judges finds it done, and changes its own copy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

# What a judgement imports on its way.
NEEDED = ("judge.judge", "judge.course", "judge.explain", "judge.rehearsal", "sandbox.worker")
_prepared: list[Callable[[], Any]] = []


def prepared(function: Callable[[], Any]) -> Callable[[], Any]:
    """Mark what checks need again and again and what no submission has a part in.

    The result is made once, ahead of the first submission where there is a warm process. So it
    must not depend on random numbers that others drew, and nobody may change it: hand out copies.
    """
    once = lru_cache(maxsize=1)(function)
    _prepared.append(once)
    return once


def prepare() -> None:
    """Import what judging needs."""
    import torch

    from autograder.sandbox.ahead import load_ahead

    torch.set_num_threads(1)
    for name in NEEDED:
        importlib.import_module(f"autograder.{name}")
    load_ahead()


def prepare_topic(topic: str) -> None:
    """Read the topic's source, answers and checks, and make what its checks share.

    Raises:
        ValueError: there is no such topic, or its source is wrong.
        RuntimeError: a reference solution raises, or pytest cannot read the checks.
    """
    from autograder.authoring.answers import load_mistakes
    from autograder.authoring.reference import load_reference
    from autograder.judge.identity import checks_hash
    from autograder.judge.judge import collect_checks

    load_reference(topic)
    load_mistakes(topic)
    checks_hash(topic)
    collect_checks(topic)
    for function in _prepared:
        function()
