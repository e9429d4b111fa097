"""What grading shows while it runs, and the log that stays."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from autograder import settings
from autograder.classroom import logs, progress
from autograder.classroom.batch import Outcome
from autograder.classroom.jobs import Judged
from autograder.classroom.logs import read_entries, write_log
from autograder.classroom.progress import Board
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def outcome(student: str = "anna", broken: str = "", details: str = "") -> Outcome:
    checks = [CheckVerdict(name="test_zeros", passed=False, weight=1, message="no zeros")]
    exercises = [ExerciseVerdict.from_checks("mask", 4, checks)]
    verdict = Verdict(topic="t", exercises=exercises, peak_memory=300 * 2**20)
    judged = Judged(
        failure=broken,
        details=details,
        worker="room-7, process 12",
        started=1_770_000_000.0,
        seconds=3.21,
        cpu_seconds=2.5,
    )
    return Outcome(student, verdict, broken, seconds=3.21, judged=judged)


def test_the_counts_and_an_honest_end() -> None:
    clock, out = Clock(), io.StringIO()
    with Board(10, Console(file=out), workers=2, clock=clock) as board:
        board.judging(2)
        assert board.text() == "queued 8, running 2, done 0, failed 0, end not known yet"
        for number in range(3):
            clock.now += 10
            assert board.seconds_left() is None, "too few are done"
            board.finished(outcome(broken="crash" if number == 2 else ""))
        # 30 s for 3, and 7 are left.
        assert board.seconds_left() == pytest.approx(70)
        assert "done 2, failed 1, end about " in board.text()
        assert board.text().endswith("(in 1 min)")
    assert "FAILED anna: crash" in out.getvalue()


def test_more_workers_need_more_before_there_is_an_end() -> None:
    board = Board(10, Console(file=io.StringIO()), workers=4, clock=Clock())
    for _ in range(3):
        board.finished(outcome())
    assert board.seconds_left() is None
    board.finished(outcome())
    assert board.seconds_left() == 0


def test_a_file_gets_a_line_now_and_then() -> None:
    clock, out = Clock(), io.StringIO()
    with Board(100, Console(file=out), clock=clock) as board:
        for _ in range(100):
            clock.now += 1
            board.finished(outcome())
    lines = out.getvalue().splitlines()
    assert len(lines) == 100 // progress.LINE_SECONDS + 1, lines
    assert lines[-1] == "judging: queued 0, running 0, done 100, failed 0"


def test_a_terminal_has_one_line_that_moves() -> None:
    out = io.StringIO()
    with Board(2, Console(file=out, force_terminal=True, width=120), clock=Clock()) as board:
        board.finished(outcome())
        board.finished(outcome())
    assert "queued 0, running 0, done 2, failed 0" in out.getvalue()
    assert "judging: " not in out.getvalue()


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "COURSE", tmp_path)
    return tmp_path


def test_a_log_says_when_where_at_what_cost_and_what_came(course: Path) -> None:
    path = write_log("mask_topic", outcome())
    assert path == course / "logs" / "mask_topic" / "anna.log"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("judged 2026-")
    for part in (
        "worker: room-7, process 12",
        "seconds: 3.2",
        "CPU seconds: 2.5",
        "peak memory: 300 MiB",
        "points: 0 of 4",
        "mask: 0/4 test_zeros",
    ):
        assert part in text


def test_a_log_says_why_judging_failed(course: Path) -> None:
    details = "Traceback (most recent call last):\njudged by nobody\nOSError: the disk is full"
    path = write_log("t", outcome(broken="OSError: the disk is full", details=details))
    text = path.read_text(encoding="utf-8")
    assert "FAILED: OSError: the disk is full" in text
    assert "Traceback (most recent call last):" in text
    assert len(read_entries(path)) == 1, "what was said must not look like a judging"


def test_a_log_keeps_earlier_judgings_but_does_not_grow_for_ever(course: Path) -> None:
    write_log("t", outcome(broken="the first"))
    path = write_log("t", outcome())
    first, second = read_entries(path)
    assert "FAILED" not in first
    assert "the first" in second
    for _ in range(logs.MOST_ENTRIES):
        write_log("t", outcome())
    assert len(read_entries(path)) == logs.MOST_ENTRIES
    assert "the first" not in path.read_text(encoding="utf-8")
