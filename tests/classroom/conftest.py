"""A small class with a real gradebook: the tiny topic, and a judge that answers from a table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import Result
from typer.testing import CliRunner

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.classroom import batch, grading, report
from autograder.classroom.batch import Outcome, failed_verdict
from autograder.classroom.jobs import Job
from autograder.cli import app
from autograder.gradebook.folders import find_alembic
from autograder.judge.identity import checks_hash, identity
from autograder.judge.submission import read_submission
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"
POINTS = {"norm": 3.0, "Counter": 1.5}
REAL_CONFIG = settings.REPOSITORY / "nbgrader_config.py"

CONFIG = """
from pathlib import Path
from autograder import settings
settings.TOPICS = Path(__file__).parent / "topics"
settings.COURSE = Path(__file__).parent / "course"
real = Path({real!r})
exec(real.read_text(), {{"get_config": get_config, "__file__": str(real)}})
c = get_config()
c.CourseDirectory.root = str(settings.COURSE)
"""


@dataclass
class TinyClass:
    """A class of the tiny topic.

    Attributes:
        root: a folder with topics, settings of nbgrader, and the course.
        failing: what the judge finds wrong: student -> check -> message. "crash" makes it fail.
        judged: the students that were judged, in order.
    """

    root: Path
    failing: dict[str, dict[str, str]] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)

    @property
    def course(self) -> Path:
        """nbgrader's course folder."""
        return self.root / "course"

    def hand_in(self, student: str, answers: dict[str, Any] | None = None, time: str = "") -> None:
        """Put a submission in place."""
        folder = self.course / "submitted" / student / TINY
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(complete_notebook(TINY, answers), folder / f"{NOTEBOOK}.ipynb")
        if time:
            (folder / "timestamp.txt").write_text(time)

    def change_checks(self) -> None:
        """Make the checks other ones, as an instructor does."""
        path = self.root / "topics" / TINY / "test_more.py"
        path.write_text(path.read_text() + "#\n" if path.exists() else "#\n")
        checks_hash.cache_clear()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return what it says."""
        result: Result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    def judge_all(self, jobs: list[Job], workers: int, **_: object) -> Iterator[Outcome]:
        """Judge from the table, in place of the sandbox."""
        for job in jobs:
            self.judged.append(job.student)
            failing = self.failing.get(job.student, {})
            if "crash" in failing:
                yield Outcome(job.student, failed_verdict(job, "crash"), broken="crash")
                continue
            exercises = []
            for name, points in POINTS.items():
                checks = [f"test_{name}_{what}" for what in ("counts", "refuses")]
                found = [
                    CheckVerdict(
                        name=check,
                        passed=check not in failing,
                        weight=1,
                        message=failing.get(check, ""),
                    )
                    for check in checks
                ]
                exercises.append(ExerciseVerdict.from_checks(name, points, found))
            content = read_submission(job.path, job.topic).content_hash
            verdict = Verdict(
                topic=TINY,
                student=job.student,
                exercises=exercises,
                identity=identity(TINY, content, 1),
            )
            yield Outcome(job.student, verdict, seconds=1)


@pytest.fixture(scope="module")
def tiny_class(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyClass]:
    """A class without submissions; one for each module, because nbgrader is slow."""
    root = tmp_path_factory.mktemp("class")
    shutil.copytree(Path(__file__).parents[1] / "authoring" / TINY, root / "topics" / TINY)
    (root / "nbgrader_config.py").write_text(CONFIG.format(real=str(REAL_CONFIG)))
    made = TinyClass(root)
    find_alembic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "TOPICS", root / "topics")
        patch.setattr(settings, "NOTEBOOKS", root / "notebooks")
        for module in (settings, batch, grading, report):
            patch.setattr(module, "COURSE", made.course)
        patch.setattr(grading, "REPOSITORY", root)
        patch.setattr(grading, "require_sandbox", lambda: None)
        patch.setattr("autograder.classroom.regrade.require_sandbox", lambda: None)
        patch.setattr(grading, "judge_all", made.judge_all)
        checks_hash.cache_clear()
        yield made
    checks_hash.cache_clear()
