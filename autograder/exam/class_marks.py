"""Marks a class: a table of answers in, a table of points out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autograder.exam.paper import Paper, read_answer
from course_utils.exam.marking import mark

STUDENT = "student"


@dataclass(frozen=True)
class ClassMark:
    """One student's marks.

    Attributes:
        student: as the table names the student.
        points: for each question of the paper.
        most: that could be earned.
    """

    student: str
    points: tuple[float, ...]
    most: int

    @property
    def total(self) -> float:
        """All points together."""
        return sum(self.points)


def mark_class(paper: Paper, answers: Path) -> list[ClassMark]:
    """Mark every row of a CSV file with a column `student` and one per question.

    A missing column or empty cell is a question without an answer.

    Raises:
        ValueError: the file is no such table.
    """
    # Spreadsheets begin a UTF-8 file with a mark of their own.
    text = answers.read_text(encoding="utf-8-sig")
    reader = csv.DictReader(io.StringIO(text))
    columns = reader.fieldnames or []
    if STUDENT not in columns:
        raise ValueError(f"{answers.name} needs a column {STUDENT!r}; it has {', '.join(columns)}")
    known = {str(number) for number in range(1, len(paper.items) + 1)}
    if strange := [name for name in columns if name != STUDENT and name not in known]:
        raise ValueError(
            f"the paper has questions 1 to {len(paper.items)}; column {strange[0]!r} is none"
        )
    rows = list(reader)
    names = [(row[STUDENT] or "").strip() for row in rows]
    if "" in names or len(set(names)) < len(names):
        raise ValueError("every row needs a student, and every student one row")
    return [ClassMark(name, _points(paper, row), paper.points) for name, row in
            zip(names, rows, strict=True)]  # fmt: skip


def _points(paper: Paper, row: dict[str, str | None]) -> tuple[float, ...]:
    points = []
    for number, item in enumerate(paper.items, 1):
        answer = read_answer(item, row.get(str(number)) or "", paper.order(item))
        points.append(mark(item, answer).score * item.question.minutes)
    return tuple(points)


def marks_csv(marks: Iterable[ClassMark]) -> str:
    """Return the marks as CSV: student, points, percent, then each question's points."""
    marks = list(marks)
    count = len(marks[0].points) if marks else 0
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([STUDENT, "points", "of", "percent", *range(1, count + 1)])
    for one in marks:
        percent = 100 * one.total / one.most
        parts = [f"{points:.2f}" for points in one.points]
        # A name such as =cmd|… would be a formula in a spreadsheet.
        name = f"'{one.student}" if one.student[:1] in "=+-@" else one.student
        writer.writerow([name, f"{one.total:.2f}", one.most, f"{percent:.1f}", *parts])
    return file.getvalue()
