"""A course of its own in a temporary folder, in which the real `autograder grade` runs.

It is a copy of the project with one small topic, so that every file of it can be compared before
and after, and so that secrets can be planted where real ones lie.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from autograder.gradebook.folders import find_alembic
from autograder.judge.verdict import Verdict
from autograder.settings import PACKAGE, REPOSITORY
from tests.redteam.attack import CANARY, NOTEBOOK, TOPIC

SAMPLE = REPOSITORY / "tests" / "judge" / TOPIC
# Written by the commands themselves.
WRITTEN = (
    *("autograded", "feedback", "gradebook.db", "locks", "logs", "report", "verdicts"),
    *("release", "source"),
)
CACHES = ("__pycache__",)
LOOK_UP = f"""
from autograder.classroom.survey import survey_topic
for standing in survey_topic({TOPIC!r}):
    if standing.verdict is not None:
        print(standing.job.student, standing.verdict.model_dump_json())
"""


@dataclass
class Course:
    """The course.

    Attributes:
        root: the temporary folder: the project's copy, a home folder, a folder for the rest.
    """

    root: Path

    @property
    def project(self) -> Path:
        """The copy of the project."""
        return self.root / "project"

    @property
    def class_folder(self) -> Path:
        """nbgrader's course folder."""
        return self.project / "course"

    @property
    def submitted(self) -> Path:
        """Where submissions are put."""
        return self.class_folder / "submitted"

    @property
    def secrets(self) -> Path:
        """A folder with a secret, outside of the project."""
        return self.root / "home"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the autograder as a TA does, with a secret in the environment."""
        return self.python("-m", "autograder", *arguments)

    def verdicts(self) -> dict[str, Verdict]:
        """Return the stored verdicts by student."""
        looked = self.python("-c", LOOK_UP)
        if looked.returncode:
            raise RuntimeError(looked.stderr[-2000:])
        lines = looked.stdout.splitlines()
        found = {}
        for student, _, text in (line.partition(" ") for line in lines):
            found[student] = Verdict.model_validate_json(text)
        return found

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the course."""
        folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {
            "PATH": os.pathsep.join(folders),
            "PYTHONPATH": str(self.project),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "SECRET_TOKEN": CANARY,
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def hand_in(self, student: str, notebook: nbformat.NotebookNode) -> None:
        """Put an honest submission in place."""
        folder = self.submitted / student / TOPIC
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{NOTEBOOK}.ipynb")

    def marks(self) -> dict[str, dict[str, float]]:
        """Return student -> exercise -> points; empty where there is no gradebook."""
        if not (self.class_folder / "gradebook.db").is_file():
            return {}
        find_alembic()
        with Gradebook(f"sqlite:///{self.class_folder / 'gradebook.db'}") as books:
            return {
                record.student.id: {
                    grade.name.removesuffix("-check"): grade.score
                    for notebook in record.notebooks
                    for grade in notebook.grades
                }
                for record in books.assignment_submissions(TOPIC)
            }

    def files(self) -> dict[str, str]:
        """Return every file that grading must not change, with a hash of its content."""
        found: dict[str, str] = {}
        for folder, folders, names in os.walk(self.root):
            place = Path(folder)
            written = WRITTEN if place == self.class_folder else ()
            folders[:] = [name for name in folders if name not in (*CACHES, *written)]
            for name in names:
                path = place / name
                if name in written or place.name == "notebooks":
                    continue
                if path.is_symlink() or not path.is_file():
                    found[str(path)] = "no ordinary file"
                else:
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def shown(self, step: str, student: str) -> str:
        """Return the texts of all files of a student in the folder of one of nbgrader's steps."""
        paths = sorted((self.class_folder / step / student).rglob("*"))
        files = [path for path in paths if path.is_file()]
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)

    def page(self, student: str) -> str:
        """Return the feedback page of a student; empty where there is none."""
        path = self.class_folder / "feedback" / student / TOPIC / f"{NOTEBOOK}.html"
        return path.read_text(encoding="utf-8") if path.is_file() else ""


def make_course(root: Path) -> Course:
    """Copy the project with the small topic, and plant secrets."""
    course = Course(root)
    ignore = shutil.ignore_patterns("topics", "grading_data", "__pycache__")
    shutil.copytree(PACKAGE, course.project / "autograder", ignore=ignore)
    shutil.copytree(SAMPLE, course.project / "autograder" / "topics" / TOPIC)
    shutil.copytree(REPOSITORY / "course_utils", course.project / "course_utils")
    shutil.copy(REPOSITORY / "nbgrader_config.py", course.project)
    for folder in ("home", "tmp", "project/course/submitted", "project/autograder", "project"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        if folder != "tmp" and "submitted" not in folder:
            (root / folder / "secret.txt").write_text(f"{CANARY}\n")
    (course.class_folder / "secret.txt").write_text(f"{CANARY}\n")
    return course
