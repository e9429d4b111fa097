"""What is sent to a worker and what comes back: a submission's bytes, and a verdict as data.

A worker may be another machine. It has this package and nothing of the class: no path of the
grader's is ever opened there.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autograder.classroom.warm_judge import WarmJudge
from autograder.judge.notebook_file import UnreadableError, read_bytes
from autograder.judge.submission import Submission, parse_submission, unreadable_submission
from autograder.settings import Limits

# For the judge itself, on top of the time that the submission may take. It is long, because on a
# machine that is very busy a submission may take many times its CPU time.
EXTRA_SECONDS = 6300.0
MOST_WORDS = 20_000


@dataclass(frozen=True)
class Job:
    """One submission to judge."""

    student: str
    topic: str
    path: Path


@dataclass(frozen=True)
class Parcel:
    """A submission as it is sent.

    Attributes:
        student: who handed it in.
        topic: name of the topic.
        name: the notebook's file name.
        content: the file's bytes.
        unreadable: why there are no bytes; empty when there are.
    """

    student: str
    topic: str
    name: str
    content: bytes = b""
    unreadable: str = ""

    def submission(self) -> Submission:
        """Return what counts of it."""
        if self.unreadable:
            return unreadable_submission(self.topic, self.unreadable)
        return parse_submission(self.content, self.topic)


@dataclass(frozen=True)
class Judged:
    """What a worker sends back.

    Attributes:
        text: the verdict as JSON; empty where judging failed.
        failure: one line that says why it failed.
        details: everything that was said about it, such as the traceback.
        worker: machine and process that judged.
        started: when, in seconds since 1970.
        seconds: wall time.
        cpu_seconds: CPU time of the judge and of the sandbox, as far as the system counted it;
            None where it is not known.
    """

    text: str = ""
    failure: str = ""
    details: str = ""
    worker: str = ""
    started: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float | None = None


class JudgingFailed(RuntimeError):
    """There is no verdict: the reason in a line, and all that was said."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.details = details


# A warm process for each thread that judges: each Dask worker has one.
_warm = threading.local()


def pack(job: Job) -> Parcel:
    """Read a submission, so that it can be sent."""
    try:
        content = read_bytes(job.path)
    except UnreadableError as problem:
        return Parcel(job.student, job.topic, job.path.name, unreadable=str(problem))
    return Parcel(job.student, job.topic, job.path.name, content)


def judge_parcel(parcel: Parcel) -> tuple[str, float | None]:
    """Judge one submission in a process of its own; return the verdict's JSON and the CPU time.

    Raises:
        JudgingFailed: the process ended without a verdict, or took too long.
    """
    limit = Limits().submission_wall_seconds + EXTRA_SECONDS
    if not hasattr(_warm, "judge"):
        _warm.judge = WarmJudge()
    with tempfile.TemporaryDirectory(prefix="autograder-") as folder:
        place = Path(folder)
        submission = place / "submission" / parcel.name
        submission.parent.mkdir()
        submission.write_bytes(parcel.content)
        output, log, usage = place / "verdict.json", place / "complaints.txt", place / "usage.txt"
        order = {
            "submission": str(submission),
            "unreadable": parcel.unreadable,
            "topic": parcel.topic,
            "student": parcel.student,
            "output": str(output),
            "log": str(log),
            "usage": str(usage),
        }
        code = _warm.judge.judge(order, limit)
        said = _read(log).strip()
        if code is None:
            raise JudgingFailed(f"judging took longer than {limit:.0f} s and was stopped", said)
        if code != 0 or not output.is_file():
            last = said.splitlines()[-1] if said else "it said nothing"
            raise JudgingFailed(f"judging ended with exit code {code}: {last}", said)
        spent = _read(usage)
        return output.read_text(encoding="utf-8"), float(spent) if spent else None


def judge_in_own_process(job: Job) -> str:
    """Judge a submission that lies on this machine, and return the verdict as JSON.

    Raises:
        JudgingFailed: the process ended without a verdict, or took too long.
    """
    return judge_parcel(pack(job))[0]


def end_own_process() -> None:
    """End this thread's warm process and give its memory back; the next submission starts one."""
    if hasattr(_warm, "judge"):
        _warm.judge.close()


def work(judge: Callable[[Parcel], tuple[str, float | None]], parcel: Parcel) -> Judged:
    """Judge in a worker; a failure comes back as data, too."""
    import traceback

    started, clock = time.time(), time.perf_counter()
    text = failure = details = ""
    cpu_seconds = None
    try:
        text, cpu_seconds = judge(parcel)
    except JudgingFailed as problem:
        failure, details = str(problem), problem.details
    except Exception as problem:
        failure = f"{type(problem).__name__}: {problem}"
        details = traceback.format_exc()
    return Judged(
        text=text,
        failure=failure,
        details=details[-MOST_WORDS:],
        worker=f"{socket.gethostname()}, process {os.getpid()}",
        started=started,
        seconds=time.perf_counter() - clock,
        cpu_seconds=cpu_seconds,
    )


def _read(path: Path) -> str:
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")[-MOST_WORDS:]
