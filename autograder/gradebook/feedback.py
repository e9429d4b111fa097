"""The feedback page: what each check says stands beside the student's own code.

nbgrader writes the page; this adds a template to it, and leaves the judge's inputs out of messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbformat import NotebookNode
from traitlets import default

from autograder.gradebook.given_text import given_markdown
from autograder.gradebook.sanitize import plain_text
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict

Translate = Callable[[str], str]
VERDICT_KEY = "autograder_verdict"
SHOWN_ABOVE_KEY = "autograder_shown_above"
TEMPLATES = Path(__file__).parent / "templates"
# Checks say `what: expected …, got …`: what was given to the function stands before these words.
ANSWER_BEGINS = re.compile(r"\b(expected|got|your code raised)\b|[:,] at index ")
# Numbers in square brackets, nested or not; `(2, 3)` in round ones is a shape, and stays.
NUMBERS = re.compile(r"\[(?:[-+\d.,\s]|e[-+]|nan|inf|True|False|\[…\])++\]")
DEEPEST = 6
LONGEST_HEAD = 2000
HIDDEN = "[…]"
COLOURED_CELLS = 1000


class FeedbackExporter(HTMLExporter):
    """nbgrader's feedback page with the verdicts beside the answers."""

    def default_filters(self) -> Iterable[tuple[str, Any]]:
        """Return the filters that the templates use."""
        yield from super().default_filters()
        yield "highlight_code", _coloured
        yield "given_markdown", given_markdown

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert a notebook.

        HTMLExporter reads the finished page once more, cell by cell, for what this template has
        not: cells of JupyterLab's, and images without a description. That takes three quarters of
        the time, and is left out.
        """
        return TemplateExporter.from_notebook_node(self, nb, self._init_resources(resources), **kw)

    @default("template_file")
    def _template_file_default(self) -> str:
        return "verdicts.html.j2"

    @default("template_paths")
    def _template_paths(self, *args: Any, **kwargs: Any) -> list[str]:
        return [str(TEMPLATES), *super()._template_paths(*args, **kwargs)]


def _coloured(source: str, metadata: object = None) -> str:
    """Return code as HTML with its syntax in colours, as nbconvert does it."""
    return _coloured_once(source)


# Most cells are given, and the same on everybody's page.
@lru_cache(COLOURED_CELLS)
def _coloured_once(source: str) -> str:
    return Highlight2HTML(pygments_lexer="python")(source)


def title(check: str) -> str:
    """Return a check's name as words."""
    return re.sub(r"^test_|\[.*$", "", check).replace("_", " ")


def without_inputs(message: str) -> str:
    """Return a check's message without the numbers that the judge gave to the function.

    What was expected and what came stays, and so do shapes and single values.
    """
    lines = []
    for line in message.split("\n"):
        begin = ANSWER_BEGINS.search(line)
        place = begin.start() if begin else len(line)
        head = line[: min(place, LONGEST_HEAD)]
        # From the inside: a list of lists becomes one mark.
        for _ in range(DEEPEST):
            head = NUMBERS.sub(HIDDEN, head)
        lines.append(head + line[place:])
    return "\n".join(lines)


def message_for_student(check: CheckVerdict, translate: Translate = str) -> str:
    """Return what a failed check tells the student; empty when it passed."""
    # The inputs are found by English words, so they go first.
    return "" if check.passed else plain_text(translate(without_inputs(check.message)))


def verdict_metadata(exercise: ExerciseVerdict, translate: Translate = str) -> dict[str, Any]:
    """Return what the template shows beside an answer, as plain data for the cell's metadata.

    Args:
        exercise: the verdict on one exercise.
        translate: puts a message into the language of the student's notebook.
    """
    return {
        "points": f"{exercise.points:g}",
        "max_points": f"{exercise.max_points:g}",
        "kind": "all"
        if exercise.points >= exercise.max_points
        else "some"
        if exercise.points
        else "none",
        "message": plain_text(translate(exercise.message)),
        "checks": _grouped(exercise.checks, translate),
    }


def _grouped(checks: Sequence[CheckVerdict], translate: Translate) -> list[dict[str, Any]]:
    """Return the checks for the page; failed ones in a row that say the same are one entry."""
    entries: list[dict[str, Any]] = []
    for check in checks:
        message = message_for_student(check, translate)
        last = entries[-1] if entries else None
        if last and message and not last["passed"] and last["message"] == message:
            last["titles"].append(plain_text(title(check.name)))
            continue
        entries.append(
            {
                "titles": [plain_text(title(check.name))],
                "passed": check.passed,
                "gate": check.gate,
                "message": message,
            }
        )
    return entries
