"""`make demo`: makes the demo class, grades it, and compares the marks with what each deserves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.authoring.build import build_topic
from autograder.classroom.batch import Outcome
from autograder.classroom.demo import (
    PREFIX,
    Member,
    deserved_points,
    injustices,
    make_class,
    write_class,
)
from autograder.classroom.grading import FEEDBACK, grade
from autograder.classroom.hostile import GRAFFITI
from autograder.classroom.report import report_path, what_happened
from autograder.settings import COURSE, PACKAGE, REPOSITORY

WATCHED = (PACKAGE, REPOSITORY / "course_utils", REPOSITORY / "data", REPOSITORY / "notebooks")


@dataclass(frozen=True)
class Row:
    """One line of the table: a member, its outcome, and what is unjust about it."""

    member: Member
    outcome: Outcome
    wrong: list[str]


def run_demo(topics: Sequence[str], workers: int, console: Console) -> bool:
    """Run the demo and print a table for each topic; the first topic has every attack.

    Returns:
        True when everyone got what they deserve and nothing outside the sandbox changed.
    """
    just = [
        _demonstrate(topic, workers, console, every_attack=topic == topics[0]) for topic in topics
    ]
    _say_what_to_open(topics, console)
    return all(just)


def _demonstrate(topic: str, workers: int, console: Console, *, every_attack: bool) -> bool:
    started = time.perf_counter()
    with console.status("building the notebooks and the class"):
        build_topic(topic)
        members = make_class(topic, every_attack=every_attack)
        write_class(members, topic)
    before = dict(fingerprint(WATCHED))
    graded = grade(topic, workers, [m.name for m in members], console=console, again=True)
    changes = changed(before, dict(fingerprint(WATCHED))) + graffiti()
    rows = compare(members, graded.outcomes)
    console.print(table(rows, topic))
    _say_what_is_wrong(rows, changes, console)
    seconds = time.perf_counter() - started
    just = not changes and not any(row.wrong for row in rows)
    console.print(f"{len(rows)} submissions in {seconds:.0f} s.", highlight=False)
    if just:
        console.print("Everyone got what they deserve; nothing outside the sandbox changed.")
    return just


def compare(members: Sequence[Member], outcomes: Sequence[Outcome]) -> list[Row]:
    """Put members and outcomes side by side, and find what is unjust.

    Raises:
        KeyError: a member has no outcome.
    """
    by_name = {outcome.student: outcome for outcome in outcomes}
    rows = []
    for member in members:
        outcome = by_name[member.name]
        wrong = [outcome.broken] if outcome.broken else injustices(member, outcome.verdict)
        rows.append(Row(member, outcome, wrong))
    return rows


def table(rows: Sequence[Row], topic: str) -> Table:
    """Return the table of the demo: who, points, deserved, what happened, seconds."""
    title = f"The demo class, {topic}"
    result = Table(title=title, title_justify="left", row_styles=["", "dim"])
    result.add_column("student", no_wrap=True)
    result.add_column("points", justify="right", no_wrap=True)
    result.add_column("deserved", justify="right", no_wrap=True)
    result.add_column("", no_wrap=True)
    result.add_column("the submission", ratio=2)
    result.add_column("what happened", ratio=3)
    result.add_column("seconds", justify="right", no_wrap=True)
    for row in rows:
        verdict = row.outcome.verdict
        low, high = deserved_points(row.member, verdict.exercises)
        result.add_row(
            row.member.name.removeprefix(PREFIX),
            f"{verdict.points:g}",
            f"{low:g}" if low == high else f"{low:g} to {high:g}",
            Text("✗", "bold red") if row.wrong else Text("✓", "green"),
            Text(_short(row.member.story)),
            # Text, not markup: a message may hold what a student wrote.
            Text(_short(what_happened(verdict))),
            f"{row.outcome.seconds:.1f}",
        )
    return result


def fingerprint(folders: Sequence[Path]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield size and time of change of every file below the folders, caches left out."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                status = path.stat()
                yield str(path), (status.st_size, status.st_mtime_ns)


def changed(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """Return the files that came, went or changed."""
    return sorted(path for path in before | after if before.get(path) != after.get(path))


def graffiti() -> list[str]:
    """Return the marks that the member who writes everywhere left outside the sandbox."""
    places = [Path("/"), Path("/tmp"), Path.home(), Path.cwd(), REPOSITORY, COURSE, COURSE.parent]
    places += [Path(os.environ.get("TMPDIR", "/tmp")), COURSE / "submitted", COURSE / "verdicts"]
    return sorted({str(place / GRAFFITI) for place in places if (place / GRAFFITI).exists()})


def _short(text: str, length: int = 110) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _say_what_is_wrong(rows: Sequence[Row], changes: Sequence[str], console: Console) -> None:
    for row in rows:
        for text in row.wrong:
            console.print(Text(f"{row.member.name}: {text}", "red"))
    for path in changes:
        console.print(Text(f"changed outside the sandbox: {path}", "bold red"))


def _say_what_to_open(topics: Sequence[str], console: Console) -> None:
    console.print("\nOpen:")
    for topic in topics:
        console.print(
            f"  the class report     {report_path(topic)}", highlight=False, soft_wrap=True
        )
    for path in sorted(FEEDBACK.glob(f"{PREFIX}learner_1/{topics[0]}/*.html")):
        console.print(f"  feedback, a student  {path}", highlight=False, soft_wrap=True)
    console.print("  the notebooks        make lab", highlight=False)
    console.print(
        "  nbgrader's formgrader: make lab, then menu Nbgrader, Formgrader", highlight=False
    )
