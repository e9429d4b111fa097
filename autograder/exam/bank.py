"""Builds the question bank that students get: `course_utils/exam/bank.json`.

Each generated question holds 200 variants, drawn from seeds that are made of its name, so the
same questions always give the same bytes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError

from autograder.exam.generators import Values, generators
from autograder.exam.schema import PLACE, Lecture, Question, QuestionFile
from autograder.settings import PACKAGE, REPOSITORY
from course_utils.exam.items import fill

FOLDER = PACKAGE / "exam" / "questions"
LECTURE = PACKAGE / "exam" / "lecture.toml"
BANK = REPOSITORY / "course_utils" / "exam" / "bank.json"
VARIANTS = 200
ATTEMPTS = 400
# So long a new variant must differ from all before it; small recipes may run out of new ones.
WANT_NEW = 10
# A tolerance is at most this share of the key, or else of the size of the last place.
WIDEST = 0.06
DIGITS = 10


class BankError(ValueError):
    """Questions that cannot be built; the text says which and why."""


@lru_cache(maxsize=1)
def load_lecture() -> Lecture:
    """Return the lecture's topics and slides."""
    return Lecture.model_validate(tomllib.loads(LECTURE.read_text(encoding="utf-8")))


def load_questions(folder: Path = FOLDER) -> dict[str, list[Question]]:
    """Return all questions by topic, in the lecture's order.

    Raises:
        BankError: a file is wrong, or a name is used twice.
    """
    lecture = load_lecture()
    found: dict[str, list[Question]] = {}
    names: set[str] = set()
    for topic in lecture.topic:
        path = folder / f"{topic.name}.toml"
        if not path.exists():
            continue
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            found[topic.name] = QuestionFile.model_validate(table).question
        except (ValidationError, tomllib.TOMLDecodeError) as error:
            raise BankError(f"{path.name}: {error}") from error
        for question in found[topic.name]:
            if question.id in names:
                raise BankError(f"{path.name}: the name {question.id} is used twice")
            if question.slide not in topic.slides:
                raise BankError(f"{question.id}: {topic.name} has no slide {question.slide!r}")
            if question.generator and question.generator not in generators():
                raise BankError(f"{question.id}: there is no generator {question.generator!r}")
            names.add(question.id)
    return found


def draw_variants(question: Question, count: int = VARIANTS) -> list[Values]:
    """Return `count` sets of values for a generated question, or one empty set for another.

    Raises:
        BankError: the generator gives no usable numbers, or lacks a value that a text names.
    """
    if not question.generator:
        if problem := clash(question, {}):
            raise BankError(f"{question.id}: {problem}")
        return [{}]
    make, wanted = generators()[question.generator], names_in(question)
    drawn: list[Values] = []
    seen: set[str] = set()
    for number in range(count):
        problem = "the generator refuses"
        for attempt in range(ATTEMPTS):
            values = make(Random(f"{question.id}/{number}/{attempt}"))
            if values is None:
                continue
            if missing := wanted - set(values):
                raise BankError(f"{question.id}: no value for {', '.join(sorted(missing))}")
            values = {name: _rounded(values[name]) for name in sorted(wanted)}
            text = json.dumps(values, sort_keys=True)
            problem = clash(question, values)
            if not problem and (text not in seen or attempt >= WANT_NEW):
                break
        else:
            raise BankError(f"{question.id}, variant {number}: {problem}")
        seen.add(text)
        drawn.append(values)
    return drawn


def names_in(question: Question) -> set[str]:
    """Return the names of all values that the question's texts, key and picture need."""
    return set(PLACE.findall(question.model_dump_json()))


def clash(question: Question, values: Values) -> str:
    """Say which two answers could not be told apart; empty when all can."""
    for language in ("en", "zh"):
        for texts in _choices(question):
            shown = [fill(getattr(text, language), values, language) for text in texts]
            if len(set(shown)) < len(shown):
                return f"two choices are equal: {shown}"
    if not question.is_number:
        return ""
    key = fill_value(question.answer, values)
    if isinstance(key, list):
        wrong = [fill_value(wrong.value, values) for wrong in question.wrong]
        return f"a wrong answer equals the key {key}" if key in wrong else ""
    if question.decimals and question.slack > max(WIDEST * abs(key), last_place(question)):
        return f"the key {key} is too small for a tolerance of {question.slack}"
    for wrong in question.wrong:
        value = fill_value(wrong.value, values)
        # Twice the slack, so that a wrong number that was rounded is refused as well.
        if abs(value - key) <= 2 * question.slack + 1e-9:
            return f"the wrong value {value} is too near the key {key}"
    return ""


def last_place(question: Question) -> float:
    """Return one and a half units of the last decimal that is asked for."""
    return 1.5 * 10**-question.decimals


def _choices(question: Question) -> Iterator[list[Any]]:
    yield question.options
    yield question.items
    yield [pair.left for pair in question.pairs]
    yield [*(pair.right for pair in question.pairs), *question.extras]


def fill_value(value: Any, values: Values) -> Any:
    """Return a number or list, or the value that <<name>> stands for."""
    place = PLACE.fullmatch(value) if isinstance(value, str) else None
    return values[place.group(1)] if place else value


def _rounded(value: Any) -> Any:
    """Round floats so far that another processor writes the same bytes."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list | tuple):
        return [_rounded(element) for element in value]
    if isinstance(value, dict):
        return {name: _rounded(element) for name, element in value.items()}
    return value


def bank_text() -> str:
    """Return the text of the bank: one line for each question."""
    lecture = load_lecture()
    questions = [
        json.dumps(_record(topic, question), ensure_ascii=False, separators=(",", ":"))
        for topic, found in load_questions().items()
        for question in found
    ]
    topics = [topic.model_dump(mode="json") for topic in lecture.topic]
    head = json.dumps(topics, ensure_ascii=False, separators=(",", ":"))
    return f'{{"topics":{head},\n"questions":[\n' + ",\n".join(questions) + "\n]}\n"


def _record(topic: str, question: Question) -> dict[str, Any]:
    variants = draw_variants(question)
    fields = sorted(variants[0])
    record = question.model_dump(mode="json", exclude_defaults=True, exclude={"generator"})
    if question.is_number:
        record["tolerance"] = question.slack
    if question.code is not None:
        del record["code"]["probe"]
    rows = [[values[field] for field in fields] for values in variants] if fields else []
    return {"topic": topic, **record, "fields": fields, "variants": rows}


def build_bank() -> Path:
    """Write the bank, unless it is right already, and return its path."""
    text = bank_text()
    if not BANK.exists() or BANK.read_text(encoding="utf-8") != text:
        BANK.write_text(text, encoding="utf-8", newline="\n")
    return BANK


def bank_is_stale() -> list[str]:
    """Return the names of questions that a build would change; empty when the bank is fresh."""
    old = BANK.read_text(encoding="utf-8").splitlines() if BANK.exists() else []
    new = bank_text().splitlines()
    if old == new:
        return []
    changed = sorted(set(old) ^ set(new)) or ["the order of the questions"]
    return [f"{BANK.name}: {line[:80]}" for line in changed]
