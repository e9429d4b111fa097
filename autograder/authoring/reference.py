"""The reference solutions of a topic, run in this process."""

from __future__ import annotations

import linecache
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from autograder.authoring.source import TopicSource, load_source

MODULE = "reference_of_{}"


def load_reference(topic: str) -> ModuleType:
    """Return a namespace whose attributes are the reference solutions.

    It runs the topic's define and exercise cells, so it also holds what the define cells import.
    The result is kept until notebook.py changes. Do not change it: copy `vars(...)` instead.

    Raises:
        ValueError: there is no such topic, or its source is wrong.
        RuntimeError: a cell raises.
    """
    return _run(load_source(topic))


@lru_cache(maxsize=16)
def _run(source: TopicSource) -> ModuleType:
    module = ModuleType(MODULE.format(source.topic), f"Reference solutions of {source.topic}.")
    # Dataclasses look their module up here.
    sys.modules[module.__name__] = module
    for cell in source.cells:
        if cell.kind in ("define", "exercise"):
            try:
                run_text(cell.solution, f"<{source.topic}: {cell.name}>", vars(module))
            except Exception as error:
                place = f"{source.topic}/notebook.py, line {cell.line}, cell {cell.name!r}"
                raise RuntimeError(f"{place}: {type(error).__name__}: {error}") from error
    return module


def run_text(text: str, filename: str, namespace: dict[str, Any]) -> None:
    """Run source text in `namespace`, in such a way that tracebacks can show its lines."""
    lines = text.splitlines(keepends=True)
    linecache.cache[filename] = (len(text), None, lines, filename)
    exec(compile(text, filename, "exec", dont_inherit=True), namespace)
