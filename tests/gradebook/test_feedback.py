"""The feedback page: verdicts beside the answers, the judge's inputs left out, all escaped."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.gradebook.feedback import without_inputs
from autograder.gradebook.given_text import given_markdown

TINY = "tiny_topic"
NOTEBOOKS = sorted((settings.REPOSITORY / "notebooks").rglob("[1-9]*.ipynb"))
ATTACK = "</div><script>alert(1)</script> $x$"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "select([0.5, -1e-3, 2], 0.3): indices: expected [0, 2], got [1, 2]",
            "select([…], 0.3): indices: expected [0, 2], got [1, 2]",
        ),
        (
            "norm of tensor of shape (2, 2), torch.float32: [[1.0, 2.0], [3.0, 4.0]]: got nan",
            "norm of tensor of shape (2, 2), torch.float32: […]: got nan",
        ),
        ("activations (8, 4): expected floats", "activations (8, 4): expected floats"),
        (
            "sparsities = [0.1, 1.2]: expected a ValueError",
            "sparsities = […]: expected a ValueError",
        ),
        ("x: at index (0, 1) expected 3, got 4", "x: at index (0, 1) expected 3, got 4"),
        ("layers ['conv1', 'fc2'] stay", "layers ['conv1', 'fc2'] stay"),
        ("", ""),
    ],
)
def test_inputs_are_left_out(message: str, shown: str) -> None:
    assert without_inputs(message) == shown


def written_page(course: Any, student: str) -> str:
    """Grade what was handed in, and return the student's feedback page."""
    course.nbgrader("autograde", TINY)
    course.nbgrader("generate_feedback", TINY)
    path = course.root / "course" / "feedback" / student / TINY / "9_tiny_topic.html"
    return path.read_text()


def test_the_page(course: Any) -> None:
    course.hand_in("ann", complete_notebook(TINY, {"norm": "def norm(values):\n    return 17"}))
    message = f"norm([3.25, 4.75]): expected 5, got 17 {ATTACK}"
    course.decide("ann", {"norm": 1.5, "Counter": 1.5}, message=message)
    page = written_page(course, "ann")
    body = page[page.index("<body>") :]
    first = body.index('<div class="beside">')
    answer, verdict = body.index("17", first), body.index('<div class="verdict', first)
    assert answer < verdict < body.index("1.5 of 3 points") < body.index("norm([…]): expected 5")
    assert body.count('<div class="beside">') == 2
    assert "3.25" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in body
    # Said once: the text below the check cell is for formgrader.
    assert "FAILED: norm is right" not in body
    check = course.autograded("ann").cells
    assert any("FAILED: norm is right" in str(cell.get("outputs")) for cell in check)


def test_the_courses_formulas_need_no_network_and_students_stay_as_text(course: Any) -> None:
    notebook = complete_notebook(TINY)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("mine: $x^{2}$, $\\text{<b>}$"))
    course.hand_in("cat", notebook)
    course.decide("cat", {"norm": 3.0, "Counter": 1.5})
    page = BeautifulSoup(written_page(course, "cat"), "html.parser")
    given, own = page.select(".text_cell_render")[:2]
    assert given.select("math msqrt munder, math msqrt msub")
    assert "$" not in given.text
    assert "$x^{2}$" in own.text
    assert not own.select("math, b")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_formula_of_the_course_becomes_mathml(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    pages = [BeautifulSoup(given_markdown(text), "html.parser") for text in texts]
    formulas = [formula for page in pages for formula in page.select("math")]
    # A command that the converter does not know stays as it is written.
    assert not [formula for formula in formulas if "\\" in formula.text]
    for page in pages:
        for part in page.select("math, code, pre"):
            part.decompose()
        assert "$" not in page.text


def test_nbconverts_second_pass_would_find_nothing_to_mend(course: Any) -> None:
    notebook = complete_notebook(TINY)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n a picture").decode()
    shown = nbformat.v4.new_output("display_data", {"image/png": picture})
    next(cell for cell in notebook.cells if cell.id == "norm").outputs = [shown]
    course.hand_in("bob", notebook)
    course.decide("bob", {"norm": 3.0, "Counter": 1.5})
    page = BeautifulSoup(written_page(course, "bob"), "html.parser")
    assert [image["alt"] for image in page.select("img")] == ["picture that the cell drew"]
    assert not page.select(".jp-Notebook")
    # Coloured as JupyterLab does it.
    assert page.select(".own .highlight .k")
