"""An exam paper: questions chosen by a seed, and answers in the letters that stand on it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from course_utils.exam.items import LANGUAGES, Bank, Item, load_bank
from course_utils.exam.render import LETTERS
from course_utils.exam.session import choose_questions


@dataclass(frozen=True)
class Paper:
    """Questions with their numbers, in order.

    Attributes:
        items: the questions.
        seed: chose them; also sets the order of options.
        language: "en" or "zh".
        minutes: length of the exam; 0 for the whole bank.
    """

    items: tuple[Item, ...]
    seed: str
    language: str
    minutes: int

    @property
    def points(self) -> int:
        """The most that can be earned; a question is worth its minutes."""
        return sum(item.question.minutes for item in self.items)

    def order(self, item: Item) -> list[int]:
        """Return the order in which an item's choices stand on this paper."""
        return item.order(self.seed)


def make_paper(
    seed: str, language: str = "en", minutes: int = 120, bank: Bank | None = None
) -> Paper:
    """Choose a paper; the same seed and length give the same questions in both languages.

    Args:
        seed: any text.
        language: "en" or "zh".
        minutes: length of the exam; 0 takes every question of the bank.
        bank: where questions come from; the course's when left out.

    Raises:
        ValueError: there is no such language, or the exam is too short.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    bank = bank or load_bank()
    if minutes:
        chosen = choose_questions(bank, minutes, seed)
    else:
        rng = Random(f"bank/{seed}")
        chosen = [(one.id, rng.randrange(one.variants)) for one in bank.questions.values()]
    return Paper(tuple(bank.item(*one) for one in chosen), seed, language, minutes)


def read_answer(item: Item, text: str, order: list[int]) -> Any:
    """Turn what stands in a table into an answer that can be marked; None when it is empty.

    Choices are letters as on the paper: B, or AC for several. An order or a matching is one
    letter for each place, such as CABD; a dash leaves a place empty. A bug is a line's number.
    """
    text = text.strip()
    if not text or item.question.is_number:
        return text or None
    if item.code:
        return int(text) - 1 if text.isdigit() else None
    letters = [letter for letter in text.upper() if letter not in " ,;/"]
    places = [_place(letter, order) for letter in letters]
    if item.question.kind in ("ordering", "matching"):
        return places
    known = [place for place in places if place is not None]
    if item.question.kind == "several":
        return sorted(known)
    return known[0] if len(places) == 1 and known else None


def write_answer(item: Item, order: list[int]) -> str:
    """Return the right answer as it would stand in a table: the inverse of `read_answer`."""
    key = item.key
    if item.question.is_number:
        return ", ".join(f"{number:.10g}" for number in (key if isinstance(key, list) else [key]))
    if item.code:
        return str(key + 1)
    chosen = key if isinstance(key, list) else [key]
    letters = [LETTERS[order.index(number)] for number in chosen]
    return "".join(sorted(letters) if item.question.kind == "several" else letters)


def _place(letter: str, order: list[int]) -> int | None:
    place = LETTERS.find(letter)
    return order[place] if 0 <= place < len(order) else None
