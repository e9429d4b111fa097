"""Judging side by side: whatever one submission does, the others get their verdicts."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from distributed.client import FuturesCancelledError

from autograder.classroom import batch
from autograder.classroom import jobs as parcels
from autograder.classroom.batch import ClusterLost, find_jobs, judge_all
from autograder.classroom.jobs import Job, JudgingFailed, Parcel, judge_in_own_process, pack
from autograder.judge.identity import identity
from autograder.judge.verdict import Verdict


def jobs(*names: str) -> list[Job]:
    return [Job(name, "network_pruning", Path(f"{name}.ipynb")) for name in names]


def pretend(parcel: Parcel) -> tuple[str, float | None]:
    """Stand in for judging; runs in a worker process."""
    if parcel.student == "kills_worker":
        os._exit(9)
    if parcel.student == "raises":
        raise OSError("the disk is full")
    if parcel.student == "babbles":
        return "no JSON at all", None
    known = identity(parcel.topic, parcel.submission().content_hash, 1)
    if parcel.student == "other_checks":
        known["checks"] = "of another version"
    verdict = Verdict(
        topic=parcel.topic, student=parcel.student, exercises=[], identity=known
    ).model_dump_json()
    return verdict, 0.5


@pytest.mark.alone
@pytest.mark.filterwarnings("default")
def test_a_worker_that_dies_stops_nobody_else() -> None:
    names = ["a", "kills_worker", "b", "raises", "c", "babbles", "d", "other_checks"]
    running: list[int] = []
    outcomes = {
        outcome.student: outcome
        for outcome in judge_all(jobs(*names), 2, judge=pretend, watch=running.append)
    }
    assert sorted(outcomes) == sorted(names)
    broken = {name: outcome.broken for name, outcome in outcomes.items() if outcome.broken}
    assert sorted(broken) == ["babbles", "kills_worker", "other_checks", "raises"]
    assert "the disk is full" in broken["raises"]
    assert "Traceback" in outcomes["raises"].judged.details
    assert "two workers died" in broken["kills_worker"]
    assert "install the same course" in broken["other_checks"]
    for name in broken:
        verdict = outcomes[name].verdict
        assert verdict.points == 0
        assert verdict.needs_review
        assert verdict.exercises, "every exercise must be there, with no points"
    assert outcomes["a"].judged.cpu_seconds == 0.5
    assert max(running) == 2


class Lost:
    """A client, and a future, of a scheduler that was there a moment ago."""

    def nthreads(self) -> dict[str, int]:
        return {"worker": 1}

    def submit(self, *_arguments: object, **_options: object) -> Lost:
        return self

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return True


def test_a_scheduler_that_is_lost_while_waiting_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wait(*_arguments: object, **_options: object) -> None:
        raise FuturesCancelledError([])

    monkeypatch.setattr("dask.distributed.wait", wait)
    monkeypatch.setattr(batch, "_client", lambda *_: contextlib.nullcontext(Lost()))
    job = Job("anna", "network_pruning", tmp_path / "nothing.ipynb")
    with pytest.raises(ClusterLost, match="same command again"):
        list(judge_all([job], 1, scheduler="tcp://127.0.0.1:1"))


def test_dask_does_not_tell_at_length_that_nobody_answers(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    job = Job("anna", "network_pruning", tmp_path / "nothing.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(batch.CLUSTER_SETTINGS, "distributed.comm.timeouts.connect", "500ms")
        with pytest.raises(ClusterLost, match="no Dask scheduler answers"):
            list(judge_all([job], 1, scheduler=f"tcp://127.0.0.1:{port}"))
    for name in ("distributed", "distributed.client", "distributed.utils"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR)
    assert "Traceback" not in capfd.readouterr().err


def test_nobody_handed_in_starts_no_cluster() -> None:
    assert list(judge_all([], 2)) == []


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is warm yet."""
    monkeypatch.setattr(parcels, "_warm", threading.local())


@pytest.mark.usefixtures("cold")
def test_a_judging_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(JudgingFailed, match="exit code 1"):
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
    monkeypatch.setattr(parcels, "EXTRA_SECONDS", -parcels.Limits().submission_wall_seconds + 0.3)
    with pytest.raises(JudgingFailed, match="took longer"):
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


def test_a_parcel_says_the_same_as_the_file(tmp_path: Path) -> None:
    from autograder.authoring.build import complete_notebook
    from autograder.judge.submission import read_submission

    place = tmp_path / "1_network_pruning.ipynb"
    link, missing, broken = (tmp_path / f"{name}.ipynb" for name in ("link", "missing", "broken"))
    nbformat.write(complete_notebook("network_pruning"), place)
    link.symlink_to(place)
    broken.write_bytes(b"\xff{")
    for path in (place, link, missing, broken):
        parcel = pack(Job("anna", "network_pruning", path))
        assert parcel.submission() == read_submission(path, "network_pruning")
    assert parcel.content == b"\xff{"
