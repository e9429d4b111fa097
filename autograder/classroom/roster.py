"""The list of the class: who is who in the learning system and in nbgrader.

Any CSV with a heading line does: a list of one's own, Moodle's grading worksheet or list of
participants, Canvas's exported gradebook. Columns are told by their headings.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HEADINGS = {
    "student": (
        "student id",
        "student number",
        "id number",
        "sis login id",
        "sis user id",
        "username",
        "login",
    ),
    "name": ("name", "full name", "student name", "student"),
    "first": ("first name", "firstname", "given name"),
    "last": ("last name", "lastname", "surname", "family name"),
    "moodle": ("moodle id", "moodle number", "participant", "participant number", "identifier"),
    "canvas": ("canvas id", "canvas user id", "id"),
    "email": ("email", "email address", "e mail", "mail"),
    "sis": ("sis user id",),
    "login": ("sis login id",),
    "section": ("section",),
}
LONGEST_ID = 64
ROSTER_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Person:
    """One line of the list.

    Attributes:
        student: name of the student's folder, nbgrader's student id.
        name: as the learning system shows it.
        moodle: the number of the participant in Moodle's downloads of this assignment.
        canvas: Canvas's own number of the user.
        email: the address, with which Moodle's gradebook finds a user too.
        sis: Canvas's "SIS User ID".
        login: Canvas's "SIS Login ID".
        section: Canvas's section.
    """

    student: str
    name: str = ""
    moodle: str = ""
    canvas: str = ""
    email: str = ""
    sis: str = ""
    login: str = ""
    section: str = ""


class Roster:
    """The class, found by id, by number or by name."""

    def __init__(self, people: Iterable[Person] = ()) -> None:
        self.people = list(people)
        self._by_student = {person.student: person for person in self.people}
        self._by_key: dict[str, list[Person]] = {}
        for person in self.people:
            for key in name_keys(person.name):
                self._by_key.setdefault(key, []).append(person)

    def __bool__(self) -> bool:
        return bool(self.people)

    def student(self, student: str) -> Person | None:
        """Return the person with this id; capitals do not matter where there is only one."""
        if student in self._by_student:
            return self._by_student[student]
        same = [p for p in self.people if p.student.casefold() == student.casefold()]
        return same[0] if len(same) == 1 else None

    def number(self, system: str, number: str) -> Person | None:
        """Return the person with this number in "moodle" or "canvas"."""
        same = [p for p in self.people if number and getattr(p, system) == number]
        return same[0] if len(same) == 1 else None

    def named(self, name: str) -> list[Person]:
        """Return everybody of this name; the order of the names' parts does not matter."""
        found: list[Person] = []
        for key in name_keys(name):
            found += [p for p in self._by_key.get(key, []) if p not in found]
        return found


def read_roster(path: Path) -> Roster:
    """Read the list of the class.

    Raises:
        ValueError: it has no heading line with a column for the student id, an id is empty,
            twice there or cannot be a folder's name, or the file is no text.
    """
    try:
        if path.stat().st_size > ROSTER_BYTES:
            raise ValueError(f"{path.name} is larger than {ROSTER_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not in UTF-8; save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from None
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter, restkey="more"))
    columns = _columns(list(rows[0]) if rows else [])
    if "student" not in columns:
        known = ", ".join(HEADINGS["student"])
        raise ValueError(f"{path.name} has no column for the student id; call it one of: {known}")
    people: dict[str, Person] = {}
    for number, row in enumerate(rows, start=2):
        values = {key: (row.get(heading) or "").strip() for key, heading in columns.items()}
        if not any(values.values()) or _is_points_line(values):
            continue
        person = _person(values)
        if not is_student_id(person.student):
            raise ValueError(f"{path.name}, line {number}: {person.student!r} is no student id")
        if person.student in people:
            raise ValueError(f"{path.name}, line {number}: {person.student} is there twice")
        people[person.student] = person
    if not people:
        raise ValueError(f"{path.name} lists nobody")
    return Roster(people.values())


def _columns(headings: list[str]) -> dict[str, str]:
    """Return what each known column is called in the file; the first of the known ones counts."""
    given = {_plain(heading): heading for heading in headings if isinstance(heading, str)}
    found = {
        key: next(given[name] for name in names if name in given)
        for key, names in HEADINGS.items()
        if any(name in given for name in names)
    }
    # "ID" is Canvas's own number only in Canvas's own file.
    if found.get("canvas") == given.get("id") and not {"sis", "login"} & set(found):
        canvas = found.pop("canvas", None)
        if canvas is not None and "student" not in found:
            found["student"] = canvas
    return found


def _is_points_line(values: dict[str, str]) -> bool:
    """Tell whether this is the line "Points Possible" below Canvas's headings, or its test user."""
    name = values.get("name", "").lower()
    return name in ("points possible", "student, test") and not values.get("sis")


def _person(values: dict[str, str]) -> Person:
    first, last = values.pop("first", ""), values.pop("last", "")
    name = values.pop("name", "") or f"{first} {last}".strip()
    # Moodle writes "Participant 12345"; its downloads have the number alone.
    moodle = re.sub(r"^\D+", "", values.pop("moodle", ""))
    return Person(name=name, moodle=moodle, **values)


def is_student_id(text: str) -> bool:
    """Tell whether a text can be the name of a student's folder, on any system."""
    return len(text) <= LONGEST_ID and re.fullmatch(r"\w[\w.@-]*(?<!\.)", text) is not None


def slug(name: str) -> str:
    """Return a student id made of a name: "Anna Müller" is "anna_muller"."""
    return "_".join(_words(name))[:LONGEST_ID].strip("_")


def name_keys(name: str) -> list[str]:
    """Return the name's parts run together, once for each part that could come first."""
    words = _words(name)
    return list(dict.fromkeys("".join(words[i:] + words[:i]) for i in range(len(words))))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", _unaccented(text))


def _plain(heading: str) -> str:
    return " ".join(_words(heading))


def _unaccented(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss")).casefold()
    return "".join(
        c for c in decomposed if not unicodedata.combining(c) and c not in "'’\u200c\u200d"
    )
