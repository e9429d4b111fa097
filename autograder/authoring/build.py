"""Builds the notebooks of a topic from its source.

The same source always gives the same bytes: cell ids are made from names, and no output is kept.
The students' copy is made by nbgrader's own steps, run in this process and without its database.
"""

from __future__ import annotations

import ast
import copy
import difflib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from traitlets.utils.importstring import import_item

from autograder import settings
from autograder.authoring.messages import (
    STUB_MESSAGE,
    catalogue_entries,
    own_messages,
    topic_messages,
)
from autograder.authoring.opening import opening_cells, opening_texts
from autograder.authoring.source import (
    ENGLISH,
    Cell,
    TopicSource,
    load_source,
    topics_in_order,
)
from autograder.files import write_whole

SCHEMA_VERSION = 3
GOES_ON = "raises-exception"
# Shorter lines, such as `return mask`, say nothing about how an exercise is solved.
TELLING_LENGTH = 25


class LeakError(RuntimeError):
    """The students' copy would show part of a solution."""


def build_topic(topic: str) -> list[Path]:
    """Write the students' copy and the instructor's notebook, and return their paths.

    A file that is right already is left alone, its date too.

    Raises:
        SourceError: the source cannot be built.
        LeakError: the students' copy would show part of a solution.
    """
    paths = []
    for path, text in _built(topic).items():
        _write_if_stale(path, text)
        paths.append(path)
    return paths


def _write_if_stale(path: Path, text: str) -> None:
    if not _holds(path, text):
        write_whole(path, text, mode=0o644)


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def stale(topic: str) -> list[str]:
    """Return how the notebooks on disk differ from what a build would write; empty when fresh.

    The instructor's notebook lies in course/, which is not part of the repository, so it counts
    only where it exists.
    """
    differences: list[str] = []
    for path, text in _built(topic).items():
        if path.is_relative_to(settings.COURSE) and not path.exists():
            continue
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = difflib.unified_diff(
            old.splitlines(), text.splitlines(), f"{path.name} on disk", "built", lineterm="", n=0
        )
        differences += lines
    return differences


def build_plan() -> Path:
    """Write what `course_utils.progress` knows about the notebooks, and return its path."""
    _write_if_stale(settings.PLAN, _plan_text())
    return settings.PLAN


def plan_is_stale() -> bool:
    """Tell whether the notebooks have other exercises than `course_utils.progress` knows."""
    return not _holds(settings.PLAN, _plan_text())


def _plan_text() -> str:
    notebooks = []
    for topic in topics_in_order():
        source = load_source(topic)
        heads = {name: source.in_language(name).cells[0].source for name in source.languages}
        notebooks.append(
            {
                "topic": topic,
                "number": source.number,
                # The first line is `# 5 Weight clustering (…)`: number and title.
                "titles": {name: head.split("\n")[0][4:] for name, head in heads.items()},
                "written_points": sum(cell.points for cell in source.of_kind("written")),
                "exercises": [
                    {"name": e.name, "points": e.points, "minutes": e.minutes}
                    for e in source.exercises
                ],
            }
        )
    return json.dumps(notebooks, ensure_ascii=False, indent=1) + "\n"


def student_notebook(source: TopicSource) -> NotebookNode:
    """Return a fresh copy of the notebook that students get.

    Raises:
        LeakError: it would show part of a solution.
    """
    return copy.deepcopy(_student_notebook(source))


@lru_cache(maxsize=16)
def _student_notebook(source: TopicSource) -> NotebookNode:
    from autograder.gradebook.release import CLEARING

    notebook = instructor_notebook(source)
    resources: dict[str, Any] = {}
    for name in CLEARING:
        notebook, resources = import_item(name)().preprocess(notebook, resources)
    for cell in notebook.cells:
        if cell.cell_type == "code" and _stops_the_run(cell.source):
            _add_tag(cell, GOES_ON)
    if leaks := leaked_lines(source, notebook):
        raise LeakError(f"{source.topic}: the students' copy shows " + "; ".join(leaks))
    return notebook


def instructor_notebook(source: TopicSource) -> NotebookNode:
    """Return nbgrader's source notebook: with solutions, and without outputs."""
    cells = [_notebook_cell(cell) for cell in source.cells]
    # Below the title.
    cells[1:1] = opening_cells(opening_texts(source))
    notebook = new_notebook(cells=cells)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return notebook


def complete_notebook(
    topic: str, answers: Mapping[str, str | None] | None = None, language: str = ENGLISH
) -> NotebookNode:
    """Return the students' copy with answers filled in, as a student would hand it in.

    Args:
        topic: name of the topic.
        answers: text for the answer cell of each exercise or written question. An exercise that
            is not named gets the reference answer; one that is given None stays as it was.
        language: the language of its text cells.

    Raises:
        KeyError: there is no such exercise.
    """
    source = load_source(topic).in_language(language)
    questions = {cell.name: cell for cell in source.cells if cell.kind in ("exercise", "written")}
    given = dict(answers or {})
    if unknown := set(given) - set(questions):
        raise KeyError(f"{topic} has no exercise {', '.join(sorted(unknown))}")
    notebook = student_notebook(source)
    for cell in notebook.cells:
        if cell.id in questions:
            text = given.get(cell.id, questions[cell.id].solution)
            cell.source = cell.source if text is None else text
    return notebook


def leaked_lines(source: TopicSource, notebook: NotebookNode) -> list[str]:
    """Return the telling lines of solutions that also stand in the students' notebook.

    A line may be shown where the author gives the code on purpose, in a define or experiment
    cell: then it is no secret, and it is left out.
    """
    secret = {
        line.strip(): cell.name
        for cell in source.cells
        for line in cell.solution_lines
        if _is_telling(line.strip())
    }
    given = {
        line.strip()
        for cell in source.cells
        if cell.kind in ("define", "experiment")
        for line in cell.source.split("\n")
    }
    shown = {line.strip() for cell in notebook.cells for line in cell.source.split("\n")}
    return [f"{line!r} ({name})" for line, name in secret.items() if line in shown - given]


def _is_telling(line: str) -> bool:
    """Tell whether a line gives something away; comments and `for …:` headers do not."""
    return len(line) >= TELLING_LENGTH and not line.startswith("#") and not line.endswith(":")


def _built(topic: str) -> dict[Path, str]:
    source = load_source(topic)
    file = f"{source.notebook_name}.ipynb"
    notebooks = {}
    for language in source.languages:
        folder = settings.NOTEBOOKS if language == ENGLISH else settings.NOTEBOOKS / language
        notebooks[folder / file] = student_notebook(source.in_language(language))
    notebooks[settings.COURSE / "source" / topic / file] = instructor_notebook(source)
    built = {path: nbformat.writes(notebook) + "\n" for path, notebook in notebooks.items()}
    if len(source.languages) > 1:
        built[settings.MESSAGES / f"{topic}.json"] = _visible_messages(topic)
    return built


def _visible_messages(topic: str) -> str:
    """Return what the notebook's own checks say, in all languages; the hidden ones stay here."""
    said = [m for m in topic_messages(topic) if m.kind == "visible"]
    stub = [m for m in own_messages() if m.english == STUB_MESSAGE]
    return json.dumps(catalogue_entries([*stub, *said]), ensure_ascii=False, indent=1) + "\n"


def _notebook_cell(cell: Cell) -> NotebookNode:
    make = new_code_cell if cell.is_code else new_markdown_cell
    made = make(cell.source, id=cell.name)
    if cell.kind in ("check", "experiment"):
        _add_tag(made, GOES_ON)
    if cell.kind in ("prose", "experiment"):
        return made
    made.metadata["nbgrader"] = {
        "schema_version": SCHEMA_VERSION,
        "grade_id": cell.name,
        "grade": cell.kind in ("check", "written"),
        "solution": cell.kind in ("exercise", "written"),
        "locked": cell.kind in ("check", "define"),
        "task": False,
    }
    if cell.points:
        whole = cell.points.is_integer()
        made.metadata["nbgrader"]["points"] = int(cell.points) if whole else cell.points
    return made


def _add_tag(cell: NotebookNode, tag: str) -> None:
    tags = cell.metadata.setdefault("tags", [])
    if tag not in tags:
        tags.append(tag)


def _stops_the_run(text: str) -> bool:
    """Tell whether a stub stands at top level, where it raises at once."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    return any(isinstance(part, ast.Raise) for part in tree.body)
