"""`autograder grade`: all topics, looking without touching, and errors that stop one topic only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.classroom import grade_topics
from autograder.classroom.batch import ClusterLost
from autograder.classroom.grading import Graded, verdict_store
from autograder.judge.identity import verdict_key
from autograder.judge.submission import read_submission

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"


def everything(folder: Path) -> dict[Path, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tiny_class: Any) -> None:
    tiny_class.hand_in("anna")
    tiny_class.hand_in("ben", {"norm": None})
    place = tiny_class.course / "submitted" / "carl" / TINY
    place.mkdir(parents=True)
    nbformat.write(complete_notebook(TINY, {"Counter": None}), place / "mine.ipynb")
    (tiny_class.course / "submitted" / "dora" / TINY).mkdir(parents=True)
    bad = tiny_class.course / "submitted" / "emil" / TINY / f"{NOTEBOOK}.ipynb"
    bad.parent.mkdir(parents=True)
    bad.write_text("{")
    for outcome in tiny_class.judge_all([job(tiny_class, "anna")], 1):
        content = outcome.verdict.identity["submission"]
        verdict_store().put(verdict_key(TINY, content), outcome.verdict)

    before = everything(tiny_class.root)
    said = tiny_class.run("grade", TINY, "--dry-run")
    assert everything(tiny_class.root) == before
    rows = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "in the store" in rows["anna"]
    for student in ("ben", "carl", "dora", "emil"):
        assert "to be judged" in rows[student]
    assert "the notebook is called mine.ipynb" in rows["carl"]
    assert f"there is no notebook called {NOTEBOOK}.ipynb" in rows["dora"]
    assert "not valid JSON" in rows["emil"]
    assert "Nothing was written" in said
    assert "to be judged" in tiny_class.run("grade", "all", "--dry-run", "--student", "ben")
    again = tiny_class.run("grade", TINY, "--dry-run", "--again")
    assert "in the store" not in again


def job(made: Any, student: str) -> Any:
    from autograder.classroom.jobs import Job

    path = made.course / "submitted" / student / TINY / f"{NOTEBOOK}.ipynb"
    assert read_submission(path, TINY).answers
    return Job(student, TINY, path)


@pytest.fixture
def two_topics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two topics that somebody handed in, one that nobody did, and a folder that is none."""
    for name in ("broken", "fine", "nobody"):
        (tmp_path / "topics" / name).mkdir(parents=True)
        (tmp_path / "topics" / name / "notebook.py").write_text("not a notebook")
    for student, topic in (("anna", "fine"), ("ben", "fine"), ("ben", "broken"), ("ben", "other")):
        (tmp_path / "course" / "submitted" / student / topic).mkdir(parents=True)
    monkeypatch.setattr(settings, "TOPICS", tmp_path / "topics")
    monkeypatch.setattr(settings, "COURSE", tmp_path / "course")
    return tmp_path


@pytest.mark.usefixtures("two_topics")
def test_all_topics_are_those_that_somebody_handed_in() -> None:
    assert grade_topics.topics_to_grade("all") == ["broken", "fine"]
    assert grade_topics.topics_to_grade("all", ["anna"]) == ["fine"]
    for students in (["zoe"], ["ben", "zoe", "anna"]):
        with pytest.raises(ValueError, match="nothing was handed in by zoe under"):
            grade_topics.topics_to_grade("all", students)


@pytest.mark.usefixtures("two_topics")
@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (SyntaxError("invalid syntax"), "SyntaxError: invalid syntax"),
        (OSError(28, "No space left on device"), "Mend this, then give the same command again"),
        (ClusterLost("the Dask scheduler is gone"), "the Dask scheduler is gone"),
    ],
)
def test_one_broken_topic_does_not_stop_the_others(
    problem: Exception, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graded: list[tuple[str, object]] = []

    def pretend(topic: str, workers: int, students: object, **_: object) -> Graded:
        graded.append((topic, students))
        if topic == "broken":
            raise problem
        return Graded([], tmp_path / "report.html", ["anna"])

    monkeypatch.setattr(grade_topics, "grade", pretend)
    from typer.testing import CliRunner

    from autograder.cli import app

    result = CliRunner().invoke(app, ["grade", "all", "--student", "ben"])
    assert result.exit_code == 2
    assert graded == [("broken", ["ben"]), ("fine", ["ben"])]
    assert said in result.output
    assert "broken: NOT graded" in result.output
    assert "fine: graded" in result.output
    assert "1 unchanged, left alone" in result.output


def test_again_and_only_changed_exclude_each_other(tiny_class: Any) -> None:
    assert "give one of them" in tiny_class.run("grade", TINY, "--again", "--only-changed", code=2)


def test_a_full_disk_is_said_and_what_was_judged_is_kept(
    tiny_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autograder.classroom.grading.write_log", full)
    said = tiny_class.run("grade", TINY, "--student", "ben", code=2)
    assert "No space left on device" in said
    assert "give the same command again" in said


def test_a_worker_is_sent_no_path(tmp_path: Path) -> None:
    import pickle

    from autograder.classroom.jobs import Job, pack

    path = tmp_path / "secret_folder" / "x.ipynb"
    path.parent.mkdir()
    path.write_bytes(b"{}")
    for place in (path, path.with_name("missing.ipynb"), path.parent):
        assert b"secret_folder/" not in pickle.dumps(pack(Job("anna", TINY, place)))
