"""Who sent a file: read from the names that learning systems give to what they hand out.

Moodle, "Download all submissions", in folders (the default since 3.1) or without:
    Anna Müller_12345_assignsubmission_file/1_network_pruning.ipynb
    Anna Müller_12345_assignsubmission_file_/1_network_pruning.ipynb          (before 4.1)
    Anna Müller_12345_assignsubmission_file_1_network_pruning.ipynb
Canvas, "Download Submissions":
    mulleranna_LATE_4711_815_1_network_pruning-2.ipynb     (name, user, attachment, file, attempt)
A zip or a folder for each student, or notebooks with the student id in their names:
    anna.zip, anna/1_network_pruning.ipynb
    1_network_pruning_anna.ipynb, anna-1_network_pruning.ipynb
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from autograder.classroom.archives import Entry
from autograder.classroom.roster import Roster, is_student_id, slug

MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(?P<kind>[a-z]+)_?(?P<file>.*)", re.DOTALL
)
CANVAS = re.compile(
    r"(?P<name>[^\W_]+)_(?:(?P<late>LATE)_)?(?P<user>\d+)_(?P<attachment>\d+)_(?P<file>.+)"
)
# A second download, or a copy made on the desktop.
COPY_MARK = re.compile(r"\s*\(\d+\)|[\s_-]*\b(copy|kopie|copie)\b", re.IGNORECASE)
WRAPPERS = {"submitted", "submissions", "notebooks", "downloads", "course"}
ANONYMOUS = {"participant", "teilnehmer", "teilnehmerin"}


@dataclass(frozen=True)
class Sender:
    """Who sent a file.

    Attributes:
        key: the same for all files of one sender.
        student: the student id; empty where it is not known.
        file: what the sender called the file.
        problem: why the student is not known.
        moodle: number of the participant in Moodle.
        canvas: number of the user in Canvas.
        late: the learning system says that it came late.
    """

    key: str
    student: str
    file: str
    problem: str = ""
    moodle: str = ""
    canvas: str = ""
    late: bool = False


def sender(entry: Entry, topic: str, roster: Roster) -> Sender:
    """Read from an entry's name who sent it.

    Only what the learning system or the teacher has named is read: the outermost part that fits,
    and never the inside of a student's own zip. So no student can send a file as somebody else.
    """
    parts = (entry.owner or entry.name).split("/")
    file = entry.name.rpartition("/")[2]
    for part in parts:
        if found := MOODLE.fullmatch(part):
            own = file if entry.owner or part != parts[-1] else found["file"]
            return _from_moodle(found, own, roster)
    if found := CANVAS.fullmatch(parts[-1]):
        return _from_canvas(found, file if entry.owner else found["file"], roster)
    if not entry.owner:
        parts[-1] = parts[-1].rpartition(".")[0] or parts[-1]
    return _from_plain_name(parts, file, topic, roster)


def _from_moodle(found: re.Match[str], file: str, roster: Roster) -> Sender:
    name, number = found["name"], found["number"]
    key = f"moodle {number}"
    if roster:
        person = roster.number("moodle", number)
        student, problem = (person.student, "") if person else _by_name(name, roster)
    elif set(slug(name).split("_")) <= ANONYMOUS:
        student, problem = f"{slug(name)}_{number}", ""
    else:
        student, problem = _by_name(name, roster)
    return Sender(key, student, file, problem, moodle=number)


def _from_canvas(found: re.Match[str], file: str, roster: Roster) -> Sender:
    user = found["user"]
    person = roster.number("canvas", user)
    student, problem = (person.student, "") if person else _by_name(found["name"], roster)
    late = found["late"] is not None
    return Sender(f"canvas {user}", student, file, problem, canvas=user, late=late)


def _by_name(name: str, roster: Roster) -> tuple[str, str]:
    """Return the student id, and why there is none."""
    if not roster:
        student = slug(name)
        return (student, "") if student else ("", f"no student id can be made of {name!r}")
    people = roster.named(name)
    if len(people) == 1:
        return people[0].student, ""
    if people:
        ids = ", ".join(person.student for person in people)
        return "", f"{name} may be {ids}: put the learning system's number into the roster"
    return "", f"{name} is not in the roster"


def _from_plain_name(parts: list[str], file: str, topic: str, roster: Roster) -> Sender:
    """Read the id from the file's name where it holds more than the notebook's, else a folder's.

    Args:
        parts: folders and the name of the file or zip, without its extension.
        file: what the student called the notebook.
        topic: name of the topic.
        roster: who is who; may be empty.
    """
    *folders, stem = parts
    rest = _without_topic(stem, topic)
    # Folders from the outside: what lies further inside, the student has named.
    candidates = [part for part in folders if part.lower() not in {topic, *WRAPPERS}]
    if rest and (topic in stem or not candidates):
        candidates.insert(0, rest)
    candidates = [_without_topic(candidate, topic) or candidate for candidate in candidates]
    if roster:
        return _on_roster(candidates, file, roster)
    for candidate in candidates:
        if is_student_id(candidate):
            return Sender(f"id {candidate}", candidate, file)
        if student := slug(candidate):
            return Sender(f"id {student}", student, file)
    problem = "there is no student id in its name"
    return Sender(f"file {'/'.join(parts)}", "", file, problem)


def _without_topic(name: str, topic: str) -> str:
    """Return a name without the notebook's: `anna_1_network_pruning (2)` is anna's."""
    return COPY_MARK.sub("", re.sub(rf"(\d+[_-])?{re.escape(topic)}", "", name)).strip(" _-.")


def _on_roster(candidates: list[str], file: str, roster: Roster) -> Sender:
    for candidate in candidates:
        whole = roster.student(candidate)
        words = re.split(r"[\s_.()-]+", candidate)
        people = [whole] if whole else [p for p in map(roster.student, words) if p]
        people = people or roster.named(candidate)
        if len(set(people)) == 1:
            return Sender(f"id {people[0].student}", people[0].student, file)
    said = candidates[0] if candidates else file
    return Sender(f"file {said}", "", file, f"nobody of the roster is in its name: {said}")
