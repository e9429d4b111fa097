"""The widgets, driven without a browser: every question, both languages, a mock exam to the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.exam.answer_input import AnswerInput
from course_utils.exam.app import ExamApp
from course_utils.exam.items import LANGUAGES, Bank, Item
from course_utils.exam.marking import mark
from course_utils.exam.pictures import DRAWINGS, picture, topic_chart
from course_utils.exam.render import feedback_html, to_html
from course_utils.exam.texts import TEXTS


@pytest.fixture
def app(tmp_path: Path) -> ExamApp:
    return ExamApp(tmp_path)


def fill_in(field: AnswerInput, answer: object) -> None:
    """Give an answer through the widgets, as a person does."""
    kind = field.item.question.kind
    if field.item.question.is_number:
        numbers = answer if isinstance(answer, list) else [answer]
        field._fields[0].value = ", ".join(f"{number:.10g}" for number in numbers)
    elif kind == "several":
        for box, number in zip(field._fields, field.order, strict=True):
            box.value = number in answer
    elif kind in ("ordering", "matching"):
        for menu, number in zip(field._fields, answer, strict=True):
            menu.value = number
    else:
        field._fields[0].value = answer


def texts_of(widget: object) -> str:
    """Return everything that a widget says."""
    own = [str(getattr(widget, name, "")) for name in ("value", "description", "titles")]
    children = getattr(widget, "children", ())
    return " ".join([*own, *map(texts_of, children)])


def test_every_kind_of_answer_goes_through_the_widgets_and_back(bank: Bank) -> None:
    for question in bank.questions.values():
        item = bank.item(question.id, 11)
        for language in LANGUAGES:
            field = AnswerInput(item, language, "s")
            assert field.value is None
            fill_in(field, item.key)
            assert mark(item, field.value).right, question.id
            # The same answer in the other language.
            other = AnswerInput(item, "zh" if language == "en" else "en", "s", field.value)
            assert other.value == field.value


def test_practice_marks_at_once_and_keeps_it(app: ExamApp) -> None:
    view = app.practice
    first: Item = view.item
    fill_in(view.input, first.key)
    view.check.click()
    assert "Right." in texts_of(view.widget)
    assert to_html(first.solution("en")) in texts_of(view.widget)
    assert view.check.disabled
    view.check.click()
    view.next.click()
    assert view.item != first
    again = ExamApp(app.desk.folder)
    assert [(e.question, e.score, e.mode) for e in again.desk.history.entries] == [
        (first.question.id, 1.0, "practice")
    ]
    assert list(again.desk.deck.cards) == [first.question.id]


def test_an_unreadable_number_may_be_typed_again(app: ExamApp) -> None:
    view = app.practice
    view.item = app.desk.bank.item("temperature_two", 4)
    view.render(None)
    view.input._fields[0].value = "0,88x"
    view.check.click()
    assert "not a number" in texts_of(view.widget)
    assert app.desk.history.entries == []
    fill_in(view.input, view.item.key)
    view.check.click()
    assert app.desk.history.entries[0].score == 1.0


def test_a_topic_is_chosen_and_the_language_changes_under_way(app: ExamApp) -> None:
    view = app.practice
    view.topic.value = "weight_clustering"
    assert view.item.question.topic == "weight_clustering"
    item = view.item
    fill_in(view.input, item.key)
    app.language.value = "zh"
    assert view.item is item
    assert mark(item, view.input.value).right
    assert view.topic.value == "weight_clustering"
    assert "檢查答案" in texts_of(view.widget)
    assert app.tabs.get_title(1) == "模擬考"
    view.check.click()
    assert "答對了" in texts_of(view.widget)
    app.language.value = "en"
    assert "Right." in texts_of(view.widget)
    assert len(app.desk.history.entries) == 1


def test_a_mock_exam_to_the_end_with_a_restart_in_the_middle(app: ExamApp) -> None:
    view = app.mock
    view.length.value = 30
    view.seed.value = "21"
    view.start.click()
    items = view.exam.items
    for number in range(4):
        fill_in(view.input, items[number].key)
        view.following.click()
    assert "4/" in view.clock.value
    # No answer, mark or solution is shown before the end.
    shown = texts_of(view.widget)
    assert not any(to_html(item.solution("en")) in shown for item in items)
    assert "Right." not in shown

    again = ExamApp(app.desk.folder)
    view = again.mock
    assert "Paused" in texts_of(view.widget)
    view.pause.click()
    assert view.exam.items == items
    assert view.exam.state.position == 4
    view.place.value = 0
    assert mark(items[0], view.input.value).right
    again.language.value = "zh"
    assert mark(items[0], view.input.value).right
    again.language.value = "en"
    for number in range(4, len(items) - 1):
        view.go_to(number)
        fill_in(view.input, items[number].key)
    view.finish.click()
    assert "without an answer: 1." in view.note.value
    view.finish.click()
    worth = [item.question.minutes for item in items]
    percent = 100 * (sum(worth) - worth[-1]) / sum(worth)
    shown = texts_of(view.widget)
    assert f"Your mark: {percent:.0f} %" in shown
    assert to_html(items[0].solution("en")) in shown
    assert shown.count('<img alt="Bars: score of each topic') == 1
    entries = again.desk.history.entries
    assert [e.question for e in entries] == [item.question.id for item in items]
    assert {e.mode for e in entries} == {"mock"}
    # Opening it once more counts nothing twice.
    third = ExamApp(app.desk.folder)
    third.mock.render()
    assert len(third.desk.history.entries) == len(items)
    assert f"Your mark: {percent:.0f} %" in texts_of(third.mock.widget)


def test_a_new_exam_does_not_replace_one_under_way_by_one_press(app: ExamApp) -> None:
    view = app.mock
    assert view.length.value == 120
    view.start.click()
    exam = view.exam
    assert exam.state.minutes == 120
    view.pause.click()
    view.start.click()
    assert view.exam is exam
    assert "Press once more" in view.note.value
    view.start.click()
    assert view.exam is not exam


def test_the_mock_exam_says_that_a_number_cannot_be_read_and_no_more(app: ExamApp) -> None:
    view = app.mock
    view.start.click()
    number = next(n for n, item in enumerate(view.exam.items) if item.question.is_number)
    view.go_to(number)
    view.input._fields[0].value = "about 3"
    assert "not a number" in view.note.value
    view.input._fields[0].value = "123456789"
    assert view.note.value == ""


def test_progress_shows_chart_and_numbers(app: ExamApp) -> None:
    app.tabs.selected_index = 2
    assert "Nothing answered yet" in texts_of(app.progress.widget)
    app.practice.check.click()
    app.tabs.selected_index = 0
    app.tabs.selected_index = 2
    shown = texts_of(app.progress.widget)
    assert "0 % (1)" in shown
    assert '<img alt="Bars: score of each topic' in shown
    assert "Answers: 1. Questions seen: 1 of" in shown


def test_every_drawing_is_used_and_draws(bank: Bank) -> None:
    plots = [bank.item(q.id).plot for q in bank.questions.values() if q.kind == "plot"]
    assert {plot["drawing"] for plot in plots} == set(DRAWINGS)
    for plot in plots:
        content = picture(plot["drawing"], plot["data"])
        assert content.startswith(b"\x89PNG")
        assert len(content) < 60_000
    assert topic_chart({"a": (0.2, 3), "b": (0.9, 1)}).startswith(b"\x89PNG")


def test_texts_are_safe_html() -> None:
    text = "a < b & `x < y` **bold** \\(1,000 < x\\)\nnext"
    assert to_html(text) == (
        "a &lt; b &amp; <code>x &lt; y</code> <strong>bold</strong> \\(1{,}000 &lt; x\\)<br>next"
    )


def test_feedback_names_the_slide_without_its_number(bank: Bank) -> None:
    item = bank.item("weight_pruning_speedup")
    shown = feedback_html(item, mark(item, None), "en", item.order())
    assert "Weight Pruning</p>" in shown


def test_every_text_is_there_in_both_languages_with_the_same_places() -> None:
    import re

    for key, (english, chinese) in TEXTS.items():
        assert set(re.findall(r"\{(\w+)", english)) == set(re.findall(r"\{(\w+)", chinese)), key


def test_the_logic_needs_no_widgets_and_no_torch() -> None:
    program = (
        "import sys; from course_utils.exam import items, marking, session, scheduling, render;"
        "items.load_bank(); print({'torch', 'ipywidgets', 'matplotlib'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
