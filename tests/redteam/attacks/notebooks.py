"""Files that are odd notebooks, or none."""

from __future__ import annotations

import json

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tests.redteam.attack import MOST, NOTHING, RIGHT, cell, family

notebooks = family("the notebook file")


def settings(notebook: NotebookNode) -> None:
    """Everything that earns points in nbgrader, and no answer."""
    for exercise in ("halve", "quarter"):
        cell(notebook, exercise).source = "pass"
        check = cell(notebook, f"{exercise}-check")
        check.source = "assert True"
        check.metadata["nbgrader"].update(points=1000, solution=True, locked=False)
    for item in notebook.cells:
        item.metadata["tags"] = ["skip-execution", "raises-exception"]


def skipping(notebook: NotebookNode) -> None:
    """Tags that let nbgrader pass over the checks."""
    for exercise in ("halve", "quarter"):
        cell(notebook, exercise).source = "pass"
        cell(notebook, f"{exercise}-check").metadata["tags"] = ["skip-execution"]


def doubled(notebook: NotebookNode) -> None:
    """Graded cells twice, the second copy of each check with full points already."""
    for exercise in ("halve", "quarter"):
        cell(notebook, exercise).source = "pass"
        check = nbformat.from_dict(cell(notebook, f"{exercise}-check"))
        check.source = "print(3.0)"
        notebook.cells.append(check)


def no_checks(notebook: NotebookNode) -> None:
    """The check cells are deleted, and nothing is answered."""
    notebook.cells = [c for c in notebook.cells if not c.get("id", "").endswith("-check")]
    for exercise in ("halve", "quarter"):
        cell(notebook, exercise).source = "pass"


def helper_files(notebook: NotebookNode) -> None:
    """Magics that write and run files, and commands of the shell."""
    notebook.cells.insert(0, new_code_cell("!touch /tmp/GRAFFITI ~/GRAFFITI", id="shell"))
    notebook.cells.insert(1, new_code_cell("%%bash\ntouch ~/GRAFFITI; kill -9 -1", id="bash"))
    notebook.cells.insert(2, new_code_cell("%run /tmp/evil.py\n%load_ext evil", id="magic"))


def odd_ids(notebook: NotebookNode) -> None:
    """Ids of cells that are paths, very long, or no text at all."""
    for number, name in enumerate(("../../../evil", "a" * 100_000, "\x00", "halve/../quarter")):
        notebook.cells.append(new_code_cell(f"x{number} = 1", id="x"))
        notebook.cells[-1]["id"] = name
        notebook.cells[-1].metadata["nbgrader"] = {"grade_id": name, "grade": True, "points": 9}
    notebook.cells.append(new_code_cell("y = 1", id="y"))
    notebook.cells[-1]["id"] = {"a": [1]}
    notebook.cells[-1].metadata["nbgrader"] = {"grade_id": ["halve"]}


def odd_characters(notebook: NotebookNode) -> None:
    """Half characters, zero bytes and escape codes in an added cell."""
    notebook.cells.append(new_code_cell("a = '\ud800'\x00\x1b[2J", id="odd"))


def deep_given_cell(notebook: NotebookNode) -> None:
    """A given cell with a sum of 600 terms added: its text cannot be made again."""
    given = next(c for c in notebook.cells if c.source.strip() == "import torch")
    given.source = "import torch\nx = " + " + ".join(["1"] * 600)


def deep_code(notebook: NotebookNode) -> None:
    """Added cells that bring parsers to their limits."""
    sources = (
        "(" * 5000,
        "-" * 50_000 + "1",
        "a" + ".b" * 50_000,
        "not " * 50_000 + "1",
        "f'{" * 1000,
        "lambda:" * 20_000 + "1",
        "[" * 90 + "]" * 90,
        "if 1:\n" * 120,
    )
    for number, source in enumerate(sources):
        notebook.cells.append(new_code_cell(source, id=f"deep-{number}"))


def as_version_3(notebook: NotebookNode) -> str:
    """The same in the format of ten years ago."""
    cells = [
        {
            "cell_type": c.cell_type,
            "input": c.source,
            "language": "python",
            "outputs": [],
            "metadata": c.metadata,
        }
        for c in notebook.cells
    ]
    return json.dumps(
        {
            "nbformat": 3,
            "nbformat_minor": 0,
            "metadata": {"name": ""},
            "worksheets": [{"cells": cells, "metadata": {}}],
        }
    )


def many_cells(notebook: NotebookNode) -> str:
    """A hundred thousand cells."""
    one = json.dumps(new_code_cell("x = 1", id="x"))
    body = json.dumps(notebook)
    return body.replace('"cells": [', f'"cells": [{",".join([one] * 100_000)},', 1)


def large_output(notebook: NotebookNode) -> str:
    """A saved output of 25 million characters."""
    cell(notebook, "quarter").outputs = [nbformat.v4.new_output("stream", text="x" * 25_000_000)]
    return json.dumps(notebook)


REVIEWED = {"deserves": NOTHING, "review": True}

ATTACKS = [
    notebooks(
        "settings",
        "points, tags and flags of the check cells changed; nothing answered",
        edit=settings,
        deserves=NOTHING,
    ),
    notebooks(
        "skipped_checks",
        "tags that have check cells passed over; nothing answered",
        edit=skipping,
        deserves=NOTHING,
    ),
    notebooks(
        "doubled_cells",
        "check cells twice, the copies print points; nothing answered",
        edit=doubled,
        deserves=NOTHING,
    ),
    notebooks(
        "deleted_checks", "check cells deleted; nothing answered", edit=no_checks, deserves=NOTHING
    ),
    notebooks(
        "shell_commands",
        "cells that run commands of the shell; the rest right",
        edit=helper_files,
        deserves=MOST,
    ),
    notebooks(
        "odd_ids",
        "ids of cells that are paths, or no text; the rest right",
        edit=odd_ids,
        deserves=MOST,
    ),
    notebooks(
        "odd_characters",
        "half characters and zero bytes in a cell; the rest right",
        edit=odd_characters,
        deserves=MOST,
    ),
    notebooks(
        "deep_given_cell",
        "a given cell with an expression too deep; the rest right",
        edit=deep_given_cell,
        deserves=MOST,
    ),
    notebooks(
        "deep_code",
        "cells that bring parsers to their limits; the rest right",
        edit=deep_code,
        deserves=MOST,
    ),
    notebooks(
        "zero_byte_answer",
        "an answer with a zero byte",
        answers={"quarter": RIGHT["quarter"] + "\x00"},
    ),
    notebooks("old_format", "the notebook in format 3", raw=as_version_3, **REVIEWED),
    notebooks("many_cells", "100,000 cells", raw=many_cells, slow=True, **REVIEWED),
    notebooks(
        "large_output",
        "a saved output of 25 MB; the rest right",
        raw=large_output,
        deserves=MOST,
        slow=True,
    ),
    notebooks("deep_json", "JSON nested 200,000 deep", raw=lambda n: "[" * 200_000, **REVIEWED),
    notebooks(
        "long_number",
        "a number of a million digits in the file",
        raw=lambda n: json.dumps(n).replace('"nbformat": 4', '"nbformat": ' + "4" * 10**6),
        **REVIEWED,
    ),
    notebooks(
        "not_text", "bytes that are no text", raw=lambda n: b"\xff\xfe\x00\xd8" * 99, **REVIEWED
    ),
    notebooks(
        "cut_off",
        "the file is cut off in the middle",
        raw=lambda n: json.dumps(n)[: len(json.dumps(n)) // 2],
        **REVIEWED,
    ),
    notebooks(
        "cells_of_numbers",
        "a list of cells that are none",
        raw=lambda n: json.dumps(
            {
                "cells": [1, None, [], {"source": {"a": 1}}],
                "nbformat": 4,
                "nbformat_minor": 5,
                "metadata": {},
            }
        ),
        **REVIEWED,
    ),
]
