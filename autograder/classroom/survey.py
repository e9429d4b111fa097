"""Looks at a class without touching it: what would be judged, and what is up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder import settings
from autograder.authoring.source import load_source
from autograder.classroom.batch import find_jobs
from autograder.classroom.jobs import Job, pack
from autograder.gradebook.folders import without_notebook
from autograder.gradebook.marks import Marks, read_marks
from autograder.gradebook.verdicts import RECORD, STORE_FOLDER, finished
from autograder.judge.identity import verdict_key
from autograder.judge.store import VerdictStore
from autograder.judge.submission import Submission
from autograder.judge.verdict import Verdict

CLOSE = 1e-6


@dataclass(frozen=True)
class Standing:
    """How far one submission is.

    Attributes:
        job: the submission.
        verdict: the stored one on this very content by the checks as they are; None if there is
            none, or it is damaged.
        unreadable: why the file cannot be read; empty when it can.
        note: what is odd about the file's name.
        in_books: marks and feedback are made from this very file and this verdict.
    """

    job: Job
    verdict: Verdict | None
    unreadable: str = ""
    note: str = ""
    in_books: bool = False


def survey_topic(topic: str, students: Sequence[str] | None = None) -> list[Standing]:
    """Return how far each submission of a topic is; nothing is written.

    Raises:
        ValueError: nobody, or not all of `students`, handed in.
    """
    name = load_source(topic).notebook_name
    jobs = find_jobs(topic, name, None if students is None else list(students))
    if not jobs:
        root = settings.COURSE / "submitted"
        raise ValueError(f"nothing was handed in for {topic} under {root}")
    notes: dict[str, str] = {}
    misnamed: dict[str, Path] = {}
    for student, (_, other) in without_notebook(topic).items():
        notes[student] = f"there is no notebook called {name}.ipynb"
        if other is not None:
            misnamed[student] = other
            notes[student] = f"the notebook is called {other.name}"
    found = [Job(j.student, topic, misnamed.get(j.student, j.path)) for j in jobs]
    return survey(found, notes)


def survey(jobs: Sequence[Job], notes: dict[str, str] | None = None) -> list[Standing]:
    """Return how far each of these submissions is."""
    if not jobs:
        return []
    store = VerdictStore(settings.COURSE / STORE_FOLDER)
    try:
        marks = {mark.student: mark for mark in read_marks(jobs[0].topic)}
    except ValueError:
        marks = {}
    found = []
    for job in jobs:
        submission = pack(job).submission()
        verdict = store.get(verdict_key(job.topic, submission.content_hash))
        unreadable = submission.problems[0] if submission.unreadable else ""
        current = verdict is not None and _in_books(job, submission, verdict, marks)
        note = (notes or {}).get(job.student, "")
        found.append(Standing(job, verdict, unreadable, note, current))
    return found


def _in_books(job: Job, submission: Submission, verdict: Verdict, marks: dict[str, Marks]) -> bool:
    """Tell whether gradebook, autograded copy and feedback page are all made from this."""
    mark = marks.get(job.student)
    if mark is None or not mark.handed_in:
        return False
    for exercise in verdict.exercises:
        points = mark.automatic.get(f"{exercise.name}-check")
        if points is None or abs(points - exercise.points) > CLOSE:
            return False
    copy = settings.COURSE / "autograded" / job.student / job.topic / job.path.name
    page = settings.COURSE / "feedback" / job.student / job.topic / f"{job.path.stem}.html"
    try:
        noted = json.loads(copy.read_bytes())["metadata"][RECORD]
        return noted == finished(job.path, submission) and (
            page.stat().st_mtime_ns >= copy.stat().st_mtime_ns
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
