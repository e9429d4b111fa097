"""Builds what the exam practice ships: the question bank and the notebook."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.authoring.opening import SETUP, SETUP_CELL, opening_cells
from autograder.exam.bank import bank_is_stale, build_bank
from autograder.settings import NOTEBOOKS, PACKAGE

SOURCE = PACKAGE / "exam" / "notebook.py"
NOTEBOOK = NOTEBOOKS / "exam_practice.ipynb"


def exam_notebook() -> NotebookNode:
    """Return the notebook; ids are made from the cells' places, so it is always the same."""
    source = jupytext.reads(SOURCE.read_text(encoding="utf-8"), fmt="py:percent")
    cells = []
    for number, cell in enumerate(source.cells, 1):
        make = new_code_cell if cell.cell_type == "code" else new_markdown_cell
        cells.append(make(cell.source, id=f"exam-{number}"))
    cells[1:1] = opening_cells({SETUP_CELL: SETUP})
    notebook = new_notebook(cells=cells)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return notebook


def build_exam() -> list[Path]:
    """Write bank and notebook, unless they are right already, and return their paths."""
    text = nbformat.writes(exam_notebook()) + "\n"
    if not NOTEBOOK.exists() or NOTEBOOK.read_text(encoding="utf-8") != text:
        NOTEBOOK.write_text(text, encoding="utf-8", newline="\n")
    return [build_bank(), NOTEBOOK]


def exam_is_stale() -> list[str]:
    """Say what a build would change; empty when everything is fresh."""
    text = nbformat.writes(exam_notebook()) + "\n"
    fresh = NOTEBOOK.exists() and NOTEBOOK.read_text(encoding="utf-8") == text
    return [*([] if fresh else [f"{NOTEBOOK.name} is stale"]), *bank_is_stale()]
