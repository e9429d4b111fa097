"""Grades everybody who handed in: verdicts in parallel, then gradebook, feedback and report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from sqlalchemy.exc import OperationalError

from autograder import settings
from autograder.authoring.build import build_topic
from autograder.authoring.source import TopicSource, load_source
from autograder.classroom.batch import Outcome, find_jobs, judge_all
from autograder.classroom.jobs import Job, pack
from autograder.classroom.locks import alone
from autograder.classroom.logs import write_log
from autograder.classroom.progress import Board
from autograder.classroom.report import report_path, write_report
from autograder.classroom.similarity import similar_submissions
from autograder.classroom.survey import survey
from autograder.gradebook.folders import forget_unfinished, prepare_submissions
from autograder.gradebook.mend import mend_gradebook
from autograder.gradebook.verdicts import STORE_FOLDER
from autograder.judge.identity import verdict_key
from autograder.judge.store import VerdictStore
from autograder.judge.submission import Submission, read_submission
from autograder.judge.verdict import Verdict
from autograder.sandbox.bubblewrap import require_sandbox
from autograder.settings import COURSE, REPOSITORY

FEEDBACK = COURSE / "feedback"
LOG_TAIL = 2000
LOCKS = "locks"
LOCKED = (
    "Another program has the gradebook open and does not let go: end it, such as Formgrader or a "
    "database browser. Then give the same command again; what was judged is kept."
)


class BookkeepingFailed(RuntimeError):
    """A command of nbgrader failed; the text holds the end of what it said."""


@dataclass(frozen=True)
class Graded:
    """The result of grading a class.

    Attributes:
        outcomes: one for each student who was graded now.
        report: where the report is.
        unchanged: students who were left alone, because all is up to date.
    """

    outcomes: list[Outcome]
    report: Path
    unchanged: list[str] = field(default_factory=list)


def verdict_store() -> VerdictStore:
    """Return the store that batch grading and nbgrader share."""
    return VerdictStore(COURSE / STORE_FOLDER)


def grade(
    topic: str,
    workers: int,
    students: Sequence[str] | None = None,
    *,
    console: Console | None = None,
    scheduler: str | None = None,
    again: bool = False,
    only_changed: bool = False,
    books: bool = True,
) -> Graded:
    """Judge the submissions of a topic, fill the gradebook, write feedback and report.

    Verdicts are kept as they come, so a run that was cut short goes on where it was. A second
    grader of the same topic waits for the first.

    Args:
        topic: name of the topic.
        workers: submissions judged at the same time.
        students: only these; None is everyone.
        console: where progress is shown.
        scheduler: address of a Dask scheduler; None starts workers on this machine.
        again: judge anew what has a verdict already.
        only_changed: leave alone whose marks and feedback are up to date.
        books: fill the gradebook and write feedback too.

    Raises:
        SandboxUnavailable: there is no sandbox here.
        ValueError: nobody, or not all of `students`, handed in.
        BookkeepingFailed: nbgrader could not do its part.
        ClusterLost: there is nothing to judge on any more.
        OSError: the disk is full, or a folder may not be written.
    """
    require_sandbox()
    source = load_source(topic)
    console = console or Console(stderr=True)

    with alone_on(topic, console):
        for student, note in prepare_submissions(topic).items():
            console.print(f"{student}: {note}", markup=False, highlight=False)
        chosen = None if students is None else list(students)
        jobs = find_jobs(topic, source.notebook_name, chosen)
        if not jobs:
            raise ValueError(f"nothing was handed in for {topic} under {COURSE / 'submitted'}")
        unchanged: list[str] = []
        if only_changed:
            unchanged = [item.job.student for item in survey(jobs) if item.in_books]
            jobs = [job for job in jobs if job.student not in unchanged]
        outcomes = judge_jobs(jobs, workers, console, scheduler, again=again)
        if books and outcomes:
            keep_books(topic, outcomes, console)
        report = report_path(topic)
        if outcomes or not report.is_file():
            # It is on the whole class, also where only some were graded now.
            report = _write_report(source, {o.student: o.verdict for o in outcomes})
        return Graded(outcomes, report, unchanged)


@contextmanager
def alone_on(topic: str, console: Console) -> Iterator[None]:
    """Keep other graders away from a topic during the block; wait for those there are."""

    def wait() -> None:
        console.print(f"Another grader is at work on {topic}; waiting until it is done.")

    with alone(settings.COURSE / LOCKS / f"{topic}.lock", wait):
        yield


def report_on_known(topic: str) -> Path:
    """Write the report from the verdicts there are, without judging anything.

    Raises:
        ValueError: nothing has been judged yet.
    """
    return _write_report(load_source(topic), {})


def _write_report(source: TopicSource, fresh: Mapping[str, Verdict]) -> Path:
    """Write the report from these verdicts, and for everybody else from the store."""
    store = verdict_store()
    verdicts: list[Verdict] = []
    submissions: dict[str, Submission] = {}
    unjudged: list[str] = []
    for job in find_jobs(source.topic, source.notebook_name):
        submissions[job.student] = read_submission(job.path, job.topic)
        key = verdict_key(source.topic, submissions[job.student].content_hash)
        verdict = fresh.get(job.student) or store.get(key)
        if verdict is None:
            unjudged.append(job.student)
        else:
            verdicts.append(verdict.model_copy(update={"student": job.student}))
    similar = similar_submissions(source, submissions)
    path = report_path(source.topic)
    return write_report(source.topic, source.title, verdicts, path, similar, unjudged)


def judge_jobs(
    jobs: list[Job],
    workers: int,
    console: Console,
    scheduler: str | None = None,
    *,
    again: bool = False,
) -> list[Outcome]:
    """Judge submissions and keep their verdicts; those that have one are not judged again.

    Args:
        jobs: what to judge.
        workers: submissions judged at the same time.
        console: where progress is shown.
        scheduler: address of a Dask scheduler; None starts workers on this machine.
        again: judge anew what has a verdict already.

    Returns:
        An outcome for each job, in the jobs' order.
    """
    store = verdict_store()
    outcomes: dict[str, Outcome] = {}
    for job in [] if again else jobs:
        known = store.get(verdict_key(job.topic, pack(job).submission().content_hash))
        if known is not None:
            # The same answers of another student have the same verdict.
            verdict = known.model_copy(update={"student": job.student})
            outcomes[job.student] = Outcome(job.student, verdict, remembered=True)
    waiting = [job for job in jobs if job.student not in outcomes]
    if not waiting:
        return [outcomes[job.student] for job in jobs]
    topic = jobs[0].topic
    with Board(len(waiting), console, workers) as board:
        for outcome in judge_all(waiting, workers, scheduler=scheduler, watch=board.judging):
            if not outcome.broken:
                # Kept under what was judged, also where another file lies there by now.
                content = outcome.verdict.identity["submission"]
                store.put(verdict_key(topic, content), outcome.verdict)
            write_log(topic, outcome)
            outcomes[outcome.student] = outcome
            board.finished(outcome)
    return [outcomes[job.student] for job in jobs]


def keep_books(topic: str, outcomes: Sequence[Outcome], console: Console) -> None:
    """Have nbgrader copy the verdicts into its gradebook and write feedback.

    Raises:
        BookkeepingFailed: a command of nbgrader failed.
    """
    with alone(settings.COURSE / LOCKS / "gradebook.lock") as lock:
        _keep_books(topic, outcomes, console, lock)


def _keep_books(topic: str, outcomes: Sequence[Outcome], console: Console, lock: int) -> None:
    build_topic(topic)
    try:
        mend_gradebook()
    except OperationalError as problem:
        raise BookkeepingFailed(
            f"the gradebook cannot be opened: {problem.orig}\n{LOCKED}"
        ) from None
    forget_unfinished(topic)
    chosen = {outcome.student for outcome in outcomes}
    everyone = {path.parent.name for path in (COURSE / "submitted").glob(f"*/{topic}")}
    only = [
        "--force",
        f"--CourseDirectory.student_id_exclude={','.join(sorted(everyone - chosen))}",
    ]
    # Without a verdict there are no points: nbgrader reports those students, and goes on.
    may_fail = any(outcome.broken for outcome in outcomes)
    with console.status("preparing the gradebook"):
        run_nbgrader("generate_assignment", topic, "--force", lock=lock)
    with console.status("filling the gradebook"):
        find = f"--AttachVerdict.find_verdict={__name__}.{stored_verdict.__name__}"
        run_nbgrader("autograde", topic, *only, find, may_fail=may_fail, lock=lock)
    with console.status("writing feedback"):
        run_nbgrader("generate_feedback", topic, *only, may_fail=may_fail, lock=lock)


def stored_verdict(path: Path, topic: str, student: str, course: Path) -> Verdict:
    """Return the verdict that was stored; nbgrader must not judge anew what judging failed on.

    Raises:
        LookupError: there is none.
    """
    key = verdict_key(topic, read_submission(path, topic).content_hash)
    verdict = VerdictStore(course / STORE_FOLDER).get(key)
    if verdict is None:
        raise LookupError(f"{student}: there is no verdict")
    return verdict.model_copy(update={"student": student})


def run_nbgrader(
    command: str, *arguments: str, may_fail: bool = False, lock: int | None = None
) -> str:
    """Run one command of nbgrader on this course, and return what it said.

    Args:
        command: its name.
        arguments: what follows.
        may_fail: an error of some student is no error of the command.
        lock: descriptor of a lock that the command holds as long as it runs.

    Raises:
        BookkeepingFailed: it ended with an error, and `may_fail` was not given; or it was killed,
            or the gradebook was locked, which is no error of some student.
    """
    result = subprocess.run(
        [sys.executable, "-m", "nbgrader", command, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[] if lock is None else [lock],
    )
    said = result.stdout + result.stderr
    if result.returncode < 0:
        # Half of the class may be done; that is no error of some student.
        raise BookkeepingFailed(
            f"nbgrader {command} was killed (signal {-result.returncode}). "
            "Give the same command again; what was judged is kept."
        )
    locked = "database is locked" in said
    if result.returncode != 0 and (locked or not may_fail):
        text = f"nbgrader {command} failed:\n{said[-LOG_TAIL:]}"
        if locked:
            text += f"\n{LOCKED}"
        raise BookkeepingFailed(text)
    return said
