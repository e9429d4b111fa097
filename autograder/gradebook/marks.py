"""Reads marks out of nbgrader's gradebook; nothing is written here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config, PyFileConfigLoader

from autograder import settings
from autograder.gradebook.patience import wait_for_locks

CONFIG_FILE = "nbgrader_config.py"


@dataclass(frozen=True)
class Marks:
    """One student's marks in one topic, as the gradebook has them.

    Attributes:
        topic: name of the topic.
        student: the student id.
        handed_in: there is a graded submission.
        score: points with a person's marks, before the late penalty.
        penalty: points taken off because it came late.
        max_score: points there are.
        timestamp: time of submission, UTC; None where it is not known.
        waiting: names of the cells that a person still has to mark.
        automatic: name of the cell -> points that the checks gave; None where there are none.
        manual: name of the cell -> points that a person gave; only where one did.
        first_name: from nbgrader's list of students.
        last_name: from nbgrader's list of students.
        email: from nbgrader's list of students.
    """

    topic: str
    student: str
    handed_in: bool
    score: float = 0.0
    penalty: float = 0.0
    max_score: float = 0.0
    timestamp: datetime | None = None
    waiting: tuple[str, ...] = ()
    automatic: dict[str, float | None] = field(default_factory=dict)
    manual: dict[str, float] = field(default_factory=dict)
    first_name: str = ""
    last_name: str = ""
    email: str = ""

    @property
    def final(self) -> float:
        """Points that count, as nbgrader's own export has them."""
        return round(max(0.0, self.score - self.penalty), 2)


def database_url() -> str:
    """Return the gradebook's address from nbgrader's settings of this course."""
    config = Config()
    if (settings.REPOSITORY / CONFIG_FILE).is_file():
        config = PyFileConfigLoader(CONFIG_FILE, path=str(settings.REPOSITORY)).load_config()
    # The class's folder is this program's, also where a test or a TA has put it elsewhere.
    config.CourseDirectory.root = str(settings.COURSE)
    return str(CourseDirectory(config=config).db_url)


@contextmanager
def open_gradebook() -> Iterator[Gradebook]:
    """Open the gradebook for reading.

    Raises:
        ValueError: there is none yet.
    """
    url = database_url()
    if url.startswith("sqlite:///"):
        path = settings.COURSE / url.removeprefix("sqlite:///")
        # Opening a missing one would make an empty one.
        if not path.is_file():
            raise ValueError(f"there is no gradebook at {path}; grade the topic first")
    wait_for_locks()
    with Gradebook(url) as books:
        yield books


def read_marks(topic: str) -> list[Marks]:
    """Return the marks of everybody in the gradebook, sorted by student.

    Raises:
        ValueError: there is no gradebook, or the topic is not in it.
    """
    with open_gradebook() as books:
        try:
            assignment = books.find_assignment(topic)
        except MissingEntry:
            raise ValueError(f"{topic} is not in the gradebook; grade it first") from None
        highest = float(assignment.max_score)
        submissions = {record.student_id: record for record in assignment.submissions}
        return [
            _marks(topic, student, submissions.get(student.id), highest)
            for student in sorted(books.students, key=lambda student: student.id)
        ]


def _marks(topic: str, student: Any, record: Any, highest: float) -> Marks:
    names = {key: getattr(student, key) or "" for key in ("first_name", "last_name", "email")}
    if record is None:
        return Marks(topic, student.id, False, max_score=highest, **names)
    grades = [grade for notebook in record.notebooks for grade in notebook.grades]
    return Marks(
        topic=topic,
        student=student.id,
        handed_in=True,
        score=float(record.score or 0.0),
        penalty=float(record.late_submission_penalty or 0.0),
        max_score=highest,
        timestamp=record.timestamp,
        waiting=tuple(grade.name for grade in grades if grade.needs_manual_grade),
        automatic={grade.name: grade.auto_score for grade in grades},
        manual={g.name: g.manual_score for g in grades if g.manual_score is not None},
        **names,
    )
