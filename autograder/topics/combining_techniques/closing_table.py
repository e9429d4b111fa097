"""The lecture's closing table, measured, as the README shows it: a text and a Pareto plot.

    python -m autograder.topics.combining_techniques.closing_table

runs the finished notebook and takes both from its outputs.
"""

from __future__ import annotations

import base64
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring.run_all import run_all
from autograder.settings import REPOSITORY

TOPIC = "combining_techniques"
TABLE = REPOSITORY / "docs" / "closing_table.txt"
PLOT = REPOSITORY / "docs" / "pareto_front.png"
# What only the cell of the table, or of the plot, says.
TABLE_CELL = "table: dict[str, Row] = {}"
PLOT_CELL = "explorer(plot_front"


def outputs_of(notebook: NotebookNode, text: str) -> list[NotebookNode]:
    """Return the outputs of the one code cell whose source contains `text`.

    Raises:
        LookupError: there is no such cell, or there are several.
    """
    cells = [c for c in notebook.cells if c.cell_type == "code" and text in c.source]
    if len(cells) != 1:
        raise LookupError(f"{len(cells)} cells contain {text!r}; there must be one")
    return cells[0].outputs


def table_text(notebook: NotebookNode) -> str:
    """Return what the cell of the table printed."""
    outputs = outputs_of(notebook, TABLE_CELL)
    printed = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    return "\n".join(line.rstrip() for line in printed.strip("\n").split("\n")) + "\n"


def plot_picture(notebook: NotebookNode) -> bytes:
    """Return the picture of the Pareto front as PNG.

    Raises:
        LookupError: the cell shows no picture.
    """
    for output in outputs_of(notebook, PLOT_CELL):
        if "image/png" in output.get("data", {}):
            return base64.b64decode(output.data["image/png"])
    raise LookupError("the cell of the plot shows no picture")


def write(table: Path = TABLE, plot: Path = PLOT) -> None:
    """Run the finished notebook and write table and plot."""
    notebook = run_all(TOPIC).notebook
    text, picture = table_text(notebook), plot_picture(notebook)
    table.write_text(text, encoding="utf-8")
    plot.write_bytes(picture)


if __name__ == "__main__":
    write()
