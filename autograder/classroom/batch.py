"""Judges many submissions side by side on Dask.

Every submission is judged in an operating-system process of its own, started for a Dask worker.
So a submission that brings its process down costs nobody else anything.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autograder.classroom.jobs import Job, Judged, Parcel, judge_parcel, pack, work
from autograder.judge.identity import checks_hash
from autograder.judge.verdict import ExerciseVerdict, Verdict
from autograder.settings import COURSE

if TYPE_CHECKING:
    from dask.distributed import Client, Future

TICK_SECONDS = 1.0
# A worker that died is started again within seconds; one that a person has to start takes longer.
PATIENCE_SECONDS = 60.0
# Dask gives the second a level of its own.
DASK_LOGGERS = ("distributed", "distributed.client")
CLUSTER_SETTINGS = {
    # Once more on another worker, in case it was not the submission's fault.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.admin.log-length": 100,
    # A notebook with many figures is a large one; it is sent once and to one worker.
    "distributed.admin.large-graph-warning-threshold": "1 GB",
    "distributed.comm.timeouts.connect": "10s",
}


class ClusterLost(RuntimeError):
    """There is nothing to judge on any more: no scheduler, or no worker."""


@dataclass(frozen=True)
class Outcome:
    """What became of one submission.

    Attributes:
        student: who handed it in.
        verdict: the judgement; all exercises at 0 and `needs_review` where judging failed.
        broken: why there is no real verdict; empty when there is one.
        seconds: wall time of judging, in seconds; 0 when an earlier verdict was used.
        remembered: the verdict comes from an earlier run on the same content.
        judged: what the worker sent back; empty when an earlier verdict was used.
    """

    student: str
    verdict: Verdict
    broken: str = ""
    seconds: float = 0.0
    remembered: bool = False
    judged: Judged = field(default_factory=Judged)


Judge = Callable[[Parcel], tuple[str, float | None]]
"""Turns a parcel into a verdict's JSON and the CPU time it took, in a worker."""


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
    watch: Callable[[int], None] | None = None,
    scheduler: str | None = None,
    judge: Judge = judge_parcel,
) -> Iterator[Outcome]:
    """Judge submissions in parallel and yield each outcome as it comes.

    Args:
        jobs: what to judge.
        workers: processes of the local cluster.
        watch: called now and then with how many submissions are being judged.
        scheduler: address of a running Dask scheduler, whose workers have this package; without
            it a local cluster is started.
        judge: what a worker does; tests put their own here.

    Raises:
        ClusterLost: the scheduler cannot be reached, or has no worker. What was yielded stands.
    """
    if not jobs:
        return
    with _client(min(workers, len(jobs)), scheduler) as client:
        waiting = deque(jobs)
        running: dict[Future, Job] = {}
        slots = _Slots(client, scheduler)
        while waiting or running:
            # One at a time for each worker, so that a worker that dies takes one submission along.
            free = slots.count() - len(running)
            for job in [waiting.popleft() for _ in range(min(free, len(waiting)))]:
                running[client.submit(work, judge, pack(job), pure=False)] = job
            if watch is not None:
                watch(len(running))
            for future in _finished(running):
                if future.cancelled():
                    raise slots.lost()
                yield _outcome(running.pop(future), future)


def _finished(running: dict[Future, Job]) -> list[Future]:
    from dask.distributed import wait

    if not running:
        time.sleep(TICK_SECONDS)
        return []
    # Futures are cancelled when the scheduler is gone.
    with contextlib.suppress(TimeoutError, CancelledError):
        wait(list(running), timeout=TICK_SECONDS, return_when="FIRST_COMPLETED")
    return [future for future in running if future.done()]


class _Slots:
    """How many submissions can be judged at the same time; workers may come and go."""

    def __init__(self, client: Client, scheduler: str | None) -> None:
        self._client = client
        self._scheduler = scheduler
        self._seen = time.monotonic()

    def count(self) -> int:
        """Return the number of threads of all workers.

        Raises:
            ClusterLost: the scheduler is gone, or there has been no worker for a while.
        """
        try:
            threads = sum(self._client.nthreads().values())
        except (OSError, RuntimeError):
            raise self.lost() from None
        if threads:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > PATIENCE_SECONDS:
            where = f"dask worker {self._scheduler}" if self._scheduler else "less work beside it"
            raise ClusterLost(
                f"there has been no worker for {PATIENCE_SECONDS:.0f} s. What was judged is kept. "
                f"Start workers ({where}), then give the same command again."
            )
        return threads

    def lost(self) -> ClusterLost:
        """Say that there is no scheduler any more."""
        return ClusterLost(
            f"the Dask scheduler {self._scheduler or 'of this machine'} is gone. What was judged "
            "is kept. Start it again, then give the same command again."
        )


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    import dask
    from dask.distributed import Client

    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(CLUSTER_SETTINGS))
        if scheduler is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="autograder-"))
            cluster: Any = stack.enter_context(_local_cluster(workers, folder))
        else:
            cluster = scheduler
            # Dask tells at length what `ClusterLost` says in a sentence.
            for name in DASK_LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            client = stack.enter_context(Client(cluster))
        except (OSError, ValueError) as problem:
            raise ClusterLost(
                f"no Dask scheduler answers at {scheduler}: {problem}. Start it, then give the "
                "same command again."
            ) from None
        yield client


def _local_cluster(workers: int, folder: str) -> Any:
    from dask.distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # Any free port, and for this machine only.
            dashboard_address="127.0.0.1:0",
            # Judging limits memory itself; Dask would only see its own small process.
            memory_limit=0,
            local_directory=folder,
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as problem:
        reason = problem.__cause__ or problem
        raise ClusterLost(
            f"the workers could not be started on this machine: {reason}. What was judged is "
            "kept. Give the same command again."
        ) from None


def _outcome(job: Job, future: Any) -> Outcome:
    """Turn a finished future into an outcome; whatever went wrong, there is one."""
    error = future.exception()
    if error is not None:
        # Not the judge's trouble but the worker's.
        failure = f"{type(error).__name__}: {error}"
        if type(error).__name__ == "KilledWorker":
            failure = "two workers died while they judged it: out of memory, or somebody ended them"
        judged = Judged(failure=failure, details=str(error), started=time.time())
    else:
        judged = future.result()
    reason = judged.failure
    if not reason:
        try:
            verdict = Verdict.model_validate_json(judged.text)
            reason = _misfit(job, verdict)
            if not reason:
                return Outcome(job.student, verdict, seconds=judged.seconds, judged=judged)
        except ValueError as problem:
            reason = f"the worker sent no verdict: {problem}"
    return Outcome(
        job.student, failed_verdict(job, reason), reason, seconds=judged.seconds, judged=judged
    )


def _misfit(job: Job, verdict: Verdict) -> str:
    """Say why a verdict is not one on this job by these checks; empty when it is."""
    if verdict.topic != job.topic:
        return f"the worker judged {verdict.topic!r}, not {job.topic!r}"
    if verdict.identity.get("checks") != checks_hash(job.topic):
        return "the worker has other checks than this machine: install the same course on both"
    if not verdict.identity.get("submission"):
        return "the verdict does not say what it is on"
    return ""


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
