"""The first half of nbgrader's autograde: a clean notebook from the source and the answers.

It stands in place of nbgrader's list of sanitizers. Those repair the student's file; this takes
the given cells from the source and only the answers and added cells from the student.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.authoring.build import student_notebook
from autograder.authoring.source import TopicSource, load_source
from autograder.gradebook.books import reset_grades
from autograder.gradebook.given_text import GIVEN_KEY
from autograder.gradebook.sanitize import Shown, safe_outputs, without_html
from autograder.judge.notebook_file import UnreadableError, raw_cells
from autograder.judge.submission import (
    AddedCell,
    Submission,
    read_submission,
)

ADDED_TAG = "added-by-student"
ADDED_NOTE = "*Added by the student:*\n\n"


class SubmissionExporter(NotebookExporter):
    """Hands nbgrader an empty notebook instead of the submitted file.

    `RebuildFromSource` reads the file itself. So a file that is no notebook, or a link to
    somewhere else, takes the same way as any other and ends in the gradebook.
    """

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Convert a notebook; while nbgrader sanitizes, the file is not opened."""
        if not getattr(self.parent, "_sanitizing", False):
            return super().from_filename(filename, resources, **kw)
        resources = ResourcesDict() if resources is None else resources
        resources["metadata"] = ResourcesDict(name=Path(filename).stem, path=Path(filename).parent)
        return self.from_notebook_node(new_notebook(), resources, **kw)


class RebuildFromSource(NbGraderPreprocessor):
    """Puts the student's answers and added cells into a fresh copy of the students' notebook.

    It also sets the grades back to 0 points with 'needs manual grading', so that no old mark
    stands when anything goes wrong later. Marks that a person gave are kept.
    """

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Rebuild one notebook."""
        ids = resources["nbgrader"]
        with Gradebook(ids["db_url"]) as books:
            reset_grades(books, ids["notebook"], ids["assignment"], ids["student"])
        path = submitted_path(self, resources)
        source = load_source(ids["assignment"])
        submission = read_submission(path, ids["assignment"])
        for problem in submission.problems:
            self.log.warning("%s: %s", ids["student"], problem)
        try:
            raw = raw_cells(path)
        except UnreadableError:
            raw = []
        return rebuilt_notebook(submission, source.in_language(submission.language), raw), resources


def submitted_path(step: NbGraderPreprocessor, resources: ResourcesDict) -> Path:
    """Return the path of the file that the student handed in."""
    ids = resources["nbgrader"]
    course = step.parent.parent.coursedir
    folder = course.format_path(course.submitted_directory, ids["student"], ids["assignment"])
    return Path(folder) / f"{ids['notebook']}.ipynb"


def rebuilt_notebook(
    submission: Submission, source: TopicSource, raw: list[dict[str, Any]]
) -> NotebookNode:
    """Return the students' notebook with what the student wrote.

    Args:
        submission: the answers.
        source: the topic's source.
        raw: cells of the submitted file, for their saved outputs. They are for human eyes only.
    """
    notebook = student_notebook(source)
    given = {cell.id: cell for cell in notebook.cells}
    shown = Shown()
    cells: list[NotebookNode] = []
    number = 0
    for name in ["", *given]:
        added = [cell for cell in submission.added if cell.after == name]
        if name and not any(cell.replaces for cell in added):
            cells.append(_filled(given[name], submission, raw, shown))
        for cell in added:
            number += 1
            cells.append(_added_cell(cell, number, raw, shown))
    notebook.cells = cells
    return notebook


def _filled(
    cell: NotebookNode, submission: Submission, raw: list[dict[str, Any]], shown: Shown
) -> NotebookNode:
    if cell.id in submission.answers:
        cell.source = shown.cut(submission.answers[cell.id])
    elif cell.id in submission.written and submission.written[cell.id] != cell.source:
        cell.source = without_html(shown.cut(submission.written[cell.id]))
    elif cell.cell_type == "markdown" and "nbgrader" not in cell.metadata:
        cell.metadata[GIVEN_KEY] = True
    is_check = cell.metadata.get("nbgrader", {}).get("grade", False)
    if cell.cell_type == "code" and not is_check:
        cell.outputs = _saved_outputs(submission.places.get(cell.id), raw)
    return cell


def _added_cell(
    cell: AddedCell, number: int, raw: list[dict[str, Any]], shown: Shown
) -> NotebookNode:
    settings = {"id": f"added-{number}", "metadata": {"tags": [ADDED_TAG]}}
    if cell.kind == "markdown":
        return new_markdown_cell(ADDED_NOTE + without_html(shown.cut(cell.source)), **settings)
    source = shown.cut(cell.source)
    return new_code_cell(source, outputs=_saved_outputs(cell.index, raw), **settings)


def _saved_outputs(index: int | None, raw: list[dict[str, Any]]) -> list[NotebookNode]:
    if index is None or not 0 <= index < len(raw):
        return []
    return safe_outputs(raw[index].get("outputs"))
