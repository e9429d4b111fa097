"""The command line: `autograder COMMAND`. Each command imports what it needs, so help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autograder.classroom.commands import Topic, Workers, commands
from autograder.exam.commands import app as exam_app
from autograder.settings import topic_names
from autograder.terminal import console_for, stop

if TYPE_CHECKING:
    from rich.table import Table

    from autograder.judge.verdict import Verdict

CLASS_SIZES = [10, 100, 500]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Builds the course's notebooks and judges what students hand in.",
)

app.add_typer(commands)
app.add_typer(exam_app, name="exam")


@app.command()
def build(
    topics: Annotated[list[str] | None, typer.Argument(help="all when none is named")] = None,
    check: Annotated[bool, typer.Option(help="only say whether notebooks/ is stale")] = False,
) -> None:
    """Build the notebooks in all languages, the progress panel's plan, the exam's questions."""
    from autograder.authoring.build import build_plan, build_topic, plan_is_stale, stale
    from autograder.exam.build import build_exam, exam_is_stale

    try:
        for topic in topics or topic_names():
            if not check:
                print(*build_topic(topic), sep="\n")
            elif differences := stale(topic):
                print(*differences, sep="\n")
                raise typer.Exit(1)
        if not topics and not check:
            print(build_plan(), *build_exam(), sep="\n")
        elif not topics and plan_is_stale():
            print("course_utils/course_plan.json is stale")
            raise typer.Exit(1)
        elif not topics and (differences := exam_is_stale()):
            print(*differences, sep="\n")
            raise typer.Exit(1)
    except (ValueError, RuntimeError) as problem:
        raise stop(problem) from None


@app.command()
def messages(
    topics: Annotated[list[str] | None, typer.Argument(help="all when none is named")] = None,
) -> None:
    """Put new messages of checks into messages.toml, and say which lack a translation."""
    from autograder.authoring import messages as spoken

    try:
        lacking = [] if topics else spoken.update_messages(spoken.OWN_FILE, spoken.judge_messages())
        for topic in topics or topic_names():
            lacking += [f"{topic}: {line}" for line in spoken.update_topic(topic)]
    except ValueError as problem:
        raise stop(problem) from None
    print(*lacking, sep="\n", end="\n" if lacking else "")
    if lacking:
        raise typer.Exit(1)


@app.command("new-topic")
def new_topic(
    name: Annotated[str, typer.Argument(help="of its folder, such as low_rank")],
    title: Annotated[str, typer.Option(help="made from the name when left out")] = "",
    number: Annotated[int, typer.Option(min=0, help="of the notebook; 0 takes the next one")] = 0,
) -> None:
    """Make the folder of a new topic, which builds and grades as it is."""
    from autograder.authoring.new_topic import make_topic

    try:
        print(*make_topic(name, title, number), sep="\n")
    except ValueError as problem:
        raise stop(problem) from None


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what works on this machine, and how to mend what does not."""
    from autograder.doctor import examine

    if json:
        from dataclasses import asdict
        from json import dumps

        findings = examine()
        print(dumps([asdict(finding) for finding in findings], indent=1))
    else:
        from rich.table import Table
        from rich.text import Text

        console = console_for()
        with console.status("looking"):
            findings = examine()
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for finding in findings:
            mark = Text("✓", "green") if finding.works else Text("✗", "bold red")
            table.add_row(mark, finding.name, Text(finding.detail))
            if not finding.works and finding.mend:
                table.add_row("", "", Text(f"→ {finding.mend}", "yellow"))
        console.print(table)
    if not all(finding.works for finding in findings):
        raise typer.Exit(1)


@app.command()
def judge(
    file: Annotated[Path, typer.Argument(help="a submitted notebook")],
    topic: Annotated[str, typer.Option(help="read from the file's name when left out")] = "",
    json: Annotated[bool, typer.Option("--json", help="print the verdict as JSON")] = False,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="only for code that you wrote yourself"),
    ] = False,
) -> None:
    """Judge one submission and print its verdict."""
    from autograder.judge.judge import JudgeBroken, judge_submission
    from autograder.sandbox.bubblewrap import SandboxUnavailable

    name = topic or file.stem.partition("_")[2]
    try:
        verdict = judge_submission(file, name, unsafe=unsafe)
    except (SandboxUnavailable, JudgeBroken, ValueError) as problem:
        raise stop(problem) from None
    if json:
        print(verdict.model_dump_json(indent=1))
    else:
        _show(verdict)


def _show(verdict: Verdict) -> None:
    from rich.text import Text

    console = console_for()
    console.print(_verdict_table(verdict))
    for problem in verdict.problems:
        console.print(Text(f"note: {problem}", "yellow"))
    if verdict.needs_review:
        console.print(Text("A person has to look at this submission.", "bold yellow"))
    mebibytes = verdict.peak_memory / 2**20
    console.print(f"{verdict.seconds:.1f} s, {mebibytes:.0f} MiB, mode: {verdict.mode}")


def _verdict_table(verdict: Verdict) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"{verdict.points:g} of {verdict.max_points:g} points", title_justify="left"
    )
    table.add_column("exercise", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("checks", ratio=1)
    for exercise in verdict.exercises:
        # Text, not markup: a message may hold what a student wrote.
        checks = Text(exercise.message)
        for check in exercise.checks:
            if checks:
                checks.append("\n")
            checks.append("✓ " if check.passed else "✗ ", "green" if check.passed else "bold red")
            checks.append(check.name, "dim" if check.passed else "bold")
            if check.message:
                checks.append(f"\n  {check.message}")
        table.add_row(exercise.name, f"{exercise.points:g}/{exercise.max_points:g}", checks)
        table.add_section()
    return table


@app.command()
def demo(
    topics: Annotated[
        list[str] | None, typer.Argument(help="all when none is named; the first has every attack")
    ] = None,
    workers: Workers = 2,
) -> None:
    """Grade a class of good, wrong and hostile submissions; fail unless all is just."""
    from autograder.authoring.source import topics_in_order
    from autograder.classroom.demo_run import run_demo
    from autograder.classroom.grading import BookkeepingFailed
    from autograder.sandbox.bubblewrap import SandboxUnavailable

    try:
        just = run_demo(topics or topics_in_order(), workers, console_for())
    except (SandboxUnavailable, BookkeepingFailed, ValueError) as problem:
        raise stop(problem) from None
    if not just:
        raise typer.Exit(1)


@app.command()
def calibrate(
    topic: Topic,
    seeds: Annotated[int, typer.Option(min=5, help="how many seeds to measure with")] = 5,
) -> None:
    """Measure a topic's expected values anew, and say what changed."""
    from autograder.authoring.calibration import calibrate

    calibrate(topic, seeds=seeds)


@app.command()
def checkpoints() -> None:
    """Train the course's checkpoints anew, from fixed seeds."""
    from autograder.authoring.train_checkpoints import train_checkpoints

    for name, facts in train_checkpoints().items():
        print(name, facts)


@app.command()
def data() -> None:
    """Make the course's data anew from the full data set."""
    from autograder.authoring.datasets import build_datasets

    for path in build_datasets():
        print(path)


@app.command()
def release() -> None:
    """Pack what students get into dist/: a zip and a wheel for Colab, nothing of the autograder."""
    from autograder.classroom.release import build_wheel, pack

    try:
        archive = pack()
        print(archive, build_wheel(archive), sep="\n")
    except RuntimeError as problem:
        raise stop(problem) from None


@app.command()
def bench(
    topic: Annotated[str, typer.Argument(help="name of the topic")] = "network_pruning",
    rounds: Annotated[
        int, typer.Option(min=0, help="how often stock nbgrader and the judge take turns")
    ] = 2,
    per_worker: Annotated[
        int, typer.Option(min=0, help="submissions for each worker, to compare numbers of workers")
    ] = 6,
    size: Annotated[
        list[int] | None,
        typer.Option(min=0, help="students of a class; may be given again; else 10, 100, 500"),
    ] = None,
    workers: Workers = 2,
) -> None:
    """Compare the judge with stock nbgrader, one worker with more, small classes with large ones.

    What is 0 is left out.
    """
    from autograder.classroom.bench import BenchFailed, run_bench
    from autograder.classroom.bench_scale import ScaleFailed
    from autograder.classroom.stock_course import StockFailed

    try:
        sizes = [number for number in size or CLASS_SIZES if number]
        run_bench(topic, rounds, per_worker, sizes, workers, console_for())
    except (BenchFailed, ScaleFailed, StockFailed, ValueError) as problem:
        raise stop(problem) from None


@app.command()
def steady(
    topic: Annotated[str, typer.Argument(help="name of the topic")] = "network_pruning",
    runs: Annotated[int, typer.Option(min=0, help="how often each submission is judged")] = 50,
    answer_runs: Annotated[int, typer.Option(min=0, help="the same for each known answer")] = 1,
    meter_runs: Annotated[int, typer.Option(min=0, help="comparisons of a net with itself")] = 100,
    workers: Workers = 1,
) -> None:
    """Measure how steady judge and speed meter are while another core is busy."""
    from autograder.classroom.bench_steady import run_steady

    if not run_steady(topic, runs, answer_runs, meter_runs, workers, console_for()):
        raise typer.Exit(1)
