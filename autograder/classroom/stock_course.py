"""A course for nbgrader as it comes: its own preprocessors, nothing of the autograder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

from autograder.authoring.build import complete_notebook, instructor_notebook
from autograder.authoring.source import load_source
from autograder.settings import REPOSITORY
from course_utils.storage import FOLDER_VARIABLE

STUDENT = "anna"
# Of all that nbgrader sets, only what it takes to let every cell come to its end.
CONFIG = "c = get_config()\nc.ExecutePreprocessor.timeout = 3600\n"
SAID = 2000


class StockFailed(RuntimeError):
    """A command of stock nbgrader failed; the text holds the end of what it said."""


@dataclass(frozen=True)
class StockCourse:
    """A course folder with one student, whose notebook is completed with the reference answers."""

    folder: Path
    topic: str

    @property
    def notebook(self) -> Path:
        """The file that the student handed in."""
        name = load_source(self.topic).notebook_name
        return self.folder / "submitted" / STUDENT / self.topic / f"{name}.ipynb"

    @classmethod
    def make(cls, folder: Path, topic: str) -> StockCourse:
        """Make the course: release the assignment, and hand in the completed notebook.

        Raises:
            StockFailed: nbgrader could not release it.
        """
        course = cls(folder, topic)
        (folder / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
        source = folder / "source" / topic / course.notebook.name
        source.parent.mkdir(parents=True)
        nbformat.write(instructor_notebook(load_source(topic)), source)
        course._run("generate_assignment", topic)
        course.notebook.parent.mkdir(parents=True)
        nbformat.write(complete_notebook(topic), course.notebook)
        return course

    def autograde(self) -> None:
        """Grade the student's notebook from the beginning, as on the first day.

        Raises:
            StockFailed: nbgrader could not.
        """
        # Nothing that the notebook has trained before is there: nbgrader runs all of it.
        shutil.rmtree(self._remembered, ignore_errors=True)
        self._run("autograde", self.topic, f"--student={STUDENT}", "--force")

    @property
    def _remembered(self) -> Path:
        return self.folder / "remembered"

    def _run(self, *arguments: str) -> None:
        environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(self.folder / "jupyter"),
            # nbgrader starts alembic by name; the notebook imports course_utils.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(REPOSITORY),
            FOLDER_VARIABLE: str(self._remembered),
            "OMP_NUM_THREADS": "1",
        }
        result = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            said = (result.stdout + result.stderr)[-SAID:]
            raise StockFailed(f"nbgrader {' '.join(arguments)} failed:\n{said}")
