"""The commands of a TA's day: collect, grade, regrade, report, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.classroom.formats import ALL, Format
from autograder.terminal import console_for, stop

if TYPE_CHECKING:
    from rich.console import Console

    from autograder.classroom.collect import Arrival
    from autograder.classroom.regrade import Plan
    from autograder.classroom.roster import Roster

commands = typer.Typer()

Topic = Annotated[str, typer.Argument(help="name of the topic, a folder under autograder/topics")]
Workers = Annotated[int, typer.Option(min=1, help="submissions judged at the same time")]


Students = Annotated[list[str] | None, typer.Option(help="only this student; may be given again")]
Scheduler = Annotated[str | None, typer.Option(help="address of a Dask scheduler, tcp://…")]
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
    topic: Annotated[str, typer.Argument(help="name of the topic, or `all`")],
    workers: Workers = 2,
    student: Students = None,
    scheduler: Scheduler = None,
    again: Annotated[bool, typer.Option(help="judge anew what was judged already")] = False,
    only_changed: Annotated[
        bool,
        typer.Option("--only-changed", help="no new marks or pages where all is up to date"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what would be judged; write nothing")
    ] = False,
) -> None:
    """Grade what is in course/submitted: verdicts, gradebook, feedback, report."""
    from autograder.classroom.grade_topics import grade_topics, show_topics, topics_to_grade

    if again and only_changed:
        raise stop(ValueError("--again judges everybody, --only-changed few: give one of them"))
    try:
        topics = topics_to_grade(topic, student or None)
    except ValueError as problem:
        raise stop(problem) from None
    console = console_for()
    if dry_run:
        code = show_topics(topics, console, student or None, again=again, only_changed=only_changed)
    else:
        code = grade_topics(
            topics,
            workers,
            console,
            student or None,
            scheduler=scheduler,
            again=again,
            only_changed=only_changed,
        )
    if code:
        raise typer.Exit(code)


@commands.command()
def report(topic: Topic) -> None:
    """Write the class report anew, from the verdicts there are."""
    from autograder.classroom.grading import report_on_known

    try:
        print(report_on_known(topic))
    except ValueError as problem:
        raise stop(problem) from None


@commands.command()
def regrade(
    topic: Topic,
    workers: Workers = 2,
    student: Students = None,
    scheduler: Scheduler = None,
    write: Annotated[bool, typer.Option("--write", help="write without asking")] = False,
) -> None:
    """After a change of the checks: show whose marks move and why; write when you say so."""
    import sys

    from autograder.classroom.batch import ClusterLost
    from autograder.classroom.grading import BookkeepingFailed
    from autograder.classroom.regrade import plan_regrade, write_regrade
    from autograder.sandbox.bubblewrap import SandboxUnavailable

    console = console_for()
    try:
        plan = plan_regrade(topic, workers, console, student or None, scheduler)
        _show_plan(plan, console)
        if not write and plan.changed and sys.stdin.isatty():
            write = typer.confirm("Write this into the gradebook and the feedback?")
        if write and plan.changed:
            console.print(f"Report: {write_regrade(plan, console)}", soft_wrap=True)
            console.print(f"Written: {len(plan.changed)} students.", highlight=False)
        elif plan.changed:
            console.print("Nothing was written. To write it: the same command with --write.")
    except (SandboxUnavailable, BookkeepingFailed, ClusterLost, ValueError, OSError) as problem:
        raise stop(problem) from None
    if plan.broken:
        raise typer.Exit(1)


def _show_plan(plan: Plan, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    # Text, not markup: messages may hold what students wrote.
    table = Table(title="marks that move", title_justify="left", show_lines=True)
    for heading in ("student", "exercise", "points", "why: check, old -> new"):
        table.add_column(heading, overflow="fold")
    for student, moves in plan.movers.items():
        for move in moves:
            before = "none" if move.before is None else f"{move.before:g}"
            points = Text(f"{before} -> {move.after:g}")
            points.stylize("green" if move.after > (move.before or 0.0) else "red")
            if move.manual is not None:
                points.append(f"\na person gave {move.manual:g}: that stays", "yellow")
            lines = [
                f"{reason.check or 'the exercise'}\n  {reason.before}\n  -> {reason.after}"
                for reason in move.reasons
            ]
            why = "\n".join(lines) or "the old verdict is not in the store"
            table.add_row(Text(student), Text(move.exercise), points, Text(why))
    if table.row_count:
        console.print(table)
    for exercise, check, what, count in plan.causes():
        console.print(Text(f"{count} x {exercise}: {check or 'the exercise'}: {what}"))
    silent = len(plan.moves) - len(plan.movers)
    same = len(plan.outcomes) - len(plan.moves) - len(plan.broken)
    console.print(
        f"Marks move: {len(plan.movers)}. Only messages change: {silent}. As before: {same}.",
        highlight=False,
    )
    if plan.new:
        console.print(Text(f"Not in the gradebook until now: {', '.join(plan.new)}"))
    for student, reason in plan.broken.items():
        text = f"{student} could not be judged, and keeps the old marks: {reason}"
        console.print(Text(text, "red"))


@commands.command()
def export(
    topic: Annotated[str, typer.Argument(help="name of the topic, or `all`")],
    form: Annotated[Format, typer.Option("--format", help="who is to read it")] = Format.PLAIN,
    roster: RosterFile = None,
    to: Annotated[Path | None, typer.Option(help="the file; else one under course/export")] = None,
    column: Annotated[
        str, typer.Option(help="Canvas's name of the column, such as 'Pruning (1234)'")
    ] = "",
    only_final: Annotated[
        bool, typer.Option("--only-final", help="no mark where a person still has to give points")
    ] = False,
) -> None:
    """Write the gradebook's marks as CSV: plain, for Moodle or for Canvas."""
    from rich.text import Text

    from autograder.authoring.source import topics_in_order
    from autograder.classroom.export import export

    try:
        topics = _graded_topics(topics_in_order()) if topic == ALL else [topic]
        done = export(
            topics, form, _read_roster(roster), to=to, column=column, only_final=only_final
        )
    except (ValueError, OSError) as problem:
        raise stop(problem) from None
    console = console_for(error=True)
    if done.waiting:
        cure = "left empty" if only_final and form is not Format.PLAIN else "written as they are"
        count = f"{len(done.waiting)} marks are not final ({cure}); a person has to look at:"
        console.print(Text(count, "bold yellow"))
        for line in done.waiting:
            console.print(Text(f"  {line}", "yellow"), soft_wrap=True)
        console.print("Formgrader: `make lab`, menu Nbgrader, Formgrader, Manual grading.")
    if done.unknown:
        who = ", ".join(done.unknown)
        text = f"{form.value} has no number or address of: {who}. Give a roster: --roster FILE"
        console.print(Text(text, "yellow"), soft_wrap=True)
    print(f"{done.rows} rows: {done.path}")


def _graded_topics(topics: list[str]) -> list[str]:
    """Return the topics that the gradebook has.

    Raises:
        ValueError: there are none.
    """
    from autograder.gradebook.marks import open_gradebook

    with open_gradebook() as books:
        known = {assignment.name for assignment in books.assignments}
    if not known & set(topics):
        raise ValueError("no topic is in the gradebook yet; grade one first")
    return [topic for topic in topics if topic in known]
