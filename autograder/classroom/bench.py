"""Compares this judge with stock nbgrader, and measures it with more workers and larger classes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from autograder.classroom.bench_scale import hand_in, run_scale
from autograder.classroom.jobs import Job, end_own_process, judge_in_own_process
from autograder.classroom.stock_course import StockCourse
from autograder.classroom.usage import Usage, measured, one_core
from autograder.judge.verdict import Verdict
from autograder.settings import MEBIBYTE, REPOSITORY

HEADINGS = ("", "submissions a minute", "wall s", "CPU s", "peak MiB")
SAID = 2000


class BenchFailed(RuntimeError):
    """What was to be measured did not work."""


def run_bench(
    topic: str,
    rounds: int,
    per_worker: int,
    sizes: Sequence[int],
    workers: int,
    console: Console,
) -> None:
    """Measure and print the three comparisons.

    Args:
        topic: name of the topic.
        rounds: how often stock nbgrader and the judge take turns; 0 leaves this part out.
        per_worker: submissions for each worker while more workers are compared with one; 0 leaves
            this part out.
        sizes: classes of so many students are graded, from first to last step.
        workers: most submissions judged at the same time.
        console: where it is printed.

    Raises:
        BenchFailed: the judge did not give the completed notebook all points.
        ScaleFailed: a worker could not judge it.
        StockFailed: nbgrader could not grade.
    """
    with tempfile.TemporaryDirectory(prefix="autograder-") as folder:
        if rounds:
            _compare(topic, rounds, Path(folder), console)
            # What is measured next must not count its memory.
            end_own_process()
        if per_worker:
            _say(console, f"{topic}: {per_worker} completed notebooks for each worker, all warm")
            run_scale(topic, per_worker, workers, Path(folder) / "scale", console)
        if sizes:
            _grow(topic, sizes, workers, Path(folder), console)


def _compare(topic: str, rounds: int, folder: Path, console: Console) -> None:
    _say(console, f"{topic}: the completed notebook, {rounds} times each in turn, one core each")
    stock: list[Usage] = []
    judge: list[Usage] = []
    course = StockCourse.make(folder, topic)
    job = Job("anna", topic, course.notebook)
    with one_core():
        with measured() as first:
            _judge(job)
        for number in range(1, rounds + 1):
            with measured() as usage:
                course.autograde()
            stock.append(usage)
            with measured() as usage:
                _judge(job)
            judge.append(usage)
            _say(
                console,
                f"round {number}: stock {stock[-1].seconds:.1f} s, judge {judge[-1].seconds:.1f} s"
                f" (load {os.getloadavg()[0]:.1f})",
            )
    table = _table()
    _row(table, "stock nbgrader autograde", stock)
    _row(table, "this judge", judge)
    console.print(table)
    wall, cpu = (_median(stock, kind) / _median(judge, kind) for kind in ("seconds", "cpu_seconds"))
    _say(console, f"per core the judge is {wall:.1f} times as fast by the clock, {cpu:.1f} by CPU")
    extra = first.cpu_seconds - _median(judge, "cpu_seconds")
    _say(console, f"once for each worker, before its first submission: {extra:.1f} CPU s")
    _say(console, f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")


def _judge(job: Job) -> None:
    verdict = Verdict.model_validate_json(judge_in_own_process(job))
    if verdict.points != verdict.max_points:
        raise BenchFailed(f"the completed notebook got {verdict.points} of {verdict.max_points}")


def _grow(topic: str, sizes: Sequence[int], workers: int, folder: Path, console: Console) -> None:
    """Grade whole classes by the command that a TA uses; no two students gave the same answers."""
    _say(
        console,
        f"{topic}: `autograder grade` on classes, {workers} workers: judging, gradebook, "
        "feedback and report; per submission",
    )
    table = _table()
    for size in sizes:
        course = folder / f"class_of_{size}"
        hand_in(topic, size, course)
        with measured() as usage:
            _grade(topic, workers, course)
        shared = Usage(usage.seconds / size, usage.cpu_seconds / size, usage.peak_memory)
        _row(table, f"{size} students", [shared])
        _say(console, f"{size} students: {usage.seconds:.0f} s (load {os.getloadavg()[0]:.1f})")
    table.caption = "peak: of the whole grader, with all its workers"
    console.print(table)


def _grade(topic: str, workers: int, course: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "autograder", "grade", topic, "--workers", str(workers)],
        cwd=REPOSITORY,
        env={**os.environ, "AUTOGRADER_COURSE": str(course), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise BenchFailed(f"grading failed:\n{(result.stdout + result.stderr)[-SAID:]}")


def _median(usages: Sequence[Usage], kind: str) -> float:
    return median(getattr(usage, kind) for usage in usages)


def _table() -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    return table


def _row(table: Table, name: str, usages: Sequence[Usage]) -> None:
    seconds, cpu = _median(usages, "seconds"), _median(usages, "cpu_seconds")
    peak = max(usage.peak_memory for usage in usages) / MEBIBYTE
    table.add_row(name, f"{60 / seconds:.2f}", f"{seconds:.1f}", f"{cpu:.1f}", f"{peak:.0f}")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)
