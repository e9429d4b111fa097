import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder import settings
from autograder.authoring.build import build_topic
from autograder.gradebook.folders import find_alembic

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"
TOPICS = Path(__file__).parents[1] / "authoring"
REAL_CONFIG = settings.REPOSITORY / "nbgrader_config.py"

CONFIG = f"""
from pathlib import Path
from autograder import settings
settings.TOPICS = Path({str(TOPICS)!r})
real = Path({str(REAL_CONFIG)!r})
exec(real.read_text(), {{"get_config": get_config, "__file__": str(real)}})
c = get_config()
c.CourseDirectory.root = str(Path(__file__).parent / "course")
c.AttachVerdict.find_verdict = "made_up_verdicts.find"
"""

# A verdict for each student is a file; a student without one makes the judge fail.
MADE_UP_VERDICTS = """
import json
from pathlib import Path
from autograder.judge.verdict import ExerciseVerdict, Verdict


def find(path, topic, student, course):
    raw = json.loads((Path(__file__).parent / "verdicts" / f"{student}.json").read_text())
    raw["exercises"] = [ExerciseVerdict.model_construct(**item) for item in raw["exercises"]]
    for exercise in raw["exercises"]:
        exercise.checks = ExerciseVerdict.model_validate(
            {**vars(exercise), "points": 0, "max_points": 1}
        ).checks
    return Verdict.model_construct(**{**Verdict(topic=topic, exercises=[]).model_dump(), **raw})
"""


@dataclass
class Course:
    """A course folder with the real settings, the tiny topic, and made-up verdicts."""

    root: Path

    def hand_in(self, student: str, content: Any, **files: str) -> Path:
        """Hand in a notebook, or a text in place of one; files are further ones by stem."""
        folder = self.root / "course" / "submitted" / student / TINY
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{NOTEBOOK}.ipynb"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        for stem, text in files.items():
            (folder / f"{stem}.txt").write_text(text)
        return path

    def decide(
        self,
        student: str,
        points: Mapping[str, Any],
        review: bool = False,
        problems: tuple[str, ...] = (),
        message: str = "",
    ) -> None:
        """Make up the verdict on a student."""
        highest = {"norm": 3.0, "Counter": 1.5}
        verdict = {
            "student": student,
            "needs_review": review,
            "problems": problems,
            "exercises": [
                {
                    "name": name,
                    "points": value,
                    "max_points": highest.get(name, 1.0),
                    "message": "",
                    "checks": [
                        {
                            "name": f"test_{name}_is_right",
                            "passed": value == highest.get(name),
                            "weight": 1,
                            "message": message,
                        }
                    ],
                }
                for name, value in points.items()
            ],
        }
        (self.root / "verdicts").mkdir(exist_ok=True)
        (self.root / "verdicts" / f"{student}.json").write_text(json.dumps(verdict))

    def nbgrader(self, *arguments: str, check: bool = True) -> str:
        """Run a real nbgrader command and return what it says."""
        # As when the environment is not activated: its folder is not on PATH.
        path = os.pathsep.join(
            part
            for part in os.environ["PATH"].split(os.pathsep)
            if Path(part) != Path(sys.executable).parent
        )
        # The package of this very checkout, also where another one is installed.
        packages = os.pathsep.join([str(self.root), str(settings.REPOSITORY)])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": packages}
        result = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or result.returncode == 0, result.stderr[-4000:]
        return result.stderr

    def grades(self, student: str) -> dict[str, tuple[float | None, float | None, bool]]:
        """Return grade id -> (auto score, manual score, needs manual grade)."""
        with self.books() as books:
            record = books.find_submission_notebook(NOTEBOOK, TINY, student)
            return {
                g.name: (g.auto_score, g.manual_score, g.needs_manual_grade) for g in record.grades
            }

    def books(self) -> Gradebook:
        """Open the gradebook."""
        find_alembic()
        return Gradebook(f"sqlite:///{self.root / 'course' / 'gradebook.db'}")

    def autograded(self, student: str) -> Any:
        """Return the autograded copy of a student's notebook."""
        folder = self.root / "course" / "autograded" / student / TINY
        return nbformat.read(folder / f"{NOTEBOOK}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A course with the released tiny topic; one for each module, because nbgrader is slow."""
    root = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "TOPICS", TOPICS)
        patch.setattr(settings, "COURSE", root / "course")
        patch.setattr(settings, "NOTEBOOKS", root / "notebooks")
        build_topic(TINY)
        (root / "nbgrader_config.py").write_text(CONFIG)
        (root / "made_up_verdicts.py").write_text(MADE_UP_VERDICTS)
        made = Course(root)
        made.nbgrader("generate_assignment", TINY)
        yield made
