"""Marks for one answer: numbers as people type them, part marks, and answers that are none."""

from __future__ import annotations

import pytest

from course_utils.exam.items import Bank, Item
from course_utils.exam.marking import mark, read_number, read_numbers


def of_kind(bank: Bank, kind: str) -> Item:
    name = next(q.id for q in bank.questions.values() if q.kind == kind and not q.is_number)
    return bank.item(name)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1604004", 1604004),
        ("1,604,004", 1604004),
        (" 3.50 ", 3.5),
        ("-0.25", -0.25),
        ("−2", -2),
        (".5", 0.5),
        ("1/3", 1 / 3),
        ("2e-3", 0.002),
        ("１２．５", 12.5),
        ("1,5", None),
        ("12 apples", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("1/0", None),
        ("--1", None),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, number: float | None) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0, 1, 1, 4", [0, 1, 1, 4]),
        ("[0 1 1 4]", [0, 1, 1, 4]),
        ("0、1；2", [0, 1, 2]),
        ("(1,2,3)", [1, 2, 3]),
        ("1, x", None),
        ("", None),
    ],
)
def test_several_numbers_are_read(text: str, numbers: list[float] | None) -> None:
    assert read_numbers(text) == numbers


def test_a_right_choice_counts_and_a_wrong_one_takes_as_much(bank: Bank) -> None:
    item = of_kind(bank, "several")
    right = item.key
    wrong = [n for n in range(len(item.options("en"))) if n not in right]
    assert mark(item, right).score == 1
    assert mark(item, right[:1]).score == pytest.approx(1 / len(right))
    assert mark(item, [*right, wrong[0]]).score == pytest.approx(1 - 1 / len(right))
    assert mark(item, wrong).score == 0
    # Ticking everything must not pay.
    assert mark(item, [*right, *wrong]).score < 1
    assert mark(item, wrong[:1]).whys == (item.why(wrong[0], "en"),)


def test_an_order_is_marked_by_neighbours(bank: Bank) -> None:
    item = bank.item("distillation_steps")
    assert mark(item, [0, 1, 2, 3, 4]).score == 1
    assert mark(item, [4, 0, 1, 2, 3]).score == pytest.approx(3 / 4)
    assert mark(item, [4, 3, 2, 1, 0]).score == 0
    assert mark(item, [0, 1, 0, 1, 2]).score == 0
    assert mark(item, [0, 1, None, None, None]).score == pytest.approx(1 / 4)


def test_a_matching_is_marked_by_pairs(bank: Bank) -> None:
    item = bank.item("temperature_limits")
    assert mark(item, [0, 1, 2]).score == 1
    assert mark(item, [0, 2, 1]).score == pytest.approx(1 / 3)
    # The partner that fits nothing.
    assert mark(item, [3, 3, 3]).score == 0


def test_numbers_in_a_row_are_marked_place_by_place(bank: Bank) -> None:
    item = bank.item("weight_pruning_csr_pointers")
    key = item.key
    assert mark(item, ", ".join(map(str, key))).score == 1
    assert mark(item, " ".join(map(str, [key[0] + 7, *key[1:]]))).score == pytest.approx(4 / 5)
    assert mark(item, ", ".join(map(str, key[:-1]))).whys != ()


@pytest.mark.parametrize("answer", [None, "", [], [None, None, None]])
def test_no_answer_is_no_answer(bank: Bank, answer: object) -> None:
    assert not mark(bank.item("temperature_limits"), answer).answered


@pytest.mark.parametrize("answer", ["x", 17, True, [1], {"a": 1}, [[0], [1]], -1, 1.5])
def test_answers_of_another_form_earn_nothing(bank: Bank, answer: object) -> None:
    for name in ("distillation_idea", "temperature_two", "temperature_limits", "pruning_what"):
        assert mark(bank.item(name), answer).score < 1


def test_a_typical_mistake_is_named_in_both_languages(bank: Bank) -> None:
    item = bank.item("ptq_size", 3)
    value, why = item.wrong_numbers("zh")[0]
    assert mark(item, f"{value:.2f}", "zh").whys == (why,)
    assert "bytes" in mark(item, f"{value:.2f}", "en").whys[0]
