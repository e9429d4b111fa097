"""Marks one answer: a share of the points from 0 to 1, and what to say about it."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from course_utils.exam.items import Item

THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
# Beyond the tolerance, so that a number typed exactly at its edge counts.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Mark:
    """What an answer earned.

    Attributes:
        score: share of the points, from 0 to 1.
        answered: whether there was an answer at all.
        unreadable: a number was asked for and none could be read.
        whys: what to say about what was chosen wrongly, in the language asked for.
    """

    score: float
    answered: bool = True
    unreadable: bool = False
    whys: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Tell whether everything was right."""
        return self.score > 1 - ROUNDING


def mark(item: Item, answer: Any, language: str = "en") -> Mark:
    """Mark an answer; one that is missing or has another form earns 0.

    Args:
        item: the question with its numbers.
        answer: an option's number, a list of them, typed text, or a list of positions.
        language: language of the remarks.
    """
    if answer is None or answer == "" or answer == []:
        return Mark(0.0, answered=False)
    if item.question.is_number:
        return _mark_number(item, str(answer), language)
    kind = item.question.kind
    if kind == "several":
        return _mark_several(item, answer, language)
    if kind in ("ordering", "matching"):
        return _mark_positions(item, answer)
    if answer == item.key and not isinstance(answer, bool):
        return Mark(1.0)
    known = isinstance(answer, int) and 0 <= answer < len(item.options(language))
    return Mark(0.0, whys=_some(item.why(answer, language)) if known else ())


def _mark_several(item: Item, answer: Any, language: str) -> Mark:
    """Give a share for each right choice, and take the same for each wrong one."""
    if not isinstance(answer, list) or not all(isinstance(one, int) for one in answer):
        return Mark(0.0, unreadable=True)
    chosen, right = set(answer), set(item.key)
    wrong = sorted(chosen - right)
    count = len(item.options(language))
    whys = [item.why(one, language) for one in wrong if 0 <= one < count]
    score = (len(chosen & right) - len(wrong)) / len(right)
    return Mark(max(score, 0.0), whys=tuple(filter(None, whys)))


def _mark_positions(item: Item, answer: Any) -> Mark:
    """Mark an order by its neighbours, and a matching by its pairs.

    In an order every pair of neighbours that belong together counts, so one step in a wrong
    place does not spoil all that follow.
    """
    key = item.key
    if not isinstance(answer, list) or len(answer) != len(key):
        return Mark(0.0, unreadable=True)
    if not all(one is None or isinstance(one, int) for one in answer):
        return Mark(0.0, unreadable=True)
    if all(one is None for one in answer):
        return Mark(0.0, answered=False)
    if item.question.kind == "matching":
        return Mark(sum(a == b for a, b in zip(answer, key, strict=True)) / len(key))
    follow = set(pairwise(answer))
    wanted = list(pairwise(key))
    given = [one for one in answer if one is not None]
    doubled = len(set(given)) < len(given)
    return Mark(0.0 if doubled else sum(pair in follow for pair in wanted) / len(wanted))


def _mark_number(item: Item, text: str, language: str) -> Mark:
    key = item.key
    if isinstance(key, list):
        return _mark_numbers(item, text, language)
    number = read_number(text)
    if number is None:
        return Mark(0.0, unreadable=True)
    if abs(number - key) <= item.tolerance + ROUNDING * max(1.0, abs(key)):
        return Mark(1.0)
    near = [
        why
        for value, why in item.wrong_numbers(language)
        if abs(number - value) <= item.tolerance + ROUNDING * max(1.0, abs(value))
    ]
    return Mark(0.0, whys=tuple(near))


def _mark_numbers(item: Item, text: str, language: str) -> Mark:
    """Mark several numbers in a row by how many stand in their right place."""
    numbers = read_numbers(text)
    if numbers is None:
        return Mark(0.0, unreadable=True)
    key = item.key
    for value, why in item.wrong_numbers(language):
        if len(value) == len(numbers) and _all_near(numbers, value, item.tolerance):
            return Mark(0.0, whys=(why,))
    if len(numbers) != len(key):
        return Mark(0.0)
    pairs = zip(numbers, key, strict=True)
    return Mark(sum(abs(a - b) <= item.tolerance + ROUNDING for a, b in pairs) / len(key))


def _all_near(numbers: list[float], others: list[float], tolerance: float) -> bool:
    pairs = zip(numbers, others, strict=True)
    return all(abs(a - b) <= tolerance + ROUNDING for a, b in pairs)


def read_number(text: str) -> float | None:
    """Read one number as people write it: 1,604,004, 1/3, 2e-3, full-width digits; else None."""
    text = _plain(text).replace(" ", "")
    if THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    top, slash, bottom = text.partition("/")
    if slash:
        parts = read_number(top), read_number(bottom)
        return None if None in parts or not parts[1] else parts[0] / parts[1]
    if not NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def read_numbers(text: str) -> list[float] | None:
    """Read several numbers with commas, semicolons or blanks between them; None if one is none."""
    parts = [part for part in re.split(r"[,;\s]+", _plain(text).strip("[](){} ")) if part]
    numbers = [read_number(part) for part in parts]
    return None if not numbers or None in numbers else [float(n) for n in numbers if n is not None]


def _plain(text: str) -> str:
    """Turn full-width characters, the minus sign and Chinese commas into plain ones."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("、", ",")
    return text.strip()


def _some(text: str) -> tuple[str, ...]:
    return (text,) if text else ()
