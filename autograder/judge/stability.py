"""How steady the judge is: the same submission, many seeds, and a machine that is busy."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from autograder.authoring.source import TopicSource, load_source
from autograder.judge.judge import judge
from autograder.judge.submission import Submission, reference_submission
from autograder.sandbox.zygote import Zygote


@dataclass
class Stability:
    """What came out of many runs.

    Attributes:
        runs: how often each of the two was judged, each time with another seed.
        reference_full: runs in which the reference got all the points.
        untouched_zero: runs in which the untouched notebook got none.
        seconds: what judging the reference took, run by run.
        surprises: what failed or passed against expectation.
    """

    runs: int = 0
    reference_full: int = 0
    untouched_zero: int = 0
    seconds: list[float] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)


def untouched_submission(source: TopicSource) -> Submission:
    """Return the submission of somebody who changed nothing."""
    answers = {cell.name: cell.stub for cell in source.of_kind("exercise")}
    return Submission(source.topic, answers=answers)


def measure_stability(topic: str, runs: int, *, busy_processes: int = 1) -> Iterator[Stability]:
    """Judge the reference and the untouched notebook `runs` times; yield after each run.

    Args:
        topic: name of the topic.
        runs: how often.
        busy_processes: processes that compute all the time meanwhile.
    """
    source = load_source(topic)
    result = Stability()
    zygote = Zygote()
    try:
        with _busy(busy_processes):
            for seed in range(runs):
                good = judge(reference_submission(source), source, seed=seed, zygote=zygote)
                none = judge(untouched_submission(source), source, seed=seed, zygote=zygote)
                result.runs += 1
                result.reference_full += good.points == good.max_points
                result.untouched_zero += none.points == 0
                result.seconds.append(good.seconds)
                result.surprises += [
                    f"seed {seed}: {check.name}: {check.message}"
                    for exercise in good.exercises
                    for check in exercise.checks
                    if not check.passed
                ]
                yield result
    finally:
        zygote.close()


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep `count` processes computing."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _compute() -> None:
    number = 1
    while True:
        number = number * 3 % 1_000_003
