import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator

from autograder import settings
from autograder.authoring import build
from autograder.authoring.build import (
    LeakError,
    build_topic,
    complete_notebook,
    instructor_notebook,
    leaked_lines,
    stale,
    student_notebook,
)
from autograder.authoring.opening import SETUP, SETUP_CELL
from autograder.authoring.source import load_source, parse_source

TINY = "tiny_topic"
TEXT = (Path(__file__).parent / TINY / "notebook.py").read_text()


def test_a_build_is_always_the_same(tiny_course: Path) -> None:
    paths = build_topic(TINY)
    first = [path.read_bytes() for path in paths]
    assert [path.relative_to(tiny_course).as_posix() for path in paths] == [
        "notebooks/9_tiny_topic.ipynb",
        "course/source/tiny_topic/9_tiny_topic.ipynb",
    ]
    build._student_notebook.cache_clear()
    assert [path.read_bytes() for path in build_topic(TINY)] == first
    code = (
        "from pathlib import Path; from autograder import settings; "
        f"settings.TOPICS = Path({str(settings.TOPICS)!r}); "
        f"settings.NOTEBOOKS = settings.COURSE = Path({str(tiny_course / 'other')!r}); "
        f"from autograder.authoring.build import build_topic; build_topic({TINY!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tiny_course / "other" / "9_tiny_topic.ipynb").read_bytes() == first[0]


def test_stale_notebooks_are_found() -> None:
    assert stale(TINY)
    path = build_topic(TINY)[0]
    assert stale(TINY) == []
    path.write_text(path.read_text().replace("Square first", "Add first"))
    differences = stale(TINY)
    assert any("Square first" in line for line in differences)


def test_student_notebook_is_valid_and_has_no_solution() -> None:
    source = load_source(TINY)
    notebook = student_notebook(source)
    nbformat.validate(notebook)
    MetadataValidator().validate_nb(notebook)
    text = nbformat.writes(notebook)
    assert "math.sqrt" not in text
    assert "count_so_far" not in text
    assert "squares have been added" not in text
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(not cell.get("outputs") for cell in notebook.cells)


def test_stubs_are_those_of_nbgrader() -> None:
    source = load_source(TINY)
    built = {cell.id: cell.source for cell in student_notebook(source).cells}
    assert built.pop(SETUP_CELL) == SETUP
    assert built == {cell.name: cell.stub for cell in source.cells}
    assert 'raise NotImplementedError("norm: not implemented yet")' in built["norm"]
    assert "# TODO: square" in built["norm"]
    assert all(ast.parse(built[exercise.name]) for exercise in source.exercises)


def test_metadata_and_tags() -> None:
    cells = {cell.id: cell.metadata for cell in student_notebook(load_source(TINY)).cells}
    assert cells["prose-1"] == {}
    assert cells["define-1"]["nbgrader"]["locked"]
    assert not cells["define-1"]["editable"]
    assert cells["norm"]["nbgrader"]["solution"]
    assert not cells["norm"]["deletable"]
    assert cells["norm-check"]["nbgrader"]["points"] == 3
    assert cells["Counter-check"]["nbgrader"]["points"] == 1.5
    assert cells["norm-check"]["nbgrader"]["checksum"]
    assert cells["why_root"]["nbgrader"]["grade"]
    goes_on = {name for name, metadata in cells.items() if "tags" in metadata}
    assert goes_on - {SETUP_CELL} == {"norm-check", "experiment-1", "Counter-check"}


def test_a_shown_solution_is_refused() -> None:
    text = TEXT.replace(
        "# The end.", "# Write:\n#\n#     return math.sqrt(sum(value * value for value in values))"
    )
    with pytest.raises(LeakError, match=r"math\.sqrt"):
        student_notebook(parse_source(text, TINY))


def test_every_telling_line_would_be_noticed() -> None:
    source = load_source(TINY)
    assert leaked_lines(source, student_notebook(source)) == []
    assert len(leaked_lines(source, instructor_notebook(source))) == 3


def test_complete_notebook() -> None:
    source = load_source(TINY)
    full = {cell.id: cell.source for cell in complete_notebook(TINY).cells}
    assert full["norm"] == source.cell("norm").solution
    assert "squares have been added" in full["why_root"]
    some = {c.id: c.source for c in complete_notebook(TINY, {"norm": "x", "Counter": None}).cells}
    assert some["norm"] == "x"
    assert some["Counter"] == source.cell("Counter").stub
    with pytest.raises(KeyError, match="mron"):
        complete_notebook(TINY, {"mron": "x"})
