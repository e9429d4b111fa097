"""The commands of a TA's day: collect, grade, regrade, report, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.terminal import console_for, stop

if TYPE_CHECKING:
    from rich.console import Console

    from autograder.classroom.collect import Arrival
    from autograder.classroom.roster import Roster

commands = typer.Typer()

Topic = Annotated[str, typer.Argument(help="name of the topic, a folder under autograder/topics")]
Workers = Annotated[int, typer.Option(min=1, help="submissions judged at the same time")]
RosterFile = Annotated[
    Path | None, typer.Option("--roster", help="CSV with student id, name, moodle id, email")
]


@commands.command()
def collect(
    source: Annotated[Path, typer.Argument(help="zip from Moodle or Canvas, folder, or notebook")],
    topic: Topic,
    roster: RosterFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    file_times: Annotated[
        bool, typer.Option("--file-times", help="take the files' dates as times of submission")
    ] = False,
    replace_newer: Annotated[
        bool, typer.Option("--replace-newer", help="also where a newer one is in place")
    ] = False,
) -> None:
    """Put what students handed in where it is graded; say what could not be placed, and why."""
    from autograder.classroom.archives import Refused
    from autograder.classroom.collect import Fate, collect

    try:
        people = _read_roster(roster)
        arrivals = collect(
            source,
            topic,
            people,
            replace_newer=replace_newer,
            file_times=file_times,
            dry_run=dry_run,
        )
    except (Refused, ValueError, OSError) as problem:
        raise stop(problem) from None
    console = console_for()
    _show_arrivals(arrivals, console)
    there = {arrival.student for arrival in arrivals if arrival.fate is not Fate.REFUSED}
    absent = [p.student for p in people.people if p.student not in there] if people else []
    if absent:
        names = ", ".join(absent)
        console.print(f"Nothing here from {len(absent)}: {names}", markup=False, soft_wrap=True)
    if dry_run:
        console.print("Nothing was written: --dry-run.")
    if any(arrival.fate is Fate.REFUSED for arrival in arrivals) or not arrivals:
        raise typer.Exit(1)


def _read_roster(path: Path | None) -> Roster | None:
    from autograder.classroom.roster import read_roster

    return read_roster(path) if path else None


def _show_arrivals(arrivals: list[Arrival], console: Console) -> None:
    from collections import Counter

    from rich.table import Table
    from rich.text import Text

    from autograder.classroom.collect import Fate

    colours = {Fate.PLACED: "green", Fate.REPLACED: "green", Fate.REFUSED: "bold red"}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("student", "what", "from", "note"):
        table.add_column(heading, overflow="fold")
    for arrival in arrivals:
        # Text, not markup: names come from students.
        table.add_row(
            Text(arrival.student or "?"),
            Text(arrival.fate.value, colours.get(arrival.fate, "yellow")),
            Text(arrival.origin),
            Text(arrival.note),
        )
    if arrivals:
        console.print(table)
    counts = Counter(arrival.fate for arrival in arrivals)
    said = [f"{counts[fate]} {fate.value}" for fate in Fate if counts[fate]]
    console.print(", ".join(said) or "No notebook was found in it.", highlight=False)


@commands.command()
def grade(
    topic: Topic,
    workers: Workers = 2,
    student: Annotated[
        list[str] | None, typer.Option(help="only this student; may be given again")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler, tcp://…")
    ] = None,
    again: Annotated[bool, typer.Option(help="judge anew what was judged already")] = False,
) -> None:
    """Grade what is in course/submitted: verdicts, gradebook, feedback, report."""
    from autograder.classroom.grading import BookkeepingFailed, grade
    from autograder.sandbox.bubblewrap import SandboxUnavailable

    console = console_for()
    try:
        graded = grade(
            topic, workers, student or None, console=console, scheduler=scheduler, again=again
        )
    except (SandboxUnavailable, BookkeepingFailed, ValueError) as problem:
        raise stop(problem) from None
    broken = [outcome for outcome in graded.outcomes if outcome.broken]
    remembered = sum(outcome.remembered for outcome in graded.outcomes)
    console.print(f"{len(graded.outcomes)} submissions; {remembered} had a verdict already.")
    for outcome in broken:
        console.print(f"{outcome.student}: {outcome.broken}", style="red", markup=False)
    console.print(f"Report: {graded.report}", soft_wrap=True)
    if broken:
        raise typer.Exit(1)


@commands.command()
def report(topic: Topic) -> None:
    """Write the class report anew, from the verdicts there are."""
    from autograder.classroom.grading import report_on_known

    try:
        print(report_on_known(topic))
    except ValueError as problem:
        raise stop(problem) from None
