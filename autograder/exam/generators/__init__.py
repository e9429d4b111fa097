"""Fresh numbers for questions: one module per topic, one small function per recipe.

A generator takes a `random.Random` and returns values by name: texts, numbers, lists of numbers,
or {"en": …, "zh": …}. Keys come from the reference solutions. It returns None for numbers that
make no good question; then it is asked again.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from types import ModuleType
from typing import Any

from autograder.authoring.reference import load_reference

Values = dict[str, Any]
Generator = Callable[[Random], Values | None]

_KNOWN: dict[str, Generator] = {}


def generator(function: Generator) -> Generator:
    """Make a function known under its own name."""
    if function.__name__ in _KNOWN:
        raise ValueError(f"there are two generators called {function.__name__}")
    _KNOWN[function.__name__] = function
    return function


@lru_cache(maxsize=1)
def generators() -> dict[str, Generator]:
    """Return all generators by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(_KNOWN)


@lru_cache
def solutions(topic: str) -> ModuleType:
    """Return the reference solutions of a topic; asked for so often that it looks only once."""
    return load_reference(topic)


def show(number: float, places: int = 4) -> str:
    """Write a number with at most `places` decimals and no zeros at the end."""
    text = f"{number:.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def fixed(number: float, places: int) -> str:
    """Write a number with exactly `places` decimals."""
    text = f"{number:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def grouped(number: int) -> str:
    """Write a whole number with commas between the thousands."""
    return f"{number:,}"


def listed(numbers: Sequence[float], places: int = 4) -> str:
    """Write numbers with commas between them."""
    return ", ".join(show(number, places) for number in numbers)


def summed(numbers: Sequence[float], places: int = 4) -> str:
    """Write numbers with plus signs between them; negative ones in parentheses."""
    shown = [show(number, places) for number in numbers]
    return " + ".join(f"({text})" if text.startswith("-") else text for text in shown)


def matrix(rows: Sequence[Sequence[float]]) -> str:
    """Write a matrix in LaTeX, without the formula's own delimiters."""
    body = r" \\ ".join(" & ".join(show(value) for value in row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"
