"""The warm process: one fork for each submission, and nothing left when somebody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autograder.classroom import warm_judge
from autograder.classroom.warm_judge import WarmJudge
from autograder.judge.verdict import Verdict

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading needs Linux")
SECONDS = 120.0


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmJudge]:
    opened = WarmJudge()
    yield opened
    opened.close()


def order(folder: Path, topic: str = "network_pruning") -> dict[str, str]:
    """Return an order for a notebook that is missing: a verdict without any sandbox."""
    files = {name: str(folder / name) for name in ("submission", "output", "log")}
    return {**files, "topic": topic, "student": "anna"}


def test_a_second_submission_is_judged_by_the_same_warm_process(
    warm: WarmJudge, tmp_path: Path
) -> None:
    assert warm.judge(order(tmp_path), SECONDS) == 0
    first, seconds = warm._process.pid, time.perf_counter()
    (tmp_path / "output").unlink()
    assert warm.judge(order(tmp_path), SECONDS) == 0
    assert warm._process.pid == first
    assert time.perf_counter() - seconds < 5, "importing everything again takes longer"
    verdict = Verdict.model_validate_json((tmp_path / "output").read_bytes())
    assert (verdict.student, verdict.points, verdict.needs_review) == ("anna", 0, True)


def test_a_judgement_that_raises_says_why_and_costs_nobody_else(
    warm: WarmJudge, tmp_path: Path
) -> None:
    assert warm.judge(order(tmp_path, "no_such_topic"), SECONDS) == 1
    assert "no_such_topic" in (tmp_path / "log").read_text()
    assert warm.judge(order(tmp_path), SECONDS) == 0


def test_a_warm_process_that_died_is_started_again(warm: WarmJudge, tmp_path: Path) -> None:
    assert warm.judge(order(tmp_path), SECONDS) == 0
    os.kill(warm._process.pid, signal.SIGKILL)
    warm._process.wait()
    assert warm.judge(order(tmp_path), SECONDS) == 0


def test_a_changed_check_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_judge, "PACKAGE", tmp_path)
    path = tmp_path / "topics" / "test_weights.py"
    path.parent.mkdir()
    path.write_text("one = 1")
    opened = WarmJudge()
    opened._made_of = warm_judge._code_files()
    assert not opened._is_stale()
    path.write_text("one = 1.0")
    assert opened._is_stale()


def test_nothing_is_left_when_the_grader_is_killed(tmp_path: Path) -> None:
    program = f"""
from autograder.classroom.warm_judge import WarmJudge
from tests.classroom.test_warm_judge import order
from pathlib import Path
warm = WarmJudge()
warm.judge(order(Path({str(tmp_path)!r})), {SECONDS})
print(warm._process.pid, flush=True)
input()
"""
    grader = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with grader:
        warm_process = psutil.Process(int(grader.stdout.readline()))
        grader.kill()
    assert not psutil.wait_procs([warm_process], timeout=10)[1]
