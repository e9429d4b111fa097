"""Grading a class: verdicts are kept, found again, and only real ones reach the books."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.classroom import batch, grading
from autograder.classroom.batch import Outcome, failed_verdict
from autograder.classroom.jobs import Job
from autograder.judge.identity import identity
from autograder.judge.submission import read_submission
from autograder.judge.verdict import ExerciseVerdict, Verdict

TOPIC = "network_pruning"


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for module in (settings, batch, grading):
        monkeypatch.setattr(module, "COURSE", tmp_path)
    monkeypatch.setattr(grading, "report_path", lambda topic: tmp_path / f"{topic}.html")
    name = load_source(TOPIC).notebook_name
    for student, answers in {"anna": {}, "ben": {"apoz": None}, "carl": {"apoz": None}}.items():
        folder = tmp_path / "submitted" / student / TOPIC
        folder.mkdir(parents=True)
        nbformat.write(complete_notebook(TOPIC, answers), folder / f"{name}.ipynb")
    return tmp_path


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Students that were judged; judging gives 1 point, and fails for Ben."""
    names: list[str] = []

    def judge_all(jobs: list[Job], workers: int, **_: object) -> Iterator[Outcome]:
        for job in jobs:
            names.append(job.student)
            if job.student == "ben":
                yield Outcome("ben", failed_verdict(job, "crash"), broken="crash")
                continue
            exercise = ExerciseVerdict(name="apoz", points=1, max_points=2, checks=[])
            content = read_submission(job.path, TOPIC).content_hash
            verdict = Verdict(
                topic=TOPIC,
                student=job.student,
                exercises=[exercise],
                identity=identity(TOPIC, content, 1),
            )
            yield Outcome(job.student, verdict, seconds=1)

    monkeypatch.setattr(grading, "judge_all", judge_all)
    monkeypatch.setattr(grading, "require_sandbox", lambda: None)
    return names


def grade(**options: object) -> dict[str, Outcome]:
    console = Console(file=io.StringIO())
    graded = grading.grade(TOPIC, 2, console=console, books=False, **options)  # type: ignore[arg-type]
    assert graded.report.is_file()
    return {outcome.student: outcome for outcome in graded.outcomes}


def test_everyone_has_an_outcome_and_the_report_is_written(course: Path, judged: list[str]) -> None:
    outcomes = grade()
    assert judged == ["anna", "ben", "carl"]
    assert outcomes["anna"].verdict.points == 1
    assert outcomes["ben"].verdict.points == 0


def test_a_second_run_judges_only_what_has_no_verdict(course: Path, judged: list[str]) -> None:
    grade()
    judged.clear()
    outcomes = grade()
    # Ben's judging crashed, so nothing was kept; but Carl's notebook holds the same answers.
    assert judged == []
    assert outcomes["anna"].remembered
    assert outcomes["ben"].verdict.student == "ben"
    assert not outcomes["ben"].broken


def test_again_judges_everyone(course: Path, judged: list[str]) -> None:
    grade()
    judged.clear()
    grade(again=True)
    assert judged == ["anna", "ben", "carl"]


def test_only_named_students_are_judged(course: Path, judged: list[str]) -> None:
    assert list(grade(students=["carl"])) == ["carl"]
    assert judged == ["carl"]


def test_the_report_is_on_everybody_who_has_a_verdict(course: Path, judged: list[str]) -> None:
    grade(students=["anna"])
    grade(students=["carl"])
    page = (course / f"{TOPIC}.html").read_text(encoding="utf-8")
    assert ">anna<" in page
    assert ">carl<" in page


def test_a_changed_answer_is_judged_again(course: Path, judged: list[str]) -> None:
    grade(students=["anna"])
    path = next((course / "submitted" / "anna" / TOPIC).glob("*.ipynb"))
    nbformat.write(complete_notebook(TOPIC, {"trim": None}), path)
    judged.clear()
    grade(students=["anna"])
    assert judged == ["anna"]


def test_nobody_handed_in(course: Path, judged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "find_jobs", lambda *_: [])
    with pytest.raises(ValueError, match="nothing was handed in"):
        grade()


def test_nbgrader_is_never_given_a_verdict_that_was_not_stored(course: Path) -> None:
    path = next((course / "submitted" / "anna" / TOPIC).glob("*.ipynb"))
    with pytest.raises(LookupError, match="anna"):
        grading.stored_verdict(path, TOPIC, "anna", course)


def test_the_report_can_be_written_from_kept_verdicts(course: Path, judged: list[str]) -> None:
    with pytest.raises(ValueError, match="nothing has been judged"):
        grading.report_on_known(TOPIC)
    grade(students=["anna"])
    page = grading.report_on_known(TOPIC).read_text(encoding="utf-8")
    assert ">anna<" in page
    # Who has no verdict is not left out.
    assert page.index(">ben<") < page.index("no verdict: not judged") < page.index("Everyone")


def test_a_failing_command_of_nbgrader_says_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(grading, "REPOSITORY", tmp_path)
    with pytest.raises(grading.BookkeepingFailed, match="no_such_topic"):
        grading.run_nbgrader("generate_feedback", "no_such_topic")


def test_a_command_of_nbgrader_that_was_killed_is_a_failure_of_the_whole_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    killed.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(killed))
    with pytest.raises(grading.BookkeepingFailed, match="signal 9"):
        grading.run_nbgrader("autograde", TOPIC, may_fail=True)


def test_a_locked_gradebook_is_no_failure_of_some_student(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.write_text("#!/bin/sh\necho 'database is locked'\nexit 1\n", encoding="utf-8")
    locked.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(locked))
    with pytest.raises(grading.BookkeepingFailed, match="Another program has the gradebook"):
        grading.run_nbgrader("autograde", TOPIC, may_fail=True)
