"""The same attacks on stock nbgrader, each in a container of its own.

nbgrader runs student code as the teacher. So all of it runs behind bubblewrap, in a copy of a
small course, with limits: whatever an attack does there, it does to that copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring.build import instructor_notebook
from autograder.authoring.source import load_source
from autograder.sandbox.bubblewrap import SYSTEM, SYSTEM_LINKS
from autograder.sandbox.system_calls import filter_descriptor, filter_program
from tests.redteam.attack import CANARY, NOTEBOOK, RIGHT, TOPIC, Attack, cell

SECONDS = 75
HIDDEN = """
### BEGIN HIDDEN TESTS
generator = torch.Generator().manual_seed({seed})
for _ in range(3):
    x = torch.randn(3, generator=generator)
    wanted = x / {divisor}
    assert torch.allclose({name}(x), wanted)
### END HIDDEN TESTS
"""
CONFIG = """
c = get_config()
c.CourseDirectory.root = "/course"
c.CourseDirectory.course_id = "stock"
"""
LIMITS = "ulimit -d 2500000 -f 200000 -u 500 -c 0"
MARKS = """
select student.id, base_cell.name, grade.auto_score, grade.extra_credit
from grade
join submitted_notebook on grade.notebook_id = submitted_notebook.id
join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id
join student on submitted_assignment.student_id = student.id
join base_cell on grade.cell_id = base_cell.id
"""


@dataclass(frozen=True)
class StockOutcome:
    """What became of one attack on stock nbgrader.

    Attributes:
        points: exercise -> points; empty when there is no mark.
        timed_out: it was still running after the time it was given.
        secret: a secret stands in the autograded copy.
        changed: what changed besides the student's own files.
        others: the honest student's marks are no longer right.
        seconds: wall time.
    """

    points: dict[str, float]
    timed_out: bool
    secret: bool
    changed: list[str]
    others: bool
    seconds: float


def stock_notebook() -> NotebookNode:
    """Return the source of the assignment: the small topic with hidden tests in the notebook."""
    notebook = instructor_notebook(load_source(TOPIC))
    for name, divisor in (("halve", 2), ("quarter", 4)):
        test = HIDDEN.format(name=name, divisor=divisor, seed=divisor)
        cell(notebook, f"{name}-check").source += test
    return notebook


class StockCourse:
    """A course of stock nbgrader, and copies of it for the attacks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.course = root / "template"
        source = self.course / "source" / TOPIC
        source.mkdir(parents=True)
        (self.course / "nbgrader_config.py").write_text(CONFIG)
        (self.course / "secret.txt").write_text(CANARY)
        (source / f"{NOTEBOOK}.ipynb").write_text(json.dumps(stock_notebook()))
        self._run(self.course, f"nbgrader generate_assignment {TOPIC}", 120)
        honest = self.released()
        folder = self.course / "submitted" / "honest" / TOPIC
        folder.mkdir(parents=True)
        (folder / f"{NOTEBOOK}.ipynb").write_text(json.dumps(honest))
        self._run(self.course, f"nbgrader autograde {TOPIC} --student honest", 120)
        marks = self._marks(self.course)
        if marks.get("honest") != {"halve-check": 3.0, "quarter-check": 2.0}:
            raise RuntimeError(f"stock nbgrader gave the honest student {marks}")

    def released(self) -> NotebookNode:
        """Return the released notebook with right answers."""
        import nbformat

        path = self.course / "release" / TOPIC / f"{NOTEBOOK}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        for name, text in RIGHT.items():
            cell(notebook, name).source = text
        return notebook

    def grade(self, attack: Attack) -> StockOutcome:
        """Have stock nbgrader grade one attack, in a copy of the course."""
        course = self.root / "copy"
        shutil.rmtree(course, ignore_errors=True)
        shutil.copytree(self.course, course)
        attack.write(self.released(), course / "submitted", course)
        before = dict(_files(course, attack.name))
        begin = time.monotonic()
        timed_out = self._run(course, f"nbgrader autograde {TOPIC} --student {attack.name}")
        seconds = time.monotonic() - begin
        marks = self._marks(course)
        after = dict(_files(course, attack.name))
        changed = sorted(name for name in before | after if before.get(name) != after.get(name))
        copies = (course / "autograded" / attack.name).rglob("*")
        secret = any(CANARY.encode() in path.read_bytes() for path in copies if path.is_file())
        own = marks.get(attack.name, {})
        points = {name.removesuffix("-check"): score for name, score in own.items()}
        honest = marks.get("honest") == {"halve-check": 3.0, "quarter-check": 2.0}
        return StockOutcome(points, timed_out, secret, changed[:5], not honest, round(seconds, 1))

    def _run(self, course: Path, command: str, seconds: float = SECONDS) -> bool:
        """Run a command in the container; return whether it had to be ended."""
        try:
            self._container(course, ["bash", "-c", f"{LIMITS}; exec python -m {command}"], seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _marks(self, course: Path) -> dict[str, dict[str, float]]:
        """Read the marks from the gradebook as the attack left it."""
        path = course / "gradebook.db"
        if path.is_symlink() or not path.is_file():
            return {}
        marks: dict[str, dict[str, float]] = {}
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
            try:
                for student, name, score, extra in books.execute(MARKS):
                    marks.setdefault(student, {})[name] = (score or 0.0) + (extra or 0.0)
            except sqlite3.DatabaseError:
                return {}
        return marks

    @staticmethod
    def _container(
        course: Path, command: list[str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        walls = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
        for path in SYSTEM_LINKS:
            if Path(path).is_symlink():
                walls += ["--symlink", str(Path(path).readlink()), path]
        for path in SYSTEM:
            walls += ["--ro-bind-try", path, path]
        for prefix in sorted({sys.prefix, sys.base_prefix}, key=len):
            walls += ["--ro-bind", prefix, prefix]
        walls += ["--proc", "/proc", "--dev", "/dev"]
        for path in ("/tmp", "/dev/shm", "/home"):
            walls += ["--size", str(256 * 2**20), "--tmpfs", path]
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": "/home",
            "LANG": "C.UTF-8",
            "SECRET_TOKEN": CANARY,
            "OMP_NUM_THREADS": "1",
        }
        for name, value in environment.items():
            walls += ["--setenv", name, value]
        walls += ["--bind", str(course), "/course", "--chdir", "/course"]
        with filter_descriptor() as calls:
            if filter_program():
                walls += ["--seccomp", str(calls)]
            return subprocess.run(
                [*walls, *command],
                pass_fds=[calls],
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )


def _files(course: Path, student: str) -> Iterator[tuple[str, str]]:
    """Yield every file of the course but the attacker's own and the gradebook."""
    for path in sorted(course.rglob("*")):
        name = path.relative_to(course)
        own = len(name.parts) > 1 and name.parts[1] == student
        if path.is_file() and not own and name.name not in ("gradebook.db", ".nbgrader.log"):
            yield str(name), hashlib.sha256(path.read_bytes()).hexdigest()


def measured(outcome: StockOutcome) -> dict[str, object]:
    """Return an outcome as it is kept."""
    return asdict(outcome)
