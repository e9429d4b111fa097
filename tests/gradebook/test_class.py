"""A class of typical and hostile submissions through the real nbgrader, in one run."""

import base64
import csv
import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import PyFileConfigLoader

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.gradebook.folders import forget_unfinished, prepare_submissions

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"
FULL = {"norm": 3.0, "Counter": 1.5}
REAL_CONFIG = settings.REPOSITORY / "nbgrader_config.py"
SECRET = "the teacher's secret"
SCRIPT = '<script>alert("stolen")</script>[x](javascript:alert(1))<img src=x onerror="alert(2)">'
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n a picture").decode()


def cell(notebook: Any, name: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == name)


def hostile_notebook() -> Any:
    """Everything that earns points in plain nbgrader."""
    notebook = complete_notebook(TINY, {"norm": None, "Counter": None, "why_root": SCRIPT})
    for item in notebook.cells:
        item.metadata["tags"] = ["skip-execution"]
    check = cell(notebook, "norm-check")
    check.source = "assert True"
    check.metadata["nbgrader"] |= {"points": 1000, "solution": True, "grade_id": "norm-check"}
    claim = nbformat.v4.new_output("execute_result", {"text/plain": "3.0", "text/html": SCRIPT})
    check.outputs = [claim]
    cell(notebook, "Counter-check").metadata["nbgrader"]["locked"] = False
    cell(notebook, "norm").outputs = [claim]
    added = nbformat.v4.new_markdown_cell(SCRIPT)
    added.attachments = {"x.svg": {"image/svg+xml": SCRIPT}}
    notebook.cells.append(added)
    notebook.cells.append(notebook.cells[3])
    notebook.metadata = {"kernelspec": {"name": "julia", "display_name": SCRIPT, "language": "j"}}
    return notebook


@pytest.fixture(scope="module")
def graded(course: Any) -> Any:
    perfect = complete_notebook(TINY)
    cell(perfect, "norm").outputs = [
        nbformat.v4.new_output("display_data", {"image/png": PNG, "text/html": SCRIPT}),
        nbformat.v4.new_output("error", ename="KeyError", evalue=SCRIPT, traceback=[SCRIPT]),
    ]
    course.hand_in("perfect", perfect, notes="my notes")
    course.decide("perfect", FULL)
    course.hand_in("hostile", hostile_notebook())
    course.decide("hostile", dict.fromkeys(FULL, 0.0), problems=(f"~~~ {SCRIPT}",), message=SCRIPT)
    deleted = complete_notebook(TINY, {"why_root": None})
    deleted.cells = [c for c in deleted.cells if c.id not in ("norm-check", "Counter", "prose-1")]
    course.hand_in("deleted", deleted)
    course.decide("deleted", {"norm": 3.0, "Counter": 0.0})
    course.hand_in("partial", complete_notebook(TINY))
    course.decide("partial", {"norm": 1.5, "Counter": 1.5}, review=True)
    for name, points in {
        "not_a_number": {"norm": float("nan"), "Counter": 1.5},
        "too_much": {"norm": 3.5, "Counter": 1.5},
        "negative": {"norm": -1.0, "Counter": 1.5},
        "incomplete": {"Counter": 1.5},
    }.items():
        course.hand_in(name, complete_notebook(TINY))
        course.decide(name, points)
    course.hand_in("corrupt", '{"cells": [')
    course.decide("corrupt", dict.fromkeys(FULL, 0.0), review=True)
    course.hand_in("no_verdict", complete_notebook(TINY))
    secret = course.root / "secret.txt"
    secret.write_text(SECRET)
    linked = course.hand_in("linked", complete_notebook(TINY), timestamp="half past nine")
    (linked.parent / "innocent.txt").symlink_to(secret)
    os.mkfifo(linked.parent / "pipe")
    course.decide("linked", FULL)
    other = course.root / "elsewhere.ipynb"
    linked = course.hand_in("notebook_is_link", complete_notebook(TINY))
    linked.rename(other)
    linked.symlink_to(other)
    course.decide("notebook_is_link", dict.fromkeys(FULL, 0.0), review=True)
    course.hand_in("renamed", complete_notebook(TINY)).rename(
        course.root / "course/submitted/renamed" / TINY / "mine.ipynb"
    )
    course.decide("renamed", FULL)
    (course.root / "course/submitted/nothing" / TINY).mkdir(parents=True)
    course.decide("nothing", dict.fromkeys(FULL, 0.0), review=True)
    prepared = prepare_submissions(TINY, course.root / "course" / "submitted")
    assert prepared == {
        "nothing": "there was no notebook called 9_tiny_topic.ipynb",
        "renamed": "the notebook was called mine.ipynb",
    }
    # One student has no verdict, so nbgrader says that not all went well.
    log = course.nbgrader("autograde", TINY, check=False)
    assert log.count("There was an error processing assignment '") == 1
    course.nbgrader("generate_feedback", TINY)
    course.nbgrader("export")
    return course


def test_the_release_is_the_built_notebook(course: Any) -> None:
    release = course.root / "course" / "release" / TINY / f"{NOTEBOOK}.ipynb"
    built = course.root / "notebooks" / f"{NOTEBOOK}.ipynb"
    ours, theirs = nbformat.read(built, 4), nbformat.read(release, 4)
    for notebook in (ours, theirs):
        cell(notebook, "Counter").metadata.pop("tags", None)
    assert ours == theirs


@pytest.mark.parametrize(
    ("student", "norm", "counter"),
    [
        ("perfect", (3.0, None, False), (1.5, None, False)),
        ("hostile", (0.0, None, False), (0.0, None, False)),
        ("deleted", (3.0, None, False), (0.0, None, False)),
        ("partial", (1.5, None, True), (1.5, None, False)),
        ("not_a_number", (0.0, None, True), (1.5, None, False)),
        ("too_much", (0.0, None, True), (1.5, None, False)),
        ("negative", (0.0, None, True), (1.5, None, False)),
        ("incomplete", (0.0, None, True), (1.5, None, False)),
        ("corrupt", (0.0, None, True), (0.0, None, True)),
        ("no_verdict", (0.0, None, True), (0.0, None, True)),
        ("linked", (3.0, None, False), (1.5, None, False)),
        ("notebook_is_link", (0.0, None, True), (0.0, None, True)),
        ("renamed", (3.0, None, False), (1.5, None, False)),
        ("nothing", (0.0, None, True), (0.0, None, True)),
    ],
)
def test_marks(graded: Any, student: str, norm: Any, counter: Any) -> None:
    grades = graded.grades(student)
    assert grades["norm-check"] == norm
    assert grades["Counter-check"] == counter


def test_written_answers_wait_for_a_person(graded: Any) -> None:
    assert graded.grades("perfect")["why_root"] == (None, None, True)
    assert graded.grades("deleted")["why_root"] == (0.0, None, False)
    assert graded.grades("corrupt")["why_root"] == (0.0, None, True)


def test_no_response_is_noted(graded: Any) -> None:
    with graded.books() as books:
        record = books.find_submission_notebook(NOTEBOOK, TINY, "deleted")
        comments = {comment.name: comment.comment for comment in record.comments}
    assert comments["Counter"] == comments["why_root"] == "No response."
    assert comments["norm"] is None


def test_the_autograded_copy_is_rebuilt(graded: Any) -> None:
    for student in ("hostile", "deleted", "corrupt"):
        notebook = graded.autograded(student)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        check = cell(notebook, "norm-check")
        assert "should be 5" in check.source
        assert check.metadata.nbgrader.points == 3
        assert "skip-execution" not in json.dumps(notebook)
    text = nbformat.writes(graded.autograded("hostile"))
    assert "<script" not in text.replace(json.dumps(SCRIPT)[1:-1], "")
    assert "attachments" not in text
    assert "text/html" not in text


def test_messages_stand_below_the_check_cells(graded: Any) -> None:
    report = cell(graded.autograded("partial"), "norm-check").outputs[0].text
    assert report.splitlines() == ["1.5 of 3 points", "FAILED: norm is right"]
    notes = graded.autograded("partial").cells[0].source
    assert "A person should look" in notes
    assert "A person should look" not in nbformat.writes(graded.autograded("perfect"))


def test_saved_outputs_are_text_and_images(graded: Any) -> None:
    outputs = cell(graded.autograded("perfect"), "norm").outputs
    assert [output.output_type for output in outputs] == ["display_data", "stream"]
    assert list(outputs[0].data) == ["image/png"]
    assert outputs[1].text.startswith("KeyError: ")


def test_links_are_not_copied(graded: Any) -> None:
    for step in ("autograded", "feedback"):
        files = [p for p in (graded.root / "course" / step).rglob("*") if p.is_file()]
        assert not any(SECRET in path.read_text(errors="replace") for path in files)
    folder = graded.root / "course" / "autograded"
    assert (folder / "perfect" / TINY / "notes.txt").read_text() == "my notes"


def test_feedback_is_safe(graded: Any) -> None:
    folder = graded.root / "course" / "feedback"
    pages = {path.parts[-3]: path.read_text() for path in folder.rglob("*.html")}
    assert {"perfect", "hostile", "corrupt", "nothing"} <= set(pages)
    # What the templates bring along, every page has.
    scripts = {name: page.count("<script") for name, page in pages.items()}
    assert scripts["hostile"] == scripts["perfect"]
    for forbidden in ("javascript:alert", '<script>alert("stolen")', 'onerror="', "<img src=x"):
        assert forbidden not in pages["hostile"].replace(html_escaped(forbidden), "")
    assert '<span class="title">norm is right</span>' in pages["hostile"]
    assert "<details>" in pages["hostile"]
    assert "math.sqrt" not in pages["hostile"]


def test_formgrader_is_safe(graded: Any) -> None:
    config = PyFileConfigLoader(str(REAL_CONFIG)).load_config()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    exporter = HTMLExporter(config=config)
    names = ("assignment_id", "notebook_id", "submission_id", "base_url", "student")
    more = dict.fromkeys([*names, "last_name", "first_name", "notebook_path"], "x")
    pages = {
        name: exporter.from_notebook_node(
            graded.autograded(name), resources={**more, "index": 0, "total": 1}
        )[0]
        for name in ("perfect", "hostile")
    }
    assert pages["hostile"].count("<script") == pages["perfect"].count("<script")
    assert "<img src=" not in pages["hostile"]
    assert 'href="javascript' not in pages["hostile"]


def html_escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")


def test_export(graded: Any) -> None:
    with (graded.root / "grades.csv").open() as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores["perfect"] == 4.5
    assert scores["hostile"] == scores["corrupt"] == scores["no_verdict"] == 0.0
    assert scores["not_a_number"] == 1.5


def test_half_graded_copies_are_forgotten(graded: Any, tmp_path: Path) -> None:
    copies = graded.root / "course" / "autograded"
    assert forget_unfinished(TINY, copies) == []
    half = tmp_path / "half" / TINY
    half.mkdir(parents=True)
    notebook = graded.autograded("perfect")
    del notebook.metadata["autograder"]
    nbformat.write(notebook, half / f"{NOTEBOOK}.ipynb")
    assert forget_unfinished(TINY, tmp_path) == ["half"]
    assert not half.exists()
