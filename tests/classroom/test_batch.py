"""Judging side by side: whatever one submission does, the others get their verdicts."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from autograder.classroom import batch
from autograder.classroom.batch import Job, Outcome, find_jobs, judge_all, judge_in_own_process
from autograder.judge.verdict import Verdict


def jobs(*names: str) -> list[Job]:
    return [Job(name, "network_pruning", Path(f"{name}.ipynb")) for name in names]


def pretend(job: Job) -> str:
    """Stand in for judging; runs in a worker process."""
    if job.student == "kills_worker":
        os._exit(9)
    if job.student == "raises":
        raise OSError("the disk is full")
    if job.student == "babbles":
        return "no JSON at all"
    return Verdict(topic=job.topic, student=job.student, exercises=[]).model_dump_json()


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_a_worker_that_dies_stops_nobody_else() -> None:
    names = ["a", "kills_worker", "b", "raises", "c", "babbles", "d"]
    reported: list[tuple[str, int, int]] = []

    def note(outcome: Outcome, done: int, total: int) -> None:
        reported.append((outcome.student, done, total))

    outcomes = {
        outcome.student: outcome
        for outcome in judge_all(jobs(*names), 2, judge=pretend, report=note)
    }
    assert sorted(outcomes) == sorted(names)
    assert sorted(name for name, outcome in outcomes.items() if outcome.broken) == [
        "babbles",
        "kills_worker",
        "raises",
    ]
    assert "the disk is full" in outcomes["raises"].broken
    for name in ("kills_worker", "raises", "babbles"):
        verdict = outcomes[name].verdict
        assert verdict.points == 0
        assert verdict.needs_review
        assert verdict.exercises, "every exercise must be there, with no points"
    assert [done for _, done, _ in reported] == list(range(1, len(names) + 1))


def test_nobody_handed_in_starts_no_cluster() -> None:
    assert list(judge_all([], 2)) == []


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is warm yet."""
    monkeypatch.setattr(batch, "_warm", threading.local())


@pytest.mark.usefixtures("cold")
def test_a_judging_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="exit code 1"):
        judge_in_own_process(jobs("a")[0])


@pytest.mark.skipif(sys.platform != "linux", reason="grading needs Linux")
@pytest.mark.usefixtures("cold")
def test_a_judging_process_that_hangs_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nsleep 60\n", encoding="utf-8")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    monkeypatch.setattr(batch, "EXTRA_SECONDS", -batch.Limits().submission_wall_seconds + 0.3)
    with pytest.raises(RuntimeError, match="took longer"):
        judge_in_own_process(jobs("a")[0])


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(batch, "COURSE", tmp_path)
    for name in ("bea", "abe"):
        (tmp_path / "submitted" / name / "network_pruning").mkdir(parents=True)
    (tmp_path / "submitted" / "cleo" / "another_topic").mkdir(parents=True)
    return tmp_path


def test_jobs_are_those_who_handed_this_topic_in(course: Path) -> None:
    found = find_jobs("network_pruning", "1_network_pruning")
    assert [job.student for job in found] == ["abe", "bea"]
    # Even without the notebook: the judge says that it is missing.
    assert found[0].path == course / "submitted/abe/network_pruning/1_network_pruning.ipynb"


def test_a_student_who_handed_nothing_in_is_named(course: Path) -> None:
    with pytest.raises(ValueError, match="cleo"):
        find_jobs("network_pruning", "1_network_pruning", ["abe", "cleo"])
