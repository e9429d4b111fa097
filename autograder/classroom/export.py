"""Writes the gradebook's marks as CSV: plain, for Moodle, or for Canvas.

Marks come from nbgrader's gradebook, so a person's marks and late penalties are in them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder import settings
from autograder.authoring.source import load_source
from autograder.classroom.collect import read_numbers
from autograder.classroom.formats import ALL, Format
from autograder.classroom.roster import Person, Roster
from autograder.files import write_whole
from autograder.gradebook.marks import Marks, read_marks

EXPORT = "export"
# A cell that begins so is a formula to Excel, LibreOffice or Google Sheets, also in full width.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "|", "%")
# What Moodle writes itself where nothing has been marked yet.
NEVER = "-"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
PLAIN_COLUMNS = (
    "topic",
    "student_id",
    "name",
    "email",
    "handed_in",
    "timestamp",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
    "waits_for_a_person",
)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        rows: how many students (in the plain form: marks) are in it.
        waiting: "student: topic: cells" for marks that a person still has to give.
        unknown: students whom the learning system will not know by this file.
    """

    path: Path
    rows: int
    waiting: list[str]
    unknown: list[str]


def export(
    topics: Sequence[str],
    form: Format,
    roster: Roster | None = None,
    *,
    to: Path | None = None,
    column: str = "",
    only_final: bool = False,
) -> Exported:
    """Write the marks of one or several topics.

    Args:
        topics: names of the topics.
        form: who is to read the file.
        roster: names, addresses and numbers of the learning system.
        to: the file; by default one under course/export.
        column: Canvas's name of the column, such as "Pruning (1234)", for a single topic.
        only_final: leave the mark empty where a person still has to give points.

    Raises:
        ValueError: there is no gradebook, or a topic is not in it.
    """
    roster = roster or Roster()
    marks = {topic: read_marks(topic) for topic in topics}
    every = [mark for found in marks.values() for mark in found]
    waiting = [f"{m.student}: {m.topic}: {', '.join(m.waiting)}" for m in every if m.waiting]
    people = _people(marks, roster)
    if form is Format.PLAIN:
        rows = [PLAIN_COLUMNS, *(_plain_row(mark, people[mark.student]) for mark in every)]
        unknown: list[str] = []
    elif form is Format.MOODLE:
        rows = _moodle_rows(marks, people, only_final)
        unknown = [who for who, p in people.items() if not (p.moodle or p.email or p.sis)]
        unknown = [who for who in unknown if not roster.student(who)]
    else:
        rows = _canvas_rows(marks, people, column, only_final)
        unknown = [who for who, p in people.items() if not (p.canvas or p.sis or p.login)]
    name = topics[0] if len(topics) == 1 else ALL
    path = to or settings.COURSE / EXPORT / f"{name}-{form.value}.csv"
    _write(path, rows, with_mark=form is Format.PLAIN)
    heads = 2 if form is Format.CANVAS else 1
    return Exported(path, len(rows) - heads, waiting, unknown)


def _people(marks: dict[str, list[Marks]], roster: Roster) -> dict[str, Person]:
    """Return everybody in the gradebook, with what roster and collected files know of them."""
    people: dict[str, Person] = {}
    for topic, found in marks.items():
        numbers = read_numbers(topic)
        for mark in found:
            known = people.get(mark.student) or roster.student(mark.student)
            name = f"{mark.first_name} {mark.last_name}".strip() or mark.student
            noted = numbers.get(mark.student, {})
            people[mark.student] = Person(
                student=mark.student,
                name=(known.name if known else "") or name,
                # The number of a participant is another one in every assignment of Moodle's.
                moodle=noted.get("moodle") or (known.moodle if known else ""),
                canvas=(known.canvas if known else "") or noted.get("canvas", ""),
                email=(known.email if known else "") or mark.email,
                sis=known.sis if known else "",
                login=known.login if known else "",
                section=known.section if known else "",
            )
    return dict(sorted(people.items()))


def _plain_row(mark: Marks, person: Person) -> list[object]:
    return [
        mark.topic,
        mark.student,
        person.name if person.name != mark.student else "",
        person.email,
        "yes" if mark.handed_in else "no",
        f"{mark.timestamp:{TIME_FORMAT}}" if mark.timestamp else "",
        mark.score,
        mark.penalty,
        mark.final,
        mark.max_score,
        ", ".join(mark.waiting),
    ]


def _grade(mark: Marks | None, only_final: bool) -> object:
    """Return a mark for a learning system: nothing where nothing was handed in."""
    if mark is None or not mark.handed_in or (only_final and mark.waiting):
        return ""
    return mark.final


def _by_student(marks: dict[str, list[Marks]]) -> dict[str, dict[str, Marks]]:
    return {topic: {mark.student: mark for mark in found} for topic, found in marks.items()}


def _moodle_rows(
    marks: dict[str, list[Marks]], people: dict[str, Person], only_final: bool
) -> list[Sequence[object]]:
    found = _by_student(marks)
    if len(marks) > 1:
        heads = [f"Grade {topic}" for topic in marks]
        rows: list[Sequence[object]] = [["Full name", "ID number", "Email address", *heads]]
        for who, person in people.items():
            grades = [_grade(found[topic].get(who), only_final) for topic in marks]
            rows.append([person.name, who, person.email, *grades])
        return rows
    topic = next(iter(marks))
    heads = ["Identifier", "Full name", "ID number", "Email address", "Grade", "Maximum grade"]
    rows = [[*heads, "Last modified (grade)"]]
    for who, person in people.items():
        mark = found[topic].get(who)
        number = f"Participant {person.moodle}" if person.moodle else ""
        highest = mark.max_score if mark else ""
        grade = _grade(mark, only_final)
        rows.append([number, person.name, who, person.email, grade, highest, NEVER])
    return rows


def _canvas_rows(
    marks: dict[str, list[Marks]], people: dict[str, Person], column: str, only_final: bool
) -> list[Sequence[object]]:
    found = _by_student(marks)
    titles = [load_source(topic).title for topic in marks]
    heads = [column] if column and len(titles) == 1 else titles
    highest = [rows[0].max_score if rows else "" for rows in marks.values()]
    rows: list[Sequence[object]] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *heads],
        ["Points Possible", "", "", "", "", *highest],
    ]
    for who, person in people.items():
        grades = [_grade(found[topic].get(who), only_final) for topic in marks]
        login = person.login or who
        rows.append([person.name, person.canvas, person.sis, login, person.section, *grades])
    return rows


def safe_cell(value: object) -> str:
    """Return a cell's text that no spreadsheet takes for a formula."""
    if isinstance(value, int | float):
        return f"{value:g}" if value == round(value, 4) else f"{value:.4f}"
    text = "".join(c for c in str(value) if c.isprintable() or c in "\t\n\r")
    if text != NEVER and text.lstrip(" ").startswith(FORMULA_STARTS):
        return f"'{text}"
    return text


def _write(path: Path, rows: Sequence[Sequence[object]], with_mark: bool) -> None:
    """Write a CSV whole or not at all.

    Args:
        path: the file.
        rows: its lines.
        with_mark: begin with the mark that tells Excel that this is UTF-8.
    """
    text = io.StringIO()
    csv.writer(text).writerows([safe_cell(value) for value in row] for row in rows)
    write_whole(path, text.getvalue().encode("utf-8-sig" if with_mark else "utf-8"))
