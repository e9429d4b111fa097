"""The mock exam without a browser: choice, time, saving, and marks at the end only."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from course_utils.exam.items import Bank
from course_utils.exam.session import LONGEST_TICK, MockExam, choose_questions


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exam(bank: Bank, tmp_path: Path, clock: Clock) -> MockExam:
    return MockExam.start(bank, 30, "7", tmp_path / "mock.json", clock)


@pytest.mark.parametrize("minutes", [15, 30, 60, 120])
def test_questions_fill_the_time_by_the_exams_weights(bank: Bank, minutes: int) -> None:
    for seed in "abc":
        chosen = [bank.questions[name] for name, _ in choose_questions(bank, minutes, seed)]
        total = sum(question.minutes for question in chosen)
        assert 0.75 * minutes <= total <= 0.9 * minutes
        assert len({question.id for question in chosen}) == len(chosen)
        if minutes == 120:
            spent = Counter[str]()
            for question in chosen:
                spent[question.topic] += question.minutes
            for topic, facts in bank.topics.items():
                assert abs(100 * spent[topic] / total - facts["weight"]) < 5
            assert len({question.kind for question in chosen}) == 7


def test_a_seed_gives_the_same_exam_and_another_one_another(bank: Bank) -> None:
    assert choose_questions(bank, 60, "1") == choose_questions(bank, 60, "1")
    assert choose_questions(bank, 60, "1") != choose_questions(bank, 60, "2")
    with pytest.raises(ValueError, match="minutes"):
        choose_questions(bank, 2, "1")


def test_a_restart_in_the_middle_loses_nothing(
    bank: Bank, exam: MockExam, clock: Clock, tmp_path: Path
) -> None:
    exam.give([0, 1])
    clock.now += 60
    exam.go_to(2)
    exam.give("0.25")
    # The kernel stops here: nothing is closed, and an hour goes by.
    other = Clock()
    again = MockExam.resume(bank, tmp_path / "mock.json", other)
    assert again is not None
    assert again.state.answers == {"0": [0, 1], "2": "0.25"}
    assert (again.state.position, again.answer) == (2, "0.25")
    assert again.state.questions == exam.state.questions
    assert again.state.elapsed == pytest.approx(60)
    assert again.state.paused
    other.now += 3600
    again.go_on()
    other.now += 5
    again.give("0.5")
    assert again.state.elapsed == pytest.approx(65)


def test_every_answer_is_in_the_file_at_once(exam: MockExam) -> None:
    assert exam.path is not None
    for number in range(3):
        exam.go_to(number)
        exam.give(number)
        stored = json.loads(exam.path.read_text(encoding="utf-8"))
        assert stored["answers"][str(number)] == number
    assert list(exam.path.parent.iterdir()) == [exam.path], "a part of a file was left"


def test_time_stands_still_during_a_pause(exam: MockExam, clock: Clock) -> None:
    clock.now += 30
    exam.pause()
    clock.now += 1000
    with pytest.raises(RuntimeError, match="paused"):
        exam.give(1)
    exam.go_on()
    clock.now += 12
    exam.tick()
    assert exam.state.elapsed == pytest.approx(42)


def test_a_machine_that_slept_does_not_eat_the_exam(exam: MockExam, clock: Clock) -> None:
    clock.now += 50_000
    exam.tick()
    assert exam.state.elapsed == LONGEST_TICK


def test_when_time_is_up_the_exam_is_over(exam: MockExam, clock: Clock) -> None:
    for _ in range(30):
        clock.now += 60
        exam.tick()
    assert exam.state.finished
    assert exam.seconds_left == 0
    with pytest.raises(RuntimeError, match="over"):
        exam.give(1)


def test_nothing_is_marked_before_the_end(exam: MockExam) -> None:
    with pytest.raises(RuntimeError, match="not over"):
        exam.marks()
    with pytest.raises(RuntimeError, match="not over"):
        exam.result()


def test_the_result_adds_up_minutes_by_topic(exam: MockExam) -> None:
    for number, item in enumerate(exam.items):
        exam.go_to(number)
        key = item.key
        if item.question.is_number:
            key = ", ".join(map(repr, key)) if isinstance(key, list) else repr(key)
        exam.give(key if number % 2 else None)
    exam.finish()
    result = exam.result()
    right = sum(item.question.minutes for item in exam.items[1::2])
    assert result.points == pytest.approx(right)
    assert result.most == sum(item.question.minutes for item in exam.items)
    assert result.percent == pytest.approx(100 * right / result.most)
    assert sum(count for _, count in result.topics.values()) == len(exam.items)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"seed": 1}', '{"seed":"1","minutes":5,"questions":[["gone",0]]}']
)
def test_a_file_that_is_no_exam_is_put_aside(bank: Bank, tmp_path: Path, text: str) -> None:
    path = tmp_path / "mock.json"
    assert MockExam.resume(bank, path) is None
    path.write_text(text, encoding="utf-8")
    assert MockExam.resume(bank, path) is None
