"""Fair marks: however often a class is graded, by however many workers, on however busy a machine.

The quick part judges the sample topic. `make fair` grades a class of a real topic twenty times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder import settings
from autograder.authoring.answers import load_mistakes
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.classroom.batch import judge_all
from autograder.classroom.bench_steady import busy_cores
from autograder.classroom.jobs import Job
from autograder.judge.judge import judge
from autograder.judge.submission import reference_submission
from autograder.judge.verdict import Verdict
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.watch import LimitExceeded, Watch
from autograder.sandbox.zygote import Zygote
from autograder.settings import Limits

pytestmark = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")

RUNS = 20
OVERLOAD = 4 * (os.cpu_count() or 1)
SAMPLE = "sample_topic"
# The quickest to judge.
TOPIC = "weight_clustering"
CHECK_SECONDS = 2
MISTAKES = 3

BUSY = f"""
import time
import torch

def halve(x):
    while time.process_time() < started + {CHECK_SECONDS / 2}:
        pass
    if x.isnan().any():
        raise ValueError("NaN")
    return x / 2

started = time.process_time()
"""
ENDLESS = "def halve(x):\n    while True:\n        pass\n"
ASLEEP = "import time\ndef halve(x):\n    time.sleep(3600)\n"
IN_PLACE = "def halve(x):\n    return x.div_(2)\n"


def what_decides(verdict: Verdict) -> dict[str, Any]:
    """Return all of a verdict but how long it took, and how much memory."""
    data = verdict.model_dump(exclude={"seconds", "peak_memory"})
    for exercise in data["exercises"]:
        for check in exercise["checks"]:
            del check["seconds"]
    return data


# ---------------------------------------------------------------- the sample topic


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TOPICS", Path(__file__).parents[1] / "judge")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    opened = Zygote(Limits(check_cpu_seconds=CHECK_SECONDS, idle_seconds=3.0))
    opened.start()
    yield opened
    opened.close()


def judged(zygote: Zygote, halve: str | None = None) -> Verdict:
    submission = reference_submission(load_source(SAMPLE))
    if halve is not None:
        submission.answers["halve"] = halve
    return judge(submission, load_source(SAMPLE), limits=zygote.limits, only="halve", zygote=zygote)


@pytest.mark.usefixtures("sample")
def test_on_an_overloaded_machine_cpu_time_decides(zygote: Zygote) -> None:
    with busy_cores(OVERLOAD):
        busy, endless = judged(zygote, BUSY), judged(zygote, ENDLESS)
    assert busy.exercise("halve").points == 3, busy.exercise("halve")
    assert busy.seconds > 3 * CHECK_SECONDS / 2, "it did not need the time it is there to need"
    assert endless.exercise("halve").points == 0
    assert "more CPU time" in endless.exercise("halve").checks[0].message


@pytest.mark.usefixtures("sample")
def test_who_sleeps_is_stopped_by_the_clock(zygote: Zygote) -> None:
    checks = judged(zygote, ASLEEP).exercise("halve").checks
    assert "without computing" in checks[0].message


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize("halve", [None, IN_PLACE], ids=["right", "wrong"])
def test_the_same_answers_have_the_same_verdict(zygote: Zygote, halve: str | None) -> None:
    first = what_decides(judged(zygote, halve))
    for _ in range(4):
        assert what_decides(judged(zygote, halve)) == first


# ---------------------------------------------------------------- how the watch counts time


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("autograder.sandbox.watch.time", made)
    return made


def test_who_gets_no_core_is_not_idle(clock: Clock) -> None:
    watch = Watch(roots=[2**22 + 1], limits=Limits(idle_seconds=10))
    watch.rest()
    for _ in range(600):
        clock.now += 0.1
        watch._count_time({7: 0.0}, wants=True)
    watch.check()
    assert watch.spent == 0


def test_who_waits_for_the_disk_for_ever_is_idle(clock: Clock) -> None:
    watch = Watch(roots=[2**22 + 1], limits=Limits(idle_seconds=10))
    watch.rest()
    for _ in range(299):
        clock.now += 1.0
        watch._count_time({7: 0.0}, wants=watch._may_wait_for_disk())
    assert watch.spent == 0
    watch.rest()  # The next call has no new patience.
    for _ in range(12):
        clock.now += 1.0
        watch._count_time({7: 0.0}, wants=watch._may_wait_for_disk())
    assert watch.spent >= 10
    with pytest.raises(LimitExceeded, match="without computing"):
        watch.check()


def test_who_waits_is_idle_and_spends_time(clock: Clock) -> None:
    watch = Watch(roots=[2**22 + 1], limits=Limits(idle_seconds=10))
    watch.rest()
    for _ in range(101):
        clock.now += 0.1
        watch._count_time({7: 0.0}, wants=False)
    assert watch.spent == pytest.approx(10.1)
    with pytest.raises(LimitExceeded, match="without computing"):
        watch.check()


def test_who_computes_spends_cpu_time(clock: Clock) -> None:
    watch = Watch(roots=[2**22 + 1], limits=Limits())
    watch.rest()
    for step in range(1, 11):
        clock.now += 1.0
        watch._count_time({7: 0.25 * step}, wants=True)
    assert watch.spent == pytest.approx(2.5)


# ---------------------------------------------------------------- topic 1


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """A class: the reference, wrong answers to several exercises, and one without an end."""
    folder = tmp_path_factory.mktemp("class")
    names = [exercise.name for exercise in load_source(TOPIC).exercises]
    wrong = {mistake.exercise: mistake for mistake in reversed(load_mistakes(TOPIC))}
    answers: dict[str, dict[str, str | None]] = {"reference": {}}
    for name in names[:MISTAKES]:
        answers[wrong[name].full_name] = {name: wrong[name].source}
    endless = f"def {names[-1]}(*arguments, **keywords):\n    while True:\n        pass\n"
    answers["endless"] = {names[-1]: endless}
    made = [Job(student, TOPIC, folder / f"{student}.ipynb") for student in answers]
    for job in made:
        nbformat.write(complete_notebook(TOPIC, answers[job.student]), job.path)
    return made


def graded(jobs: list[Job], workers: int) -> dict[str, dict[str, Any]]:
    outcomes = list(judge_all(jobs, workers))
    assert [outcome.broken for outcome in outcomes] == [""] * len(jobs)
    return {outcome.student: what_decides(outcome.verdict) for outcome in outcomes}


@pytest.fixture(scope="module")
def first(jobs: list[Job]) -> dict[str, dict[str, Any]]:
    return graded(jobs, 1)


@pytest.mark.suite
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("run", range(1, RUNS))
def test_a_class_has_the_same_marks_every_time(
    run: int, jobs: list[Job], first: dict[str, dict[str, Any]]
) -> None:
    workers, overloaded = 1 + run % 4, run % 3 == 0
    with busy_cores(OVERLOAD if overloaded else 0):
        again = graded(jobs, workers)
    assert again == first
    points = {name: sum(e["points"] for e in got["exercises"]) for name, got in again.items()}
    best = points.pop("reference")
    assert best == sum(exercise.points for exercise in load_source(TOPIC).exercises)
    assert max(points.values()) < best, points
