"""The command line: `autograder exam COMMAND`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autograder.terminal import stop

app = typer.Typer(no_args_is_help=True, help="Papers, keys and marks from the exam's questions.")

Seed = Annotated[str, typer.Option(help="chooses questions, numbers and the order of options")]
Minutes = Annotated[int, typer.Option(min=0, help="length of the exam; 0 takes the whole bank")]


class Form(StrEnum):
    """What a paper is written as."""

    moodle = "moodle"
    gift = "gift"
    html = "html"
    pdf = "pdf"


class Language(StrEnum):
    """The languages of the questions."""

    en = "en"
    zh = "zh"


@app.command()
def export(
    form: Annotated[Form, typer.Option("--format", help="how the paper is written")] = Form.html,
    seed: Seed = "1",
    language: Annotated[Language, typer.Option(help="language of the paper")] = Language.en,
    minutes: Minutes = 120,
    folder: Annotated[Path, typer.Option(help="where the files go")] = Path("dist"),
) -> None:
    """Write a paper; with html and pdf its key as well."""
    from autograder.exam.export_gift import gift_text
    from autograder.exam.export_html import NoBrowser, paper_html, write_pdf
    from autograder.exam.export_moodle import moodle_xml
    from autograder.exam.paper import make_paper

    try:
        paper = make_paper(seed, language.value, minutes)
    except ValueError as problem:
        raise stop(problem) from None
    folder.mkdir(parents=True, exist_ok=True)
    safe = "".join(letter if letter.isalnum() else "_" for letter in seed)
    name = f"exam_{safe}_{minutes or 'all'}_{language.value}"
    if form in (Form.moodle, Form.gift):
        text = moodle_xml(paper) if form is Form.moodle else gift_text(paper)
        path = folder / f"{name}.{'xml' if form is Form.moodle else 'gift.txt'}"
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path)
        return
    for key in (False, True):
        page = paper_html(paper, key)
        path = folder / f"{name}{'_key' if key else ''}.{form.value}"
        if form is Form.html:
            path.write_text(page, encoding="utf-8", newline="\n")
        else:
            try:
                write_pdf(page, path)
            except NoBrowser as problem:
                raise stop(problem) from None
        print(path)


@app.command()
def mark(
    answers: Annotated[Path, typer.Argument(help="CSV: student, 1, 2, 3, …", exists=True)],
    seed: Seed,
    minutes: Minutes = 120,
    output: Annotated[Path | None, typer.Option(help="CSV file; printed when left out")] = None,
) -> None:
    """Mark a class: letters as on the paper of this seed, in a table with a row per student."""
    from autograder.exam.class_marks import mark_class, marks_csv
    from autograder.exam.paper import make_paper

    try:
        text = marks_csv(mark_class(make_paper(seed, "en", minutes), answers))
    except (ValueError, UnicodeDecodeError) as problem:
        raise stop(problem) from None
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8", newline="")
        print(output)


@app.command()
def coverage() -> None:
    """Show how many questions each slide has, and the counts by kind, topic and difficulty."""
    from autograder.exam.coverage import coverage_text

    print(coverage_text())
