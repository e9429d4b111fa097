"""What an attack is: what is handed in, what it deserves, and what must not happen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

TOPIC = "sample_topic"
NOTEBOOK = f"8_{TOPIC}"
MOST = {"halve": 3.0, "quarter": 2.0}
# The second exercise is attacked; the first one is right and keeps its points.
ONLY_HALVE = {"halve": 3.0, "quarter": 0.0}
NOTHING = {"halve": 0.0, "quarter": 0.0}
RIGHT = {
    "halve": "def halve(x):\n    if x.isnan().any():\n"
    "        raise ValueError('x must not hold NaN')\n    return x / 2",
    "quarter": "def quarter(x):\n    return halve(halve(x))",
}
# Secrets are planted in many places. An attack knows how they look, and not what they are.
CANARY = "CANARY-7d1e94"
CANARY_PATTERN = "CANARY-[0-9a-f]{6}"
NO_NOTEBOOK = "no notebook is handed in"


def code(text: str) -> str:
    """Return the text of a cell, written indented in an attack."""
    return dedent(text).strip() + "\n"


@dataclass(frozen=True)
class Attack:
    """One hostile submission.

    Attributes:
        name: the student's name, too.
        family: what kind of attack it is.
        tries: one sentence: what it tries.
        answers: exercise -> text of the answer cell; the others are right.
        deserves: exercise -> points, exactly.
        edit: changes the notebook before it is handed in.
        raw: text or bytes of the file, made from the finished notebook, where it is no notebook.
        files: changes the folder that is handed in; told the folder of secrets too.
        review: whether a person must be asked to look; None is either.
        forbidden: texts that no page may hold as they are.
        seconds: it waits, loops or is large, so only the whole class has it.
        elsewhere: why stock nbgrader cannot be given the same; empty when it can.
    """

    name: str
    family: str
    tries: str
    answers: Mapping[str, str] = field(default_factory=dict)
    deserves: Mapping[str, float] = field(default_factory=lambda: ONLY_HALVE)
    edit: Callable[[NotebookNode], None] | None = None
    raw: Callable[[NotebookNode], str | bytes] | None = None
    files: Callable[[Path, Path], None] | None = None
    review: bool | None = None
    forbidden: tuple[str, ...] = ()
    slow: bool = False
    elsewhere: str = ""

    @property
    def whole(self) -> bool:
        """It is about the file, and not only about what its code does."""
        return bool(self.edit or self.raw or self.files)

    def write(self, notebook: NotebookNode, submitted: Path, secrets: Path) -> None:
        """Hand it in.

        Args:
            notebook: the notebook as it was given out, with right answers.
            submitted: nbgrader's folder of submissions.
            secrets: a folder with a file `secret.txt` that nobody may read.
        """
        folder = submitted / self.name / TOPIC
        folder.mkdir(parents=True)
        for name, text in self.answers.items():
            cell(notebook, name).source = text
        if self.edit is not None:
            self.edit(notebook)
        # Written by hand: nbformat refuses what some attacks need.
        content = self.raw(notebook) if self.raw is not None else json.dumps(notebook)
        path = folder / f"{NOTEBOOK}.ipynb"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if self.files is not None:
            self.files(folder, secrets)


def cell(notebook: NotebookNode, name: str) -> Any:
    """Return the cell of this grade id."""
    return next(
        cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name or cell.get("id") == name
    )


def added(*sources: str) -> Callable[[NotebookNode], None]:
    """Return an edit that adds code cells at the end."""

    def edit(notebook: NotebookNode) -> None:
        for number, source in enumerate(sources):
            notebook.cells.append(new_code_cell(source, id=f"mine-{number}"))

    return edit


def family(name: str) -> Callable[..., Attack]:
    """Return what makes the attacks of one family on the second exercise."""

    def make(title: str, tries: str, source: str = "", **more: Any) -> Attack:
        answers = {"quarter": code(source)} if source else {}
        return Attack(title, name, tries, **{"answers": answers, **more})

    return make
