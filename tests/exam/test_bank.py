"""The question bank: what is asked, that keys are accepted and distractors refused."""

from __future__ import annotations

import json
import re
from collections import Counter

import nbformat
import pytest
import torch
import torch.nn.functional as F

from autograder.exam.bank import (
    BANK,
    BankError,
    bank_is_stale,
    draw_variants,
    load_lecture,
    load_questions,
)
from autograder.exam.build import NOTEBOOK, exam_notebook
from autograder.exam.schema import KINDS, Question
from course_utils.exam.items import LANGUAGES, Bank, Item
from course_utils.exam.marking import mark

MEBIBYTES = 3 * 2**20
QUESTIONS = {q.id: q for found in load_questions().values() for q in found}
GENERATED = [name for name, question in QUESTIONS.items() if question.generator]
PLAIN = [name for name, question in QUESTIONS.items() if not question.generator]
NUMBERS = [name for name in GENERATED if QUESTIONS[name].is_number]
# Read from an axis, or rounded to whole neurons and steps on the way.
READ_OR_ROUNDED = {"qat_gain_plot", "trimming_rounds", "qat_small_steps"}
BUGS = [name for name, question in QUESTIONS.items() if question.kind == "bug"]


def items_of(bank: Bank, name: str) -> list[Item]:
    return [bank.item(name, number) for number in range(bank.questions[name].variants)]


def key_as_answer(item: Item) -> object:
    if not item.question.is_number:
        return item.key
    keys = item.key if isinstance(item.key, list) else [item.key]
    return ", ".join(f"{key:.{max(item.decimals, 0)}f}" for key in keys)


def test_the_bank_is_fresh_and_small() -> None:
    assert bank_is_stale() == [], "run `autograder build`"
    assert BANK.stat().st_size < MEBIBYTES


def test_every_slide_has_questions() -> None:
    asked = Counter(question.slide for question in QUESTIONS.values())
    assert [slide for slide in load_lecture().slides if not asked[slide]] == []


def test_there_are_enough_of_every_kind_topic_and_difficulty() -> None:
    assert len(QUESTIONS) >= 150
    assert len([name for name in GENERATED if QUESTIONS[name].is_number]) >= 50
    assert set(Counter(q.kind for q in QUESTIONS.values())) == set(KINDS)
    assert set(load_questions()) == {topic.name for topic in load_lecture().topic}
    assert {q.difficulty for q in QUESTIONS.values()} == {1, 2, 3}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_renders_in_both_languages(bank: Bank, name: str) -> None:
    for item in items_of(bank, name):
        for language in LANGUAGES:
            texts = [item.prompt(language), item.solution(language), item.unit(language)]
            texts += item.options(language) + item.items(language)
            texts += item.lefts(language) + item.rights(language)
            texts += [why for _, why in item.wrong_numbers(language)]
            assert not any("<<" in text or ">>" in text for text in texts)
            assert item.prompt(language)
            assert item.solution(language)
    assert re.search("[\u4e00-\u9fff]", bank.item(name).prompt("zh"))


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_key_is_accepted_and_every_distractor_is_not(bank: Bank, name: str) -> None:
    for item in items_of(bank, name):
        where = f"{name}, variant {item.variant}"
        assert mark(item, key_as_answer(item)).right, where
        for wrong in distractors(item):
            assert not mark(item, wrong).right, f"{where}: {wrong} is accepted"
        for language in LANGUAGES:
            for texts in (item.options(language), item.items(language), item.rights(language)):
                assert len(set(texts)) == len(texts), where


def distractors(item: Item) -> list[object]:
    """Return wrong answers of the item's kind."""
    if item.question.is_number:
        # The remarks are the same in both languages; numbers are written as people write them.
        return [_written(value) for value, _ in item.wrong_numbers("en")] + ["x", "1e99"]
    options = range(len(item.options("en")))
    if item.question.kind == "several":
        singles = [[one] for one in options]
        return [*singles, *([*item.key, one] for one in options if one not in item.key)]
    if item.question.kind in ("ordering", "matching"):
        key = item.key
        swapped = [key[1], key[0], *key[2:]]
        return [swapped, key[::-1], [key[0]] * len(key)]
    return [one for one in options if one != item.key]


def _written(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(f"{one:.6g}" for one in values)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_wrong_number_gets_its_reason(bank: Bank, name: str) -> None:
    for item in items_of(bank, name)[:20]:
        for value, why in item.wrong_numbers("zh"):
            typed = ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
            assert why in mark(item, typed, "zh").whys


@pytest.mark.parametrize("name", GENERATED)
def test_numbers_are_fresh(bank: Bank, name: str) -> None:
    assert bank.questions[name].variants == 200
    rows = bank.questions[name].record["variants"]
    assert len({json.dumps(row) for row in rows}) >= 20


@pytest.mark.parametrize("name", NUMBERS)
def test_tolerance_forgives_rounding_and_little_more(bank: Bank, name: str) -> None:
    for item in items_of(bank, name):
        slack = item.tolerance
        for key in item.key if isinstance(item.key, list) else [item.key]:
            # Rounded as asked for is right; more than the last place off is not.
            assert abs(round(key, item.decimals) - key) <= slack + 1e-9
            last_place = 1.5 * 10**-item.decimals
            assert slack <= max(0.06 * abs(key), last_place) or name in READ_OR_ROUNDED
        if not isinstance(item.key, list):
            beyond = 1.1 * slack + max(1e-3, 1e-6 * abs(item.key))
            assert not mark(item, f"{item.key + beyond:.12g}").right
            assert not mark(item, f"{item.key - beyond:.12g}").right
            if item.key and slack < abs(item.key):
                assert not mark(item, f"{-item.key:.12g}").right


@pytest.mark.parametrize("name", BUGS)
def test_the_bug_is_one_and_the_fix_mends_it(name: str) -> None:
    code = QUESTIONS[name].code
    assert code is not None
    mended = list(code.lines)
    mended[code.wrong_line - 1] = code.fix
    assert works(mended, code.probe)
    assert not works(code.lines, code.probe)
    assert all(len(line) <= 76 for line in code.lines)


def works(lines: list[str], probe: str) -> bool:
    """Tell whether the probe is true after the lines ran."""
    names = {"torch": torch, "F": F, "nn": torch.nn}
    exec("\n".join(lines), names)
    try:
        return bool(eval(probe, names))
    except Exception:
        return False


def test_a_wrong_question_is_refused() -> None:
    table = QUESTIONS[PLAIN[0]].model_dump()
    with pytest.raises(ValueError, match="right options"):
        Question.model_validate(
            {**table, "options": [{**option, "right": True} for option in table["options"]]}
        )
    with pytest.raises(ValueError, match="needs"):
        Question.model_validate({**table, "kind": "numeric"})
    twice = Question.model_validate(
        {**table, "options": [table["options"][0], *[{**table["options"][1]}] * 2]}
    )
    with pytest.raises(BankError, match="equal"):
        draw_variants(twice)


def test_the_notebook_is_fresh_and_has_no_assignment() -> None:
    text = nbformat.writes(exam_notebook()) + "\n"
    assert NOTEBOOK.read_text(encoding="utf-8") == text, "run `autograder build`"
    assert "nbgrader" not in text
    assert len(exam_notebook().cells) <= 5
    assert exam_notebook() == exam_notebook()


def test_two_builds_give_the_same_bytes() -> None:
    name = "temperature_three"
    assert draw_variants(QUESTIONS[name], 20) == draw_variants(QUESTIONS[name], 20)
