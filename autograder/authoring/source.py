"""Reads a topic's notebook source, `autograder/topics/T/notebook.py`, into typed cells.

The file is in jupytext's percent format. Short tags in the cell headers say what a cell is:

    # %% [markdown]                                        prose
    # %% define                                            given code that answers need
    # %%                                                   given experiment or plot
    # %% exercise="apoz" difficulty=1 minutes=10           answer cell, with one solution region
    # %% check="apoz" points=4                             visible check of the exercise above
    # %% [markdown] written="why_slower" points=2          written question, with a model answer
    # %% [markdown] lang="zh-TW"                           the text cell above, in another language
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jupytext

from autograder import settings

Kind = Literal["prose", "define", "experiment", "exercise", "check", "written"]

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
DEFINE_TAG = "define"
STUB = 'raise NotImplementedError("{name}: not implemented yet")'
# In a class body the stub must not stop the definition, else nobody could name the class.
CLASS_STUB = f"def __init__(self, *arguments, **keywords):\n    {STUB}"
# In both languages: nbgrader itself writes it, and knows of none.
WRITTEN_STUB = "*Write your answer here. 請在此寫下答案。*"
IN_A_CLASS_BODY = re.compile(rf"^class (?s:.*)^    {BEGIN}", re.MULTILINE)
SOURCE_FILE = "notebook.py"
HIGHEST_DIFFICULTY = 5
LANGUAGE_TAG = "lang"
# English stands in the text cells themselves, the others in twins below them.
ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh-TW")
# What jupytext itself notes about blank lines.
SPACING = ("lines_to_next_cell", "lines_to_end_of_cell_marker")
# The tags of a cell header, by the tag that says what the cell is.
TAGS = {
    "exercise": {"exercise", "difficulty", "minutes"},
    "check": {"check", "points"},
    "written": {"written", "points"},
}


def code_stub(name: str, source: str) -> str:
    """Return what stands in place of the solution in an answer cell.

    Args:
        name: name of the exercise.
        source: the cell's text, solution region included.
    """
    stub = CLASS_STUB if IN_A_CLASS_BODY.search(source) else STUB
    return stub.format(name=name)


class SourceError(ValueError):
    """A notebook source that cannot be built; the text names every trouble with its line."""


@dataclass(frozen=True)
class Cell:
    """One cell of the source.

    Attributes:
        kind: what the cell is.
        name: unique in the notebook. Checks are named after their exercise ("apoz-check"),
            cells without a tag by kind and number ("define-1").
        source: the cell's text, solution region included.
        line: line of the cell's header in notebook.py.
        exercise: the exercise that a check cell is for; empty for other kinds.
        points: points of a check or written cell, above 0; 0 for other kinds.
        difficulty: 1 to 5 for exercises; 0 for other kinds.
        minutes: time that a student needs, for exercises; 0 for other kinds.
        twins: the text in other languages, as pairs of language and text; empty for code.
    """

    kind: Kind
    name: str
    source: str
    line: int = 0
    exercise: str = ""
    points: float = 0.0
    difficulty: int = 0
    minutes: int = 0
    twins: tuple[tuple[str, str], ...] = ()

    @property
    def is_code(self) -> bool:
        """Tell whether this is a code cell; the others are markdown."""
        return self.kind not in ("prose", "written")

    @property
    def solution(self) -> str:
        """The text with its solution, without the marker lines."""
        lines = self.source.split("\n")
        return "\n".join(line for line in lines if line.strip() not in (BEGIN, END))

    @property
    def stub(self) -> str:
        """The text that students get: a stub in place of the solution."""
        if self.kind not in ("exercise", "written"):
            return self.source
        stub = code_stub(self.name, self.source) if self.is_code else WRITTEN_STUB
        before, _, rest = self.source.partition(BEGIN)
        indent = before.rpartition("\n")[2]
        return f"{before}{stub.replace(chr(10), chr(10) + indent)}{rest.partition(END)[2]}"

    @property
    def solution_lines(self) -> list[str]:
        """The lines between the markers."""
        lines, inside = [], False
        for line in self.source.split("\n"):
            if line.strip() in (BEGIN, END):
                inside = line.strip() == BEGIN
            elif inside:
                lines.append(line)
        return lines


@dataclass(frozen=True)
class Exercise:
    """One exercise: its answer cell together with the points from its check cell."""

    name: str
    points: float
    difficulty: int
    minutes: int
    solution: str


@dataclass(frozen=True)
class TopicSource:
    """A whole notebook source."""

    topic: str
    number: int
    title: str
    cells: tuple[Cell, ...]
    language: str = ENGLISH

    @property
    def notebook_name(self) -> str:
        """File name of the notebook, without the extension."""
        return f"{self.number}_{self.topic}"

    @property
    def exercises(self) -> list[Exercise]:
        """The exercises, in notebook order."""
        points = {cell.exercise: cell.points for cell in self.of_kind("check")}
        return [
            Exercise(cell.name, points[cell.name], cell.difficulty, cell.minutes, cell.solution)
            for cell in self.of_kind("exercise")
        ]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that any text cell has, English first."""
        found = {language for cell in self.cells for language, _ in cell.twins}
        return tuple(language for language in LANGUAGES if language == ENGLISH or language in found)

    def in_language(self, language: str) -> TopicSource:
        """Return the same notebook with its text cells in `language`; English where none is."""
        if language == self.language:
            return self
        cells = (replace(c, source=dict(c.twins).get(language, c.source)) for c in self.cells)
        return replace(self, cells=tuple(cells), language=language)

    def of_kind(self, kind: Kind) -> list[Cell]:
        """Return the cells of one kind, in notebook order."""
        return [cell for cell in self.cells if cell.kind == kind]

    def cell(self, name: str) -> Cell:
        """Return the cell called `name`.

        Raises:
            KeyError: there is no such cell.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise KeyError(name)


def topics_in_order() -> list[str]:
    """Return the topics in the order of their notebooks' numbers."""
    return sorted(settings.topic_names(), key=lambda topic: load_source(topic).number)


def load_source(topic: str) -> TopicSource:
    """Read the notebook source of `topic`; an unchanged file is read only once.

    Raises:
        ValueError: there is no such topic.
        SourceError: the source cannot be built.
    """
    path = settings.topic_folder(topic) / SOURCE_FILE
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _load(path: Path, _changed: int) -> TopicSource:
    return parse_source(path.read_text(encoding="utf-8"), path.parent.name)


def parse_source(text: str, topic: str) -> TopicSource:
    """Turn the text of a notebook.py into a TopicSource.

    Args:
        text: the file's text, percent format.
        topic: the name that the header must give.

    Raises:
        SourceError: with one line for each thing that is wrong.
    """
    notebook = jupytext.reads(text, fmt="py:percent")
    numbers = [n for n, line in enumerate(text.splitlines(), 1) if line.startswith("# %%")]
    if len(numbers) != len(notebook.cells):
        raise SourceError(f"{topic}: there is text before the first cell header '# %%'")
    problems = list(_header_problems(notebook.metadata, topic))
    counts: dict[str, int] = {}
    cells: list[Cell] = []
    failed = False
    for cell, line in zip(notebook.cells, numbers, strict=True):
        try:
            if LANGUAGE_TAG in cell.metadata:
                cells[-1:] = [_with_twin(cells[-1:], cell)]
            else:
                cells.append(_make_cell(cell, line, counts))
        except ValueError as error:
            failed = True
            problems.append(f"line {line}: {error}")
    if not failed:
        problems += _order_problems(cells)
    for cell in cells:
        for text in (cell.source, *dict(cell.twins).values()):
            found = _cell_problems(replace(cell, source=text))
            problems += [f"line {cell.line}: {problem}" for problem in found]
    if problems:
        raise SourceError(f"{topic}/{SOURCE_FILE}:\n  " + "\n  ".join(problems))
    number, title = int(notebook.metadata["number"]), str(notebook.metadata["title"])
    return TopicSource(topic, number, title, tuple(cells))


def _header_problems(metadata: dict[str, Any], topic: str) -> Iterator[str]:
    if metadata.get("topic") != topic:
        yield f"header: topic must be {topic!r}, the name of its folder"
    if not isinstance(metadata.get("number"), int):
        yield "header: number must be the notebook's number, such as 1"
    if not metadata.get("title"):
        yield "header: title is missing"


def _make_cell(cell: Any, line: int, counts: dict[str, int]) -> Cell:
    """Make a typed cell from one of jupytext's.

    Raises:
        ValueError: a tag is unknown, missing, or has a value it cannot have.
    """
    tags = {key: value for key, value in cell.metadata.items() if key not in SPACING}
    is_code = cell.cell_type == "code"
    is_define = tags.get("title") == DEFINE_TAG
    if is_define:
        del tags["title"]
    kinds = [kind for kind in TAGS if kind in tags]
    if len(kinds) + is_define > 1:
        raise ValueError(
            f"a cell is one thing only, not {', '.join(kinds + ['define'] * is_define)}"
        )
    known = TAGS[kinds[0]] if kinds else set()
    if unknown := set(tags) - known:
        shown = ", ".join(repr(tags[key]) if key == "title" else key for key in sorted(unknown))
        raise ValueError(f"unknown tag {shown}")
    if missing := known - set(tags):
        raise ValueError(f"{kinds[0]} cell without {', '.join(sorted(missing))}")
    if kinds and (kinds[0] == "written") == is_code:
        raise ValueError("exercises and checks are code cells, written questions are [markdown]")
    if is_define and not is_code:
        raise ValueError("a define cell is a code cell")
    if kinds:
        return _tagged_cell(kinds[0], tags, cell.source, line)
    kind: Kind = "define" if is_define else "experiment" if is_code else "prose"
    counts[kind] = counts.get(kind, 0) + 1
    return Cell(kind, f"{kind}-{counts[kind]}", cell.source, line)


def _with_twin(above: list[Cell], twin: Any) -> Cell:
    """Return the cell above with the text of its twin in another language.

    Raises:
        ValueError: no text cell is above, or its twin is no text, or in no known language.
    """
    tags = {key: value for key, value in twin.metadata.items() if key not in SPACING}
    language = tags.pop(LANGUAGE_TAG)
    if language not in LANGUAGES or language == ENGLISH:
        others = ", ".join(repr(known) for known in LANGUAGES if known != ENGLISH)
        raise ValueError(f"{LANGUAGE_TAG}={language!r} must be one of {others}")
    if tags:
        raise ValueError(f"a {LANGUAGE_TAG} cell has no other tags than its language")
    if twin.cell_type == "code" or not above or above[0].is_code:
        raise ValueError(f"a {LANGUAGE_TAG} cell is [markdown] and stands below a [markdown] cell")
    if language in dict(above[0].twins):
        raise ValueError(f"{above[0].name!r} has two cells with {LANGUAGE_TAG}={language!r}")
    return replace(above[0], twins=(*above[0].twins, (language, twin.source)))


def _tagged_cell(tag: str, tags: dict[str, Any], source: str, line: int) -> Cell:
    name = tags[tag]
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{tag}={name!r} must be a Python name")
    if tag == "exercise":
        difficulty = _whole(tags, "difficulty", HIGHEST_DIFFICULTY)
        minutes = _whole(tags, "minutes", 600)
        return Cell("exercise", name, source, line, difficulty=difficulty, minutes=minutes)
    points = tags["points"]
    if isinstance(points, bool) or not isinstance(points, int | float) or not 0 < points < 1000:
        raise ValueError(f"points={points!r} of {name!r} must be a number above 0")
    if tag == "check":
        return Cell("check", f"{name}-check", source, line, exercise=name, points=float(points))
    return Cell("written", name, source, line, points=float(points))


def _whole(tags: dict[str, Any], tag: str, high: int) -> int:
    value = tags[tag]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise ValueError(f"{tag}={value!r} must be a whole number from 1 to {high}")
    return value


def _order_problems(cells: list[Cell]) -> Iterator[str]:
    seen: dict[str, Cell] = {}
    checked = {cell.exercise for cell in cells if cell.kind == "check"}
    for cell in cells:
        if cell.name in seen:
            what = f"second check of {cell.exercise!r}" if cell.exercise else f"name {cell.name!r}"
            yield f"line {cell.line}: {what}; the first is in line {seen[cell.name].line}"
        above = seen.get(cell.exercise)
        if cell.kind == "check" and (above is None or above.kind != "exercise"):
            yield f"line {cell.line}: check of {cell.exercise!r}, but no such exercise is above it"
        if cell.kind == "exercise" and cell.name not in checked:
            yield f"line {cell.line}: exercise {cell.name!r} has no check cell"
        seen.setdefault(cell.name, cell)


def _cell_problems(cell: Cell) -> Iterator[str]:
    lines = [line.strip() for line in cell.source.split("\n")]
    begins, ends = lines.count(BEGIN), lines.count(END)
    if cell.kind in ("exercise", "written"):
        if (begins, ends) == (0, 0):
            yield f"{cell.name!r} has no solution region ({BEGIN} … {END})"
        elif (begins, ends) != (1, 1):
            yield f"{cell.name!r} must have exactly one solution region"
        elif lines.index(BEGIN) > lines.index(END):
            yield f"{cell.name!r}: {END} comes before {BEGIN}"
        elif not any(line.strip() for line in cell.solution_lines):
            yield f"{cell.name!r}: the solution region is empty"
    elif begins or ends:
        yield f"a {cell.kind} cell must not hold a solution region"
    # nbgrader also looks for its markers inside longer lines.
    loose = [line for line in lines if "BEGIN SOLUTION" in line or "END SOLUTION" in line]
    if any(line not in (BEGIN, END) for line in loose):
        yield f"a solution marker must stand alone on its line: {BEGIN} or {END}"
    if cell.kind == "exercise":
        yield from _answer_problems(cell)


def _answer_problems(cell: Cell) -> Iterator[str]:
    try:
        tree = ast.parse(cell.solution)
    except SyntaxError as error:
        yield f"{cell.name!r} is not valid Python: {error}"
        return
    if cell.name not in defined_names(tree):
        yield f"the cell of {cell.name!r} must define a function or class of this name"


def defined_names(tree: ast.Module) -> set[str]:
    """Return the functions and classes that are defined at the top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {statement.name for statement in tree.body if isinstance(statement, kinds)}
