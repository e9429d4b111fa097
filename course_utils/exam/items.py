"""The question bank, and one question with its numbers filled in: an item.

Answers are plain data that no language changes: the number of an option, a list of them, the
text that was typed for a number, or a list of positions for an order or a matching.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

PLACE = re.compile(r"<<(\w+)>>")
LANGUAGES = ("en", "zh")
BANK_FILE = Path(__file__).with_name("bank.json")

Text = Mapping[str, str]


def fill(template: str, values: Mapping[str, Any], language: str) -> str:
    """Put values into a template's <<places>>.

    Args:
        template: the text.
        values: by name: text, number, list of numbers, or a text for each language.
        language: "en" or "zh".

    Raises:
        KeyError: a value is missing.
    """

    def written(match: re.Match[str]) -> str:
        value = values[match.group(1)]
        if isinstance(value, dict):
            value = value[language]
        if isinstance(value, list):
            return ", ".join(_number(element) for element in value)
        return value if isinstance(value, str) else _number(value)

    return PLACE.sub(written, template)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


@dataclass(frozen=True)
class Question:
    """A question of the bank; see `Item` for one with numbers in it."""

    id: str
    topic: str
    slide: str
    kind: str
    difficulty: int
    minutes: int
    record: Mapping[str, Any] = field(repr=False, hash=False, compare=False)

    @property
    def variants(self) -> int:
        """How many sets of numbers there are; 1 for a question without fresh numbers."""
        return max(len(self.record["variants"]), 1)

    @property
    def is_number(self) -> bool:
        """Tell whether the answer is one number or several."""
        return "answer" in self.record


@dataclass(frozen=True)
class Bank:
    """All questions, and the lecture's topics with their share of the exam."""

    questions: Mapping[str, Question]
    topics: Mapping[str, Mapping[str, Any]]

    def of_topic(self, topic: str) -> list[Question]:
        """Return the questions of a topic; all for the empty name."""
        return [one for one in self.questions.values() if topic in ("", one.topic)]

    def item(self, question: str, variant: int = 0) -> Item:
        """Return a question with one of its sets of numbers.

        Raises:
            KeyError: there is no such question; banks of another version may have had it.
        """
        return Item(self.questions[question], variant % self.questions[question].variants)


@dataclass(frozen=True)
class Item:
    """One question with numbers: everything that is shown or marked."""

    question: Question
    variant: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """The numbers, by name."""
        record = self.question.record
        rows = record["variants"]
        return dict(zip(record["fields"], rows[self.variant], strict=True)) if rows else {}

    def text(self, text: Text, language: str) -> str:
        """Return a text of this question with the numbers in it."""
        return fill(text[language], self.values, language)

    def prompt(self, language: str) -> str:
        """Return what is asked."""
        return self.text(self.question.record["prompt"], language)

    def solution(self, language: str) -> str:
        """Return the worked solution."""
        return self.text(self.question.record["solution"], language)

    def unit(self, language: str) -> str:
        """Return the unit of a number; empty without one."""
        unit = self.question.record.get("unit")
        return self.text(unit, language) if unit else ""

    @property
    def code(self) -> list[str]:
        """The lines of code that hold a bug; empty for other kinds."""
        return list(self.question.record.get("code", {}).get("lines", []))

    @property
    def plot(self) -> dict[str, Any] | None:
        """Name and data of the picture; None without one."""
        plot = self.question.record.get("plot")
        if plot is None:
            return None
        values = self.values
        data = {name: _filled(value, values) for name, value in plot["data"].items()}
        return {"drawing": plot["drawing"], "data": data, "alt": plot["alt"]}

    def options(self, language: str) -> list[str]:
        """Return the choices, in the bank's order; the lines' numbers when a bug is sought."""
        if self.code:
            return [f"{number}" for number in range(1, len(self.code) + 1)]
        return [self.text(option, language) for option in self.question.record.get("options", [])]

    def items(self, language: str) -> list[str]:
        """Return the steps, in their right order."""
        return [self.text(text, language) for text in self.question.record.get("items", [])]

    def lefts(self, language: str) -> list[str]:
        """Return what has to be matched."""
        return [self.text(p["left"], language) for p in self.question.record.get("pairs", [])]

    def rights(self, language: str) -> list[str]:
        """Return what it can be matched with: each partner in order, then what fits nothing."""
        record = self.question.record
        texts = [*(pair["right"] for pair in record.get("pairs", [])), *record.get("extras", [])]
        return [self.text(text, language) for text in texts]

    @property
    def key(self) -> Any:
        """The right answer, in the form that answers have; a number or numbers for a number."""
        record = self.question.record
        if self.code:
            return record["code"]["wrong_line"] - 1
        if self.question.is_number:
            return _filled(record["answer"], self.values)
        right = [n for n, option in enumerate(record.get("options", [])) if option.get("right")]
        if self.question.kind == "several":
            return right
        if right:
            return right[0]
        return list(range(len(record.get("items", [])) or len(record["pairs"])))

    @property
    def tolerance(self) -> float:
        """How far a number may be off."""
        return float(self.question.record.get("tolerance", 0.0))

    @property
    def decimals(self) -> int:
        """With how many decimals a number is asked for."""
        return int(self.question.record.get("decimals", 0))

    def wrong_numbers(self, language: str) -> list[tuple[Any, str]]:
        """Return typical wrong numbers, each with what was done wrong."""
        values = self.values
        return [
            (_filled(wrong["value"], values), self.text(wrong["why"], language))
            for wrong in self.question.record.get("wrong", [])
        ]

    def why(self, option: int, language: str) -> str:
        """Say why a choice is wrong, or right; empty where there is nothing to say."""
        if self.code:
            wrong = self.key
            if option == wrong:
                return ""
            return self.text(
                self.question.record["code"]["whys"][option - (option > wrong)], language
            )
        why = self.question.record["options"][option].get("why")
        return self.text(why, language) if why else ""

    def order(self, seed: str = "") -> list[int]:
        """Return the order in which options, steps or partners are shown; the same for a seed."""
        count = len(self.options("en")) or len(self.items("en")) or len(self.rights("en"))
        numbers = list(range(count))
        if not self.code:
            Random(f"{seed}/{self.question.id}/{self.variant}").shuffle(numbers)
        if self.question.kind == "ordering" and numbers == sorted(numbers):
            numbers.reverse()
        return numbers


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    place = PLACE.fullmatch(value) if isinstance(value, str) else None
    return values[place.group(1)] if place else value


def bank_from(data: Mapping[str, Any]) -> Bank:
    """Make a bank from what its JSON file holds."""
    names: Sequence[str] = ("id", "topic", "slide", "kind", "difficulty", "minutes")
    questions = {
        record["id"]: Question(**{name: record[name] for name in names}, record=record)
        for record in data["questions"]
    }
    return Bank(questions, {topic["name"]: topic for topic in data["topics"]})


@lru_cache(maxsize=1)
def load_bank() -> Bank:
    """Read the course's question bank."""
    return bank_from(json.loads(BANK_FILE.read_text(encoding="utf-8")))
