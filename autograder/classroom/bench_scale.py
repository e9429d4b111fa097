"""Measures how much faster several workers judge, beside what the cores give any program.

Two cores that share their arithmetic units, as most laptops' do, never compute twice as much as
one. So the same is measured of processes that only compute and have nothing to do with each other.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import nbformat
from rich.console import Console
from rich.table import Table

from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.classroom.batch import Outcome, judge_all
from autograder.classroom.jobs import Job, Judged

COMPUTE_SECONDS = 5.0


class ScaleFailed(RuntimeError):
    """A submission could not be judged, so that nothing was measured."""


def hand_in(topic: str, size: int, course: Path) -> list[Job]:
    """Hand in the completed notebook for a whole class; no two students gave the same answers."""
    source = load_source(topic)
    answer = source.exercises[0]
    jobs = []
    for number in range(1, size + 1):
        student = f"student_{number:03}"
        path = course / "submitted" / student / topic / f"{source.notebook_name}.ipynb"
        path.parent.mkdir(parents=True)
        text = f"{answer.solution}\n# student {number}"
        nbformat.write(complete_notebook(topic, {answer.name: text}), path)
        jobs.append(Job(student, topic, path))
    return jobs


def run_scale(topic: str, per_worker: int, workers: int, folder: Path, console: Console) -> None:
    """Judge classes with 1, 2, 4, … workers and print how many submissions a minute they judge.

    Args:
        topic: name of the topic.
        per_worker: submissions for each worker, at least 2; the first of each makes it warm and
            does not count.
        workers: most workers.
        folder: where the submissions are written.
        console: where it is printed.

    Raises:
        ScaleFailed: a submission could not be judged.
        ValueError: `per_worker` is below 2.
    """
    if per_worker < 2:
        raise ValueError("each worker judges at least 2 submissions: the first makes it warm")
    jobs = hand_in(topic, per_worker * workers, folder)
    steps = [2**step for step in range(workers.bit_length()) if 2**step < workers]
    table = Table("workers", box=None, padding=(0, 2, 0, 0))
    for heading in ("submissions a minute", "times one worker", "times one, only computing"):
        table.add_column(heading, justify="right")
    first = alone = 0.0
    for number in [*steps, workers]:
        rate = warm_rate(list(judge_all(jobs[: per_worker * number], number)))
        computed = computing_rate(number)
        first, alone = first or rate, alone or computed
        table.add_row(
            str(number), f"{60 * rate:.2f}", f"{rate / first:.2f}", f"{computed / alone:.2f}"
        )
    console.print(table)


def warm_rate(outcomes: Sequence[Outcome]) -> float:
    """Return the submissions per second of all workers together, once each has judged one.

    Raises:
        ScaleFailed: a submission could not be judged.
    """
    if broken := [outcome.broken for outcome in outcomes if outcome.broken]:
        raise ScaleFailed(f"a submission could not be judged: {broken[0]}")
    by_worker: dict[str, list[Judged]] = defaultdict(list)
    for outcome in outcomes:
        by_worker[outcome.judged.worker].append(outcome.judged)
    rate = 0.0
    for judged in by_worker.values():
        ends = sorted(one.started + one.seconds for one in judged)
        if len(ends) > 1:
            rate += (len(ends) - 1) / (ends[-1] - ends[0])
    return rate


def computing_rate(processes: int) -> float:
    """Return how many steps a second so many processes train a small net, all together."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _remember, (together,)) as pool:
        return sum(pool.map(_train, [COMPUTE_SECONDS] * processes))


def _remember(together: Barrier) -> None:
    global _together
    _together = together


def _train(seconds: float) -> float:
    """Train as soon as every process is ready, and return the steps a second."""
    import torch

    from course_utils.models import LeNet

    torch.set_num_threads(1)
    model, images = LeNet(), torch.zeros(64, 1, 28, 28)
    model(images).sum().backward()
    _together.wait()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        model(images).sum().backward()
        steps += 1
    return steps / seconds
