"""Exporting marks: the gradebook's own, with a person's points and penalties, safe to open."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from sqlalchemy.exc import SAWarning
from typer.testing import CliRunner

from autograder import settings
from autograder.classroom.collect import COLLECTED
from autograder.classroom.export import safe_cell
from autograder.cli import app
from autograder.gradebook.folders import find_alembic

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"


class Course:
    """A gradebook without notebooks, and the command line on it."""

    def __init__(self, course: Path) -> None:
        self.course = course

    def run(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, (result.output, result.exception)
        return result.output


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """Ann and Bob are graded; Ann's written answer is marked, Bob's still waits."""
    course = tmp_path_factory.mktemp("course")
    find_alembic()
    with warnings.catch_warnings(), Gradebook(f"sqlite:///{course / 'gradebook.db'}") as books:
        # nbgrader's own way with its database; it works, and says so at length.
        warnings.simplefilter("ignore", SAWarning)
        books.add_assignment(TINY)
        books.add_notebook(NOTEBOOK, TINY)
        books.add_grade_cell("norm-check", NOTEBOOK, TINY, max_score=4.5, cell_type="code")
        books.add_grade_cell("why_root", NOTEBOOK, TINY, max_score=2, cell_type="markdown")
        books.add_solution_cell("why_root", NOTEBOOK, TINY)
        books.add_student("ann")
        books.add_student("bob")
        books.add_student("carl", first_name="=cmd|' /C calc'!A0", last_name="X", email="c@x.org")
        for student, points in {"ann": 4.5, "bob": 3.0}.items():
            books.add_submission(TINY, student)
            check = books.find_grade("norm-check", NOTEBOOK, TINY, student)
            check.auto_score, check.needs_manual_grade = points, False
            written = books.find_grade("why_root", NOTEBOOK, TINY, student)
            written.needs_manual_grade = student == "bob"
            written.manual_score = 2.0 if student == "ann" else None
        books.find_submission_notebook(NOTEBOOK, TINY, "ann").late_submission_penalty = 0.5
        books.db.commit()
    (course / COLLECTED).mkdir()
    (course / COLLECTED / f"{TINY}.json").write_text(
        '{"ann": {"moodle": "101", "canvas": ""}, "bob": {"moodle": "", "canvas": "4712"}}'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "COURSE", course)
        patch.setattr(settings, "TOPICS", Path(__file__).parents[1] / "authoring")
        yield Course(course)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_plain(graded: Course) -> None:
    output = graded.run("export", TINY)
    path = graded.course / "export" / f"{TINY}-plain.csv"
    assert str(path) in output.replace("\n", "")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    ann, bob, carl = rows(path)
    assert (ann["raw_score"], ann["late_submission_penalty"], ann["score"]) == ("6.5", "0.5", "6")
    assert (bob["score"], bob["max_score"], bob["waits_for_a_person"]) == ("3", "6.5", "why_root")
    assert (carl["score"], carl["handed_in"]) == ("0", "no")
    assert carl["name"].startswith("'=cmd")
    assert "1 marks are not final" in output
    assert "bob: tiny_topic: why_root" in output


def test_moodle(graded: Course, tmp_path: Path) -> None:
    roster = tmp_path / "class.csv"
    roster.write_text("student id,name,email\nann,Ann Ö,ann@x.org\nbob,Bob Lee,\n", "utf-8")
    to = tmp_path / "grades.csv"
    graded.run("export", TINY, "--format", "moodle", "--roster", str(roster), "--to", str(to))
    assert not to.read_bytes().startswith(b"\xef\xbb\xbf")
    ann, bob, carl = rows(to)
    # The three columns without which Moodle refuses a grading worksheet.
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(ann)
    assert ann["Identifier"] == "Participant 101"
    assert (ann["Full name"], ann["Email address"], ann["Grade"]) == ("Ann Ö", "ann@x.org", "6")
    assert (bob["ID number"], bob["Grade"]) == ("bob", "3")
    # Nothing handed in is no mark, and not a zero.
    assert carl["Grade"] == ""


def test_only_final_marks(graded: Course, tmp_path: Path) -> None:
    to = str(tmp_path / "grades.csv")
    output = graded.run("export", TINY, "--format", "moodle", "--to", to, "--only-final")
    assert [row["Grade"] for row in rows(Path(to))] == ["6", "", ""]
    assert "left empty" in output
    assert "moodle has no number or address of: bob" in output


def test_canvas(graded: Course, tmp_path: Path) -> None:
    to = str(tmp_path / "grades.csv")
    options = ["--format", "canvas", "--column", "Pruning (1234)", "--to", to]
    output = graded.run("export", TINY, *options)
    points, _, bob, _ = rows(Path(to))
    assert (points["Student"], points["Pruning (1234)"]) == ("Points Possible", "6.5")
    assert (bob["ID"], bob["SIS Login ID"], bob["Pruning (1234)"]) == ("4712", "bob", "3")
    assert "canvas has no number or address of: ann, carl" in output


def test_all_topics(graded: Course, tmp_path: Path) -> None:
    to = str(tmp_path / "grades.csv")
    graded.run("export", "all", "--format", "moodle", "--to", to)
    assert [row["Grade"] for row in rows(Path(to))] == ["6", "3", ""]


def test_what_is_not_in_the_gradebook(graded: Course) -> None:
    assert "unknown_topic is not in the gradebook" in graded.run("export", "unknown_topic", code=2)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"])
def test_formulas_are_text(text: str) -> None:
    assert safe_cell(text).startswith("'")


def test_ordinary_cells_stay() -> None:
    assert [safe_cell(value) for value in ("Anna-Lena", "a=b", "", 0.1 + 0.2, 6.0, "a\x00b")] == [
        "Anna-Lena",
        "a=b",
        "",
        "0.3000",
        "6",
        "ab",
    ]
