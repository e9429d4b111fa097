"""The bench: what it measures is what was used, and stock nbgrader is really stock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from autograder import settings
from autograder.classroom import bench, bench_scale, jobs, usage
from autograder.classroom.batch import Outcome
from autograder.classroom.bench_scale import ScaleFailed, computing_rate, run_scale, warm_rate
from autograder.classroom.jobs import Job, Judged
from autograder.classroom.stock_course import STUDENT, StockCourse
from autograder.classroom.usage import Usage, measured, one_core
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading needs Linux")

MEBIBYTE = 2**20
WORK = """
import time
block = b"x" * (100 * 2**20)
while time.process_time() < 0.6:
    pass
"""


def test_time_and_memory_of_a_child_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "LOOK_SECONDS", 0.05)
    with measured() as used, one_core():
        subprocess.run([sys.executable, "-c", WORK], check=True)
    assert used.cpu_seconds >= 0.55
    assert used.seconds >= 0.55
    assert used.peak_memory >= 100 * MEBIBYTE


@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")
def test_what_a_sandbox_used_is_counted_when_it_has_ended() -> None:
    with measured() as used:
        zygote = Zygote()
        zygote.start()
        zygote.close()
    assert used.cpu_seconds > 1, "importing torch takes longer"


@pytest.mark.slow
def test_stock_nbgrader_runs_the_notebook_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "TOPICS", Path(__file__).parents[1] / "judge")
    course = StockCourse.make(tmp_path, "sample_topic")
    course.autograde()
    path = tmp_path / "autograded" / STUDENT / "sample_topic" / course.notebook.name
    cells = nbformat.read(path, as_version=4).cells
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


class FakeCourse:
    """A course that stock nbgrader grades at once."""

    notebook = Path("anna.ipynb")

    @classmethod
    def make(cls, _folder: Path, _topic: str) -> FakeCourse:
        return cls()

    def autograde(self) -> None:
        """Do nothing."""


def judged(points: bool) -> str:
    check = CheckVerdict(name="test_x", passed=points, weight=1)
    exercise = ExerciseVerdict.from_checks("apoz", 4, [check])
    return Verdict(topic="network_pruning", exercises=[exercise]).model_dump_json()


@contextlib.contextmanager
def pretend() -> Iterator[Usage]:
    yield Usage(seconds=12.0, cpu_seconds=6.0, peak_memory=300 * MEBIBYTE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "measured", pretend)
    monkeypatch.setattr(bench, "StockCourse", FakeCourse)
    monkeypatch.setattr(bench, "judge_in_own_process", lambda job: judged(True))
    monkeypatch.setattr(bench, "_grade", lambda topic, workers, course: None)


@pytest.mark.usefixtures("quick")
def test_it_says_what_was_measured() -> None:
    console = Console(record=True, width=160)
    bench.run_bench("network_pruning", 2, 0, [2, 3], 1, console)
    said = console.export_text()
    for text in ("2 times each in turn", "stock nbgrader autograde", "this judge", "per core"):
        assert text in said
    assert "round 2" in said
    rows = {
        line.split("  ")[0]: line.split()[-4:] for line in said.splitlines() if line[-1:] != ")"
    }
    assert rows["this judge"] == ["5.00", "12.0", "6.0", "300"]
    assert rows["3 students"] == ["15.00", "4.0", "2.0", "300"]


@pytest.mark.usefixtures("quick")
def test_a_class_is_measured_without_the_process_that_was_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = []

    class FakeWarmJudge:
        def judge(self, order: dict[str, str], _seconds: float) -> int:
            said.append("judged")
            Path(order["output"]).write_text(judged(True))
            return 0

        def close(self) -> None:
            said.append("ended")

    monkeypatch.setattr(jobs, "WarmJudge", FakeWarmJudge)
    monkeypatch.setattr(jobs, "_warm", threading.local())
    monkeypatch.setattr(bench, "judge_in_own_process", jobs.judge_in_own_process)
    monkeypatch.setattr(bench, "_grade", lambda topic, workers, course: said.append("class"))
    bench.run_bench("network_pruning", 1, 0, [2], 1, Console(record=True))
    assert said == ["judged", "judged", "ended", "class"]


@pytest.mark.usefixtures("quick")
def test_a_judge_that_is_wrong_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "judge_in_own_process", lambda job: judged(False))
    with pytest.raises(bench.BenchFailed, match="0"):
        bench.run_bench("network_pruning", 1, 0, [], 1, Console(record=True))


def outcome(worker: str, started: float, seconds: float, broken: str = "") -> Outcome:
    verdict = Verdict.model_validate_json(judged(True))
    judging = Judged(worker=worker, started=started, seconds=seconds)
    return Outcome("anna", verdict, broken, seconds, judged=judging)


def test_the_first_submission_of_each_worker_does_not_count() -> None:
    slow_start = [outcome("a", 0, 20), outcome("a", 20, 5), outcome("a", 25, 5)]
    other = [outcome("b", 1, 29), outcome("b", 30, 10)]
    assert warm_rate(slow_start) == pytest.approx(2 / 10)
    assert warm_rate([*other, *slow_start]) == pytest.approx(2 / 10 + 1 / 10)
    with pytest.raises(ScaleFailed, match="no sandbox"):
        warm_rate([*other, outcome("a", 0, 1, broken="no sandbox")])


@pytest.mark.slow
def test_processes_compute_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scale, "COMPUTE_SECONDS", 1.0)
    assert computing_rate(1) > 0
    assert computing_rate(2) > 0


def test_workers_are_compared_with_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four workers judge three times as much as one here, and the cores could do four times."""
    rates = {1: 0.1, 2: 0.2, 4: 0.3}

    def judge(jobs: list[Job], workers: int) -> Iterator[Outcome]:
        assert len({job.path.read_bytes() for job in jobs}) == len(jobs) == 2 * workers
        seconds = 1 / rates[workers]
        return iter([outcome("a", 0, 9), outcome("a", 9, seconds)])

    monkeypatch.setattr(bench_scale, "judge_all", judge)
    monkeypatch.setattr(bench_scale, "computing_rate", lambda processes: 30.0 * processes)
    console = Console(record=True, width=160)
    run_scale("network_pruning", 2, 4, tmp_path, console)
    rows = [line.split() for line in console.export_text().splitlines()[1:]]
    assert rows == [
        ["1", "6.00", "1.00", "1.00"],
        ["2", "12.00", "2.00", "2.00"],
        ["4", "18.00", "3.00", "4.00"],
    ]
    with pytest.raises(ValueError, match="at least 2"):
        run_scale("network_pruning", 1, 2, tmp_path, console)
