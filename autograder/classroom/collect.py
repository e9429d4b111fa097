"""Takes what learning systems give and puts it where nbgrader looks for submissions.

The source stays as it is. What is in place already is never lost: an older file gives way to a
newer one and is kept beside the class; a newer one stays.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from nbgrader.utils import parse_utc

from autograder import settings
from autograder.authoring.source import load_source
from autograder.classroom.archives import Entry, Refused, open_source, printable
from autograder.classroom.roster import Roster
from autograder.classroom.uploads import Sender, sender
from autograder.gradebook.folders import TIMESTAMP, TIMESTAMP_BYTES, is_stand_in
from autograder.judge.submission import read_submission

COLLECTED = "collected"
EARLIER = "earlier"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


class Fate(Enum):
    """What became of a submission."""

    PLACED = "placed"
    REPLACED = "replaced"
    SAME = "same as before"
    OLDER = "kept the newer"
    REFUSED = "NOT PLACED"


@dataclass(frozen=True)
class Arrival:
    """One line of what is said at the end.

    Attributes:
        student: the student id; empty where it is not known.
        origin: where in the source it was.
        fate: what became of it.
        note: why, and what else is worth knowing.
        when: the time of submission, where the source tells it.
    """

    student: str
    origin: str
    fate: Fate
    note: str = ""
    when: datetime | None = None


@dataclass(frozen=True)
class _Candidate:
    entry: Entry
    sender: Sender


def collect(
    source: Path,
    topic: str,
    roster: Roster | None = None,
    *,
    replace_newer: bool = False,
    file_times: bool = False,
    dry_run: bool = False,
) -> list[Arrival]:
    """Put everybody's notebook of one topic in place.

    Args:
        source: a folder, a zip, or one notebook.
        topic: name of the topic, nbgrader's assignment name.
        roster: who is who; without one, student ids are made of the names in the source.
        replace_newer: put a submission in place even where a newer one is.
        file_times: take the files' dates for the times of submission, for late penalties. A
            `timestamp.txt` beside a notebook is always taken.
        dry_run: only say what would be done.

    Returns:
        A line for each sender, sorted by student; those that could not be placed come last.

    Raises:
        Refused: the source as a whole cannot be read.
        ValueError: there is no such topic.
    """
    notebook = f"{load_source(topic).notebook_name}.ipynb"
    keeper = _Keeper(topic, notebook, replace_newer, dry_run)
    arrivals: list[Arrival] = []
    with open_source(source) as entries:
        groups = _by_sender(entries, topic, roster or Roster(), source)
        doubles = _doubles(groups.values())
        for group in groups.values():
            who = group[0].sender
            if who.student in doubles:
                note = f"{doubles[who.student]} senders of this name; give a roster with numbers"
                arrivals.append(Arrival("", group[0].entry.origin, Fate.REFUSED, note))
                continue
            arrivals.append(_one_sender(group, topic, keeper, file_times))
    if not dry_run:
        keeper.note_numbers([group[0].sender for group in groups.values()], arrivals)
    return sorted(arrivals, key=lambda a: (a.fate is Fate.REFUSED, a.student, a.origin))


def _by_sender(
    entries: list[Entry], topic: str, roster: Roster, source: Path
) -> dict[str, list[_Candidate]]:
    found = [_Candidate(entry, sender(entry, topic, roster)) for entry in entries]
    if found and source.is_file() and not any(c.sender.student for c in found):
        # One student's own zip or notebook: the id is in its name.
        again = [replace(entry, owner=source.stem) for entry in entries]
        second = [_Candidate(entry, sender(entry, topic, roster)) for entry in again]
        found = second if any(c.sender.student for c in second) else found
    groups: dict[str, list[_Candidate]] = {}
    for candidate in found:
        is_notebook = candidate.entry.name.lower().endswith(".ipynb")
        from_system = candidate.sender.moodle or candidate.sender.canvas
        # A file of nobody's that is no notebook is none of our business.
        if candidate.sender.student or is_notebook or from_system or candidate.entry.problem:
            groups.setdefault(candidate.sender.key, []).append(candidate)
    return groups


def _doubles(groups: Iterable[list[_Candidate]]) -> dict[str, int]:
    """Return the students whom several senders could be, with how many there are."""
    counts: dict[str, int] = {}
    for group in groups:
        student = group[0].sender.student
        counts[student] = counts.get(student, 0) + 1
    return {student: n for student, n in counts.items() if student and n > 1}


def _one_sender(group: list[_Candidate], topic: str, keeper: _Keeper, file_times: bool) -> Arrival:
    who, origin = group[0].sender, group[0].entry.origin
    if not who.student:
        return Arrival("", origin, Fate.REFUSED, printable(who.problem))
    try:
        chosen, notes = _choose(group, topic)
        content = chosen.entry.read()
        stamp = _timestamp(group, chosen)
    except (Refused, OSError) as error:
        return Arrival(who.student, origin, Fate.REFUSED, printable(str(error)))
    if stamp is None and file_times:
        stamp = chosen.entry.when
    if chosen.sender.late:
        notes.append("the learning system says it came late")
    try:
        fate, more = keeper.keep(who.student, content, stamp, chosen.entry.when)
    except OSError as error:
        return Arrival(
            who.student, chosen.entry.origin, Fate.REFUSED, f"cannot be written: {error}"
        )
    notes += more
    return Arrival(who.student, chosen.entry.origin, fate, printable("; ".join(notes)), stamp)


def _choose(group: list[_Candidate], topic: str) -> tuple[_Candidate, list[str]]:
    """Return the notebook that counts of all files of one sender, and what to say about it.

    Raises:
        Refused: there is none, or one cannot tell which.
    """
    notebooks = [c for c in group if c.sender.file.lower().endswith(".ipynb")]
    usable = [c for c in notebooks if not c.entry.problem]
    if not usable:
        bad = [c for c in [*notebooks, *group] if c.entry.problem]
        if bad:
            raise Refused(bad[0].entry.problem)
        raise Refused(f"there is no notebook in it, only {_some(c.sender.file for c in group)}")
    others = [name for name in settings.topic_names() if name != topic]
    of_topic = [c for c in usable if topic in c.sender.file]
    neutral = [c for c in usable if not any(name in c.sender.file for name in [topic, *others])]
    # A second attempt is as good a submission as the first, so all of the topic's are compared.
    pool = of_topic or neutral
    if not pool:
        raise Refused(
            f"it is the notebook of another topic: {_some(c.sender.file for c in usable)}"
        )
    if pool is neutral and len(pool) > 1:
        raise Refused(
            f"one cannot tell which notebook counts: {_some(c.sender.file for c in pool)}"
        )
    chosen = max(pool, key=lambda c: (_seconds(c.entry.when), c.sender.file))
    notes = [] if topic in chosen.sender.file else [f"it was called {chosen.sender.file}"]
    if len(pool) > 1:
        notes.append(f"the latest of {len(pool)}: {chosen.sender.file}")
    notes += [f"{c.sender.file}: {c.entry.problem}" for c in notebooks if c.entry.problem]
    return chosen, notes


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _seconds(when: datetime | None) -> float:
    return when.timestamp() if when else 0.0


def _timestamp(group: Sequence[_Candidate], chosen: _Candidate) -> datetime | None:
    """Return the time in the timestamp.txt that lies beside the notebook."""
    place = chosen.entry.name.rpartition("/")[0]
    for candidate in group:
        folder, _, file = candidate.entry.name.rpartition("/")
        if file == TIMESTAMP and folder == place and not candidate.entry.problem:
            return _parsed(candidate.entry.read()[:TIMESTAMP_BYTES])
    return None


def _parsed(text: bytes) -> datetime | None:
    """Return the time that nbgrader would read, in UTC; None when it would read none."""
    with suppress(Exception):  # the parser raises many kinds
        if words := text.decode("utf-8").strip():
            return parse_utc(words).replace(tzinfo=UTC)
    return None


class _Keeper:
    """Puts notebooks in place, each file whole or not at all."""

    def __init__(self, topic: str, notebook: str, replace_newer: bool, dry_run: bool) -> None:
        self.topic = topic
        self.notebook = notebook
        self.replace_newer = replace_newer
        self.dry_run = dry_run
        self.collected = settings.COURSE / COLLECTED

    def keep(
        self, student: str, content: bytes, stamp: datetime | None, when: datetime | None
    ) -> tuple[Fate, list[str]]:
        """Put one notebook in place, and say what was done."""
        folder = settings.COURSE / "submitted" / student / self.topic
        target = folder / self.notebook
        if any(path.is_symlink() for path in (folder.parent, folder, target)):
            return Fate.REFUSED, [f"{target} is a symbolic link"]
        time = stamp or when
        fate, notes = Fate.PLACED, []
        if target.exists() and not is_stand_in(target):
            there = self._time_of(target)
            if target.read_bytes() == content:
                fate = Fate.SAME
            elif time is not None and _seconds(time) >= _seconds(there):
                fate = Fate.REPLACED
                notes.append(f"{_local(there)} gives way to {_local(time)}")
            elif self.replace_newer:
                fate = Fate.REPLACED
                notes.append(f"the newer one of {_local(there)} gives way, as you asked")
            else:
                said = f"of {_local(time)}" if time else "without a date"
                notes.append(f"the one in place is of {_local(there)}, this one {said}")
                return Fate.OLDER, notes
        if not self.dry_run:
            if fate is Fate.REPLACED:
                notes.append(f"the earlier one is kept: {self._set_aside(student, target)}")
            self._put(folder, content, stamp, time, fate)
        return fate, [*notes, *self._oddities(content)]

    def _time_of(self, target: Path) -> datetime:
        stamp = target.with_name(TIMESTAMP)
        short = stamp.is_file() and stamp.stat().st_size < TIMESTAMP_BYTES
        if short and (when := _parsed(stamp.read_bytes())):
            return when
        return datetime.fromtimestamp(target.stat().st_mtime).astimezone()

    def _put(
        self,
        folder: Path,
        content: bytes,
        stamp: datetime | None,
        time: datetime | None,
        fate: Fate,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if stamp is not None:
            text = f"{stamp.astimezone(UTC):{TIME_FORMAT}} UTC\n"
            self._write(folder / TIMESTAMP, text.encode(), None)
        elif fate is Fate.REPLACED:
            # The old time is not this notebook's.
            (folder / TIMESTAMP).unlink(missing_ok=True)
        if fate is not Fate.SAME:
            self._write(folder / self.notebook, content, time)

    def _write(self, path: Path, content: bytes, when: datetime | None) -> None:
        """Write a file whole or not at all; half of one is never where nbgrader looks."""
        self.collected.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.collected, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            if when is not None:
                os.utime(name, (when.timestamp(), when.timestamp()))
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _set_aside(self, student: str, target: Path) -> Path:
        """Keep a copy of what is about to be replaced, and return where."""
        when = self._time_of(target).astimezone(UTC)
        folder = self.collected / EARLIER / student / self.topic
        folder.mkdir(parents=True, exist_ok=True)
        content = target.read_bytes()
        path = folder / f"{when:%Y%m%d-%H%M%S}.ipynb"
        number = 1
        while path.exists() and path.read_bytes() != content:
            number += 1
            path = folder / f"{when:%Y%m%d-%H%M%S}-{number}.ipynb"
        self._write(path, content, when)
        return path.relative_to(settings.COURSE)

    def _oddities(self, content: bytes) -> list[str]:
        """Say at once what the grader would say later: a file that is not this notebook."""
        with tempfile.TemporaryDirectory(prefix="autograder-") as folder:
            path = Path(folder) / self.notebook
            path.write_bytes(content)
            submission = read_submission(path, self.topic)
        return submission.problems[:1] if submission.unreadable else []

    def note_numbers(self, senders: Iterable[Sender], arrivals: Iterable[Arrival]) -> None:
        """Remember the learning system's numbers; the export fills them in."""
        known = {arrival.student for arrival in arrivals if arrival.fate is not Fate.REFUSED}
        numbers = read_numbers(self.topic)
        for who in senders:
            if who.student in known and (who.moodle or who.canvas):
                numbers[who.student] = {"moodle": who.moodle, "canvas": who.canvas}
        if numbers:
            text = json.dumps(numbers, indent=1, sort_keys=True, ensure_ascii=False)
            self._write(self.collected / f"{self.topic}.json", text.encode(), None)


def _local(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def read_numbers(topic: str) -> dict[str, dict[str, str]]:
    """Return the learning systems' numbers that were noted: student -> system -> number."""
    path = settings.COURSE / COLLECTED / f"{topic}.json"
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return numbers if isinstance(numbers, dict) else {}
