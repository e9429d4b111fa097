"""A TA's day with real notebooks, the real judge and nbgrader's real books."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from autograder import settings
from autograder.authoring.answers import load_mistakes
from autograder.authoring.build import complete_notebook
from autograder.classroom import batch, grading, report
from autograder.cli import app
from autograder.gradebook.folders import find_alembic
from autograder.judge.store import VerdictStore
from autograder.judge.verdict import ExerciseVerdict
from autograder.sandbox.bubblewrap import sandbox_problem

TOPIC = "network_pruning"
EXERCISE = "magnitude_mask"
NOTEBOOK = "1_network_pruning"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def marks(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


def remember_other_checks(course: Path, student: str) -> None:
    """Make it so that earlier checks had passed everything, and the books say so."""
    store = VerdictStore(course / "verdicts")
    for _, verdict in list(store.all()):
        if verdict.exercise(EXERCISE).points:
            continue
        passed = [
            ExerciseVerdict.from_checks(
                exercise.name,
                exercise.max_points,
                [c.model_copy(update={"passed": True, "message": ""}) for c in exercise.checks],
            )
            for exercise in verdict.exercises
        ]
        known = {**verdict.identity, "checks": "earlier"}
        store.put("earlier", verdict.model_copy(update={"exercises": passed, "identity": known}))
    find_alembic()
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as books:
        grade = books.find_grade(f"{EXERCISE}-check", NOTEBOOK, TOPIC, student)
        grade.auto_score = grade.max_score
        books.db.commit()


# Dask tries its usual port first; where another cluster has it, a socket is left to the collector.
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")
def test_from_the_download_to_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = tmp_path / "course"
    monkeypatch.setenv("AUTOGRADER_COURSE", str(course))
    for module in (settings, batch, grading, report):
        monkeypatch.setattr(module, "COURSE", course)
    mistake = next(m for m in load_mistakes(TOPIC) if m.exercise == EXERCISE)
    answers: dict[str, dict[str, Any]] = {"Anna Lee": {}, "Ben Ray": {EXERCISE: mistake.source}}
    source = tmp_path / "moodle.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for number, (name, given) in enumerate(answers.items(), start=101):
            path = f"{name}_{number}_assignsubmission_file/{NOTEBOOK}.ipynb"
            archive.writestr(path, nbformat.writes(complete_notebook(TOPIC, given)))
    assert "2 placed" in run("collect", str(source), TOPIC)

    run("grade", TOPIC, "--workers", "2")
    run("export", TOPIC, "--to", str(tmp_path / "marks.csv"))
    first = marks(tmp_path / "marks.csv")
    assert first["anna_lee"] == 40
    assert first["ben_ray"] < 40
    page = (course / "feedback" / "ben_ray" / TOPIC / f"{NOTEBOOK}.html").read_text("utf-8")
    assert '<div class="beside">' in page
    assert "needed for any point" in page
    assert mistake.name in (course / "report" / f"{TOPIC}.html").read_text("utf-8")

    remember_other_checks(course, "ben_ray")
    output = run("regrade", TOPIC)
    assert "Marks move: 1." in output
    assert "3 -> 0" in output
    assert "passed -> failed" in output
    run("export", TOPIC, "--to", str(tmp_path / "marks.csv"))
    assert marks(tmp_path / "marks.csv")["ben_ray"] == pytest.approx(first["ben_ray"] + 3)
    assert "Written: 1 students." in run("regrade", TOPIC, "--write")
    run("export", TOPIC, "--to", str(tmp_path / "marks.csv"))
    assert marks(tmp_path / "marks.csv") == first
