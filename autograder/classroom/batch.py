"""Judges many submissions side by side, then has nbgrader keep the books.

Every submission is judged in an operating-system process of its own, started for a Dask worker.
So a submission that brings its process down costs nobody else anything.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.classroom.warm_judge import WarmJudge
from autograder.judge.verdict import ExerciseVerdict, Verdict
from autograder.settings import COURSE, Limits

if TYPE_CHECKING:
    from dask.distributed import Client

# For the judge itself, on top of the time that the submission may take. It is long, because on a
# machine that is very busy a submission may take many times its CPU time.
EXTRA_SECONDS = 6300.0
LAST_WORDS = 600
CLUSTER_SETTINGS = {
    # Once more on another worker, in case it was not the submission's fault.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.admin.log-length": 100,
}


@dataclass(frozen=True)
class Job:
    """One submission to judge."""

    student: str
    topic: str
    path: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one submission.

    Attributes:
        student: who handed it in.
        verdict: the judgement; all exercises at 0 and `needs_review` where judging failed.
        broken: why there is no real verdict; empty when there is one.
        seconds: wall time of judging, in seconds; 0 when an earlier verdict was used.
        remembered: the verdict comes from an earlier run on the same content.
    """

    student: str
    verdict: Verdict
    broken: str = ""
    seconds: float = 0.0
    remembered: bool = False


# A warm process for each thread that judges: each Dask worker has one.
_warm = threading.local()

Reporter = Callable[[Outcome, int, int], None]
"""Called after each submission with its outcome, how many are done, and how many there are."""


def find_jobs(topic: str, notebook: str, students: list[str] | None = None) -> list[Job]:
    """Return the submissions under course/submitted, sorted by student.

    Args:
        topic: name of the topic, nbgrader's assignment name.
        notebook: file name of the notebook, without the extension.
        students: only these; None is everyone.

    Raises:
        ValueError: one of `students` handed nothing in.
    """
    root = COURSE / "submitted"
    folders = {path.parent.name: path for path in sorted(root.glob(f"*/{topic}")) if path.is_dir()}
    if unknown := sorted(set(students or []) - set(folders)):
        raise ValueError(f"no submission of {', '.join(unknown)} under {root}")
    chosen = sorted(folders if students is None else students)
    return [Job(name, topic, folders[name] / f"{notebook}.ipynb") for name in chosen]


def judge_all(
    jobs: list[Job],
    workers: int,
    *,
    report: Reporter | None = None,
    scheduler: str | None = None,
    judge: Callable[[Job], str] | None = None,
) -> Iterator[Outcome]:
    """Judge submissions in parallel and yield each outcome as it comes.

    Args:
        jobs: what to judge.
        workers: processes of the local cluster.
        report: called after each submission.
        scheduler: address of a running Dask scheduler whose workers see the same files; without
            it a local cluster is started.
        judge: turns a job into a verdict's JSON in a worker; tests put their own here.
    """
    if not jobs:
        return
    from dask.distributed import as_completed

    judge = judge or judge_in_own_process
    with _client(min(workers, len(jobs)), scheduler) as client:
        waiting = iter(jobs)
        submitted: dict[Any, Job] = {}

        def submit_next() -> list[Any]:
            job = next(waiting, None)
            if job is None:
                return []
            future = client.submit(_timed, judge, job, pure=False)
            submitted[future] = job
            return [future]

        # One at a time for each worker, so that a worker that dies takes one submission along.
        slots = range(sum(client.nthreads().values()))
        finished = as_completed([future for _ in slots for future in submit_next()])
        for done, future in enumerate(finished, start=1):
            outcome = _outcome(submitted.pop(future), future)
            finished.update(submit_next())
            if report is not None:
                report(outcome, done, len(jobs))
            yield outcome


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    import dask
    from dask.distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(CLUSTER_SETTINGS))
        if scheduler is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="autograder-"))
            cluster: Any = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    # Judging limits memory itself; Dask would only see its own small process.
                    memory_limit=0,
                    local_directory=folder,
                    silence_logs=logging.CRITICAL,
                )
            )
        else:
            cluster = scheduler
        yield stack.enter_context(Client(cluster))


def _timed(judge: Callable[[Job], str], job: Job) -> tuple[str, float]:
    started = time.perf_counter()
    return judge(job), time.perf_counter() - started


def _outcome(job: Job, future: Any) -> Outcome:
    """Turn a finished future into an outcome; whatever went wrong, there is one."""
    error = future.exception()
    if error is None:
        text, seconds = future.result()
        try:
            return Outcome(job.student, Verdict.model_validate_json(text), seconds=seconds)
        except ValueError as problem:
            error = problem
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Outcome(job.student, failed_verdict(job, reason), broken=reason)


def judge_in_own_process(job: Job) -> str:
    """Judge one submission in a process of its own, and return the verdict as JSON.

    Raises:
        RuntimeError: the process ended without a verdict, or took too long.
    """
    limit = Limits().submission_wall_seconds + EXTRA_SECONDS
    if not hasattr(_warm, "judge"):
        _warm.judge = WarmJudge()
    with tempfile.TemporaryDirectory(prefix="autograder-") as folder:
        output, log = Path(folder) / "verdict.json", Path(folder) / "complaints.txt"
        order = {"submission": str(job.path), "topic": job.topic, "student": job.student}
        code = _warm.judge.judge({**order, "output": str(output), "log": str(log)}, limit)
        if code is None:
            raise RuntimeError(f"judging took longer than {limit:.0f} s and was stopped")
        if code != 0 or not output.is_file():
            said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
            words = said[-LAST_WORDS:].strip()
            raise RuntimeError(f"judging ended with exit code {code}: {words}")
        return output.read_text(encoding="utf-8")


def failed_verdict(job: Job, reason: str) -> Verdict:
    """Return the verdict where judging itself failed: no points, and a person has to look."""
    from autograder.authoring.source import load_source

    message = "This exercise could not be judged. Your teacher will look at it."
    exercises = [
        ExerciseVerdict(
            name=exercise.name, points=0, max_points=exercise.points, checks=[], message=message
        )
        for exercise in load_source(job.topic).exercises
    ]
    return Verdict(
        topic=job.topic,
        student=job.student,
        exercises=exercises,
        problems=[f"judging failed: {reason}"],
        needs_review=True,
    )
