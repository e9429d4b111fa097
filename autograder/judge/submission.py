"""Reads a submitted notebook: the answers and the cells that the student added, nothing else.

Tags, flags, metadata, outputs and attachments of the file decide nothing. Cells are told apart by
nbgrader's grade id, then by cell id, then by their text; an answer whose id is lost is found by
the function or class that it defines. Given cells always come from the notebook's source.

Where two cells carry the id of one exercise, the last one that defines it counts, because that is
what the student's own Run All would use; an untouched copy never counts. The others stay in their
places as added cells, so that helpers in them are still there.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from autograder.authoring.opening import opening_texts
from autograder.authoring.source import BEGIN, ENGLISH, Cell, TopicSource, load_source
from autograder.judge.notebook_file import MOST_CELLS, UnreadableError, parse_cells, read_bytes
from autograder.sandbox.cells import Cell as CodeCell
from autograder.settings import MEBIBYTE

SOURCE_BYTES = 5 * MEBIBYTE


@dataclass(frozen=True)
class AddedCell:
    """A cell that the student added.

    Attributes:
        source: its text.
        after: name of the source's cell that it follows; empty at the very beginning.
        kind: code or markdown.
        index: place in the submitted file, from 0.
        replaces: it is the student's version of the experiment `after`, and stands in its place.
    """

    source: str
    after: str
    kind: Literal["code", "markdown"] = "code"
    index: int = -1
    replaces: bool = False


@dataclass
class Submission:
    """What counts of a submitted notebook.

    Attributes:
        topic: name of the topic.
        answers: exercise name -> text of the answer cell. A missing cell has no entry.
        written: name of the written question -> text.
        added: the student's own cells, in the order of the file.
        problems: plain sentences about what is odd in the file.
        unreadable: nothing could be read; a person has to look.
        places: name of the source's cell -> its place in the submitted file, from 0.
        language: the language of the notebook that the student worked in. It decides no marks.
    """

    topic: str
    answers: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    added: list[AddedCell] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unreadable: bool = False
    places: dict[str, int] = field(default_factory=dict)
    language: str = ENGLISH

    @property
    def content_hash(self) -> str:
        """Hash of everything that a verdict depends on."""
        added = [[c.after, c.replaces, c.source] for c in self.added if c.kind == "code"]
        content = [self.topic, self.unreadable, sorted(self.answers.items()), added, self.problems]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_submission(path: Path, topic: str) -> Submission:
    """Read a submitted notebook. A bad file gives an empty Submission that says what is wrong.

    Raises:
        ValueError: there is no such topic, or its source is wrong. Never because of the file.
    """
    load_source(topic)  # An unknown topic is not the file's fault.
    try:
        content = read_bytes(path)
    except UnreadableError as error:
        return unreadable_submission(topic, str(error))
    return parse_submission(content, topic)


def parse_submission(content: bytes, topic: str) -> Submission:
    """Read a submission from its bytes; see `read_submission`."""
    source = load_source(topic)
    try:
        cells = [_RawCell(*item) for item in enumerate(parse_cells(content))]
        return _Reader(source.in_language(_language(source, cells)), cells).read()
    except UnreadableError as error:
        return unreadable_submission(topic, str(error))
    except Exception as error:  # whatever is in the file, the other submissions go on
        return unreadable_submission(
            topic, f"The notebook could not be read ({type(error).__name__})."
        )


def unreadable_submission(topic: str, problem: str) -> Submission:
    """Return the submission of somebody whose file cannot be read; `problem` says why."""
    return Submission(topic, problems=[problem], unreadable=True)


def reference_submission(source: TopicSource) -> Submission:
    """Return the submission of somebody who knows all the answers."""
    return Submission(
        source.topic,
        answers={cell.name: cell.solution for cell in source.of_kind("exercise")},
        written={cell.name: cell.solution for cell in source.of_kind("written")},
    )


def untouched_submission(source: TopicSource) -> Submission:
    """Return the submission of somebody who changed nothing."""
    answers = {cell.name: cell.stub for cell in source.of_kind("exercise")}
    return Submission(source.topic, answers=answers)


def code_cells(submission: Submission, source: TopicSource) -> list[CodeCell]:
    """Return the code cells of the rebuilt notebook, in order.

    The given cells come from the source. The student's answers and added cells are put in; an
    exercise whose answer cell is missing has no cell.
    """
    cells: list[CodeCell] = []
    numbers = iter(range(1, MOST_CELLS + 1))
    for name in ["", *(cell.name for cell in source.cells)]:
        added = [cell for cell in submission.added if cell.after == name and cell.kind == "code"]
        if name and not any(cell.replaces for cell in added):
            cell = source.cell(name)
            text = submission.answers.get(name) if cell.kind == "exercise" else cell.source
            if cell.is_code and text is not None:
                cells.append(CodeCell(name, cell.kind, text))
        cells += [CodeCell(f"added-{next(numbers)}", "added", cell.source) for cell in added]
    return cells


class _RawCell:
    """A cell of the submitted file, reduced to what may be used."""

    def __init__(self, index: int, raw: dict[str, Any]) -> None:
        self.index = index
        self.kind = raw.get("cell_type")
        self.text = _text(raw.get("source"))
        metadata = raw.get("metadata")
        marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        self.grade_id = marks.get("grade_id") if isinstance(marks, dict) else None
        self.cell_id = raw.get("id")
        self.name: str | None = None

    def same_text(self, text: str) -> bool:
        """Compare texts without regard to spaces at line ends."""
        return _stripped(self.text) == _stripped(text)

    def defines(self, name: str) -> bool:
        """Tell whether the text defines `name` at top level; it need not be valid Python."""
        pattern = rf"^(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*="
        return re.search(pattern, self.text, re.MULTILINE) is not None


def _language(source: TopicSource, cells: list[_RawCell]) -> str:
    """Return the language in which most given texts of the submitted file are."""
    texts = {_stripped(raw.text) for raw in cells if raw.kind == "markdown"}

    def found(language: str) -> int:
        given = source.in_language(language).cells
        return sum(not cell.is_code and _stripped(cell.stub) in texts for cell in given)

    return max(source.languages, key=found)


class _Reader:
    """Finds out which submitted cell is which."""

    def __init__(self, source: TopicSource, cells: list[_RawCell]) -> None:
        if sum(len(cell.text.encode()) for cell in cells) > SOURCE_BYTES:
            limit = SOURCE_BYTES // MEBIBYTE
            raise UnreadableError(f"The notebook has more than {limit} MiB of text in its cells.")
        self.source = source
        self.cells = cells
        self.submission = Submission(source.topic, language=source.language)
        self.problems = self.submission.problems

    @cached_property
    def _by_name(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.source.cells}

    def read(self) -> Submission:
        """Return the submission."""
        self._name_by_id()
        self._name_by_text()
        self._name_by_question()
        self._name_by_definition()
        if not any(raw.name for raw in self.cells):
            raise UnreadableError("No cell of the file belongs to this notebook.")
        chosen = {cell.name: self._choose(cell) for cell in self.source.cells}
        after = ""
        opening = opening_texts(self.source).values()
        for raw in self.cells:
            if raw.name is None and any(raw.same_text(text) for text in opening):
                continue
            if raw.name is None:
                self._add(raw, after)
            elif raw is chosen[raw.name]:
                after = raw.name
                self._take(raw, self._by_name[raw.name])
            elif not self._is_redundant(raw, chosen[raw.name]):
                self._add(raw, after)
        return self.submission

    def _name_by_id(self) -> None:
        for raw in self.cells:
            for candidate in (raw.grade_id, raw.cell_id):
                if isinstance(candidate, str) and candidate in self._by_name:
                    raw.name = candidate
                    break

    def _name_by_text(self) -> None:
        taken = {raw.name for raw in self.cells}
        for cell in self.source.cells:
            if cell.name in taken or not cell.stub.strip():
                continue
            kind = "code" if cell.is_code else "markdown"
            for raw in self.cells:
                if raw.name is None and raw.kind == kind and raw.same_text(cell.stub):
                    raw.name = cell.name
                    break

    def _name_by_question(self) -> None:
        taken = {raw.name for raw in self.cells}
        for cell in self.source.of_kind("written"):
            question = _stripped(cell.source.partition(BEGIN)[0])
            for raw in self.cells if question and cell.name not in taken else []:
                if raw.name is None and _stripped(raw.text).startswith(question):
                    raw.name = cell.name

    def _name_by_definition(self) -> None:
        for cell in self.source.of_kind("exercise"):
            named = [raw for raw in self.cells if raw.name == cell.name]
            if any(not raw.same_text(cell.stub) for raw in named):
                continue
            found = [r for r in self.cells if r.kind == "code" and r.defines(cell.name)]
            free = [raw for raw in found if raw.name is None]
            if free:
                free[-1].name = cell.name
            elif found and not named:
                other = found[-1].name
                self.problems.append(f"The answer of {cell.name!r} stands in the cell {other!r}.")
                # It is run there, so its own place stays empty.
                self.submission.answers[cell.name] = ""

    def _choose(self, cell: Cell) -> _RawCell | None:
        """Return the submitted cell that stands for `cell`; None when there is none."""
        named = [raw for raw in self.cells if raw.name == cell.name]
        what = {"check": f"The check cell of {cell.exercise!r}", "prose": "", "experiment": ""}.get(
            cell.kind, f"The cell {cell.name!r}"
        )
        if not named:
            if cell.kind in ("exercise", "written"):
                if cell.name not in self.submission.answers:
                    self.problems.append(f"{what} is missing.")
            elif what:
                self.problems.append(f"{what} was deleted. It was put back.")
            return None
        if cell.kind not in ("exercise", "written"):
            return named[0]
        touched = [raw for raw in named if not raw.same_text(cell.stub)]
        defining = [raw for raw in touched if raw.defines(cell.name)]
        chosen = (defining or touched or named)[-1]
        if any(not raw.same_text(chosen.text) for raw in touched):
            self.problems.append(f"{what} is there {len(named)} times. The last one counts.")
        return chosen

    def _take(self, raw: _RawCell, cell: Cell) -> None:
        """Take what may be taken from the submitted cell that stands for `cell`."""
        self.submission.places[cell.name] = raw.index
        if raw.kind != ("code" if cell.is_code else "markdown"):
            self.problems.append(
                f"The type of the cell {cell.name!r} was changed. It was set back."
            )
        if cell.kind == "exercise":
            self.submission.answers[cell.name] = raw.text
        elif cell.kind == "written":
            self.submission.written[cell.name] = raw.text
        elif not raw.same_text(cell.source):
            self._take_changed(raw, cell)

    def _take_changed(self, raw: _RawCell, cell: Cell) -> None:
        if cell.kind == "check":
            problem = f"The check cell of {cell.exercise!r} was changed. The original was used."
            self.problems.append(problem)
        elif cell.kind == "define":
            problem = f"The given cell {cell.name!r} was changed. The original was used"
            if new := _new_statements(raw.text, cell.source):
                # People put their own imports beside the given ones.
                self._add(raw, cell.name, text=new)
                problem += ", followed by the names that the student added"
            self.problems.append(f"{problem}.")
        else:
            self._add(raw, cell.name, replaces=cell.kind == "experiment")

    def _is_redundant(self, raw: _RawCell, chosen: _RawCell | None) -> bool:
        """Tell whether a further cell with the same name adds nothing."""
        cell = self._by_name[raw.name or ""]
        if cell.kind == "check" or raw.same_text(cell.stub):
            return True
        return chosen is not None and raw.same_text(chosen.text)

    def _add(
        self, raw: _RawCell, after: str, text: str | None = None, replaces: bool = False
    ) -> None:
        text = raw.text if text is None else text
        if text.strip() and raw.kind in ("code", "markdown"):
            added = AddedCell(text, after, raw.kind, raw.index, replaces)
            self.submission.added.append(added)


def _text(value: object) -> str:
    """Return a cell's text, from a string or a list of strings; anything else is empty."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    # JSON can hold half characters that no file can.
    value = value.encode("utf-8", "replace").decode("utf-8")
    return value.replace("\r\n", "\n").replace("\r", "\n")


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _new_statements(text: str, original: str) -> str:
    """Return the statements of `text` that define a name which `original` does not."""
    try:
        tree, known = ast.parse(text), set(_bound_names(ast.parse(original).body))
        new = [part for part in tree.body if set(_bound_names([part])) - known]
        return "\n".join(ast.unparse(part) for part in new)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _bound_names(statements: list[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for item in statement.names:
                yield (item.asname or item.name).partition(".")[0]
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id
