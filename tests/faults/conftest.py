"""A class that is graded by real processes: the grader, Dask, the sandbox, nbgrader.

The topic is the small one that tests judge. Whatever is killed or broken on the way, the gradebook
must be the undisturbed one in the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook
from sqlalchemy import text

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.classroom.logs import read_entries
from autograder.gradebook.folders import find_alembic
from autograder.judge.identity import checks_hash
from autograder.sandbox.bubblewrap import sandbox_problem

TOPIC = "sample_topic"
NOTEBOOK = "8_sample_topic"
SEED = 20260301
SECONDS = 600.0
# Every Python process of a class finds its topics by this.
SITE = """
import os
from pathlib import Path
from autograder import settings
settings.TOPICS = Path(os.environ["FAULTS_ROOT"]) / "topics"
settings.NOTEBOOKS = Path(os.environ["FAULTS_ROOT"]) / "notebooks"
if seconds := os.environ.get("FAULTS_LOCK_SECONDS"):
    from autograder.gradebook import patience
    patience.LOCK_SECONDS = int(seconds)
"""
QUESTION = """
# %% [markdown] written="why_half" points=2
# Why is half of a half a quarter?
#
# ### BEGIN SOLUTION
# Because 1/2 times 1/2 is 1/4.
# ### END SOLUTION
"""
ANSWERS: dict[str, dict[str, str | None]] = {
    "anna": {},
    "ben": {"halve": "def halve(x):\n    return x / 3\n"},
    "carl": {"quarter": None},
    "emil": {"halve": None, "why_half": None},
}
CORRUPT = "gina"
KILLS: Counter[str] = Counter()
MOST_OF_A_KIND = 12


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many processes were killed."""
    if KILLS:
        parts = ", ".join(f"{count} x {what}" for what, count in sorted(KILLS.items()))
        terminalreporter.write_line(f"faults: {KILLS.total()} kills in all: {parts}")


@dataclass
class FaultClass:
    """A course folder and the programs that grade it.

    Attributes:
        root: topics, built notebooks and the site's settings.
        course: nbgrader's course folder.
        environment: of every program.
    """

    root: Path
    course: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, scheduler: str = "", workers: int = 2) -> Running:
        """Start `autograder grade`."""
        more = ["--scheduler", scheduler] if scheduler else []
        command = ["-m", "autograder", "grade", TOPIC, "--workers", str(workers)]
        return self.program(*command, *more, *arguments)

    def program(self, *arguments: str, behind: Sequence[str] = ()) -> Running:
        """Start a Python program with the class's settings, as the last part of a command."""
        said = self.root / f"said-{time.monotonic_ns()}.txt"
        with said.open("wb") as file:
            process = subprocess.Popen(
                [*behind, sys.executable, *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.root,
            )
        return Running(process, said)

    def grade(self, *arguments: str, **options: Any) -> str:
        """Grade without any disturbance, and return what was said."""
        running = self.start(*arguments, **options)
        assert running.wait() == 0, running.text()
        return running.text()

    def verdicts(self) -> dict[str, int]:
        """Return when each stored verdict was written, by its file name."""
        found = (self.course / "verdicts").glob("*.json")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def check_files(self) -> None:
        """Make sure that no file is there in half."""
        for path in self.course.rglob("*"):
            if path.suffix in (".json", ".ipynb") and "submitted" not in path.parts:
                json.loads(path.read_bytes())
            elif path.suffix == ".html":
                assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path
            elif path.suffix == ".log" and path.parent.name == TOPIC:
                assert read_entries(path), path
                assert path.read_text(encoding="utf-8").endswith("\n"), path

    def judged_well(self) -> dict[str, int]:
        """Return how often a judging of each student gave a verdict, by the logs."""
        folder = self.course / "logs" / TOPIC
        return {
            path.stem: sum("FAILED" not in entry for entry in read_entries(path))
            for path in folder.glob("*.log")
        }

    def books(self) -> dict[str, Any]:
        """Return everything that the gradebook says of each student."""
        find_alembic()
        return read_books(f"sqlite:///{self.course / 'gradebook.db'}")


def read_books(url: str) -> dict[str, Any]:
    """Return everything that a gradebook says of each student."""
    found: dict[str, Any] = {}
    with Gradebook(url) as books:
        # Without it, the gradebook could not be moved to a later nbgrader.
        found["version"] = books.db.execute(text("SELECT * FROM alembic_version")).all()
        for record in books.find_assignment(TOPIC).submissions:
            notebook = books.find_submission_notebook(NOTEBOOK, TOPIC, record.student_id)
            cells = {
                grade.name: (grade.auto_score, grade.manual_score, grade.needs_manual_grade)
                for grade in notebook.grades
            }
            comments = {item.name: item.comment for item in notebook.comments}
            time_of = str(record.timestamp)
            found[record.student_id] = (record.score, record.max_score, time_of, cells, comments)
    return found


@dataclass
class Running:
    """A program that runs, and where it writes what it says."""

    process: subprocess.Popen[bytes]
    said: Path

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it did not end:\n{self.text()}") from None

    def text(self) -> str:
        """Return what it has said."""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def kill(self, what: str) -> bool:
        """Kill it, and count it; tell whether it was still running."""
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        KILLS[what] += 1
        return True

    def end(self) -> None:
        """Kill it and everything that it started."""
        below = _descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_below(self, dice: random.Random) -> str:
        """Kill one of the processes that it started, of the kind killed least; return the kind."""
        kinds: dict[str, list[psutil.Process]] = {}
        for process in _descendants(self.process.pid):
            if kind := _kind(process):
                kinds.setdefault(kind, []).append(process)
        if not kinds:
            return ""
        # Some kinds live much longer than others.
        kind = min(sorted(kinds), key=lambda kind: KILLS[kind] + dice.random())
        if KILLS[kind] >= MOST_OF_A_KIND:
            return ""
        try:
            dice.choice(kinds[kind]).kill()
        except psutil.NoSuchProcess:
            return ""
        KILLS[kind] += 1
        return kind


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kind(process: psutil.Process) -> str:
    """Name what a process of the grader is for; empty for those that nobody kills here."""
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return ""
    if "/sandbox/" in words:
        return "sandbox"
    if "sandbox.template" in words:
        return "template"
    if "warm_judge" in words:
        return "judge"
    if "nbgrader" in words:
        return "nbgrader"
    return "worker" if "spawn_main" in words else ""


def make_topic(folder: Path) -> None:
    """Copy the sample topic, with a written question and without its slowest check."""
    shutil.copytree(Path(__file__).parents[1] / "judge" / TOPIC, folder)
    notebook, checks = folder / "notebook.py", folder / "test_sample.py"
    notebook.write_text(notebook.read_text() + QUESTION)
    text, slow, _ = checks.read_text().partition('@check("quarter")\ndef test_quarters_elsewhere')
    assert slow
    checks.write_text(text)


def hand_in(course: Path) -> None:
    """Hand in for the whole class."""
    for student, answers in ANSWERS.items():
        place = course / "submitted" / student / TOPIC / f"{NOTEBOOK}.ipynb"
        place.parent.mkdir(parents=True)
        nbformat.write(complete_notebook(TOPIC, answers), place)
        (place.parent / "timestamp.txt").write_text("2026-03-01 09:00:00 UTC\n")
    place = course / "submitted" / CORRUPT / TOPIC / f"{NOTEBOOK}.ipynb"
    place.parent.mkdir(parents=True)
    place.write_text('{"cells": [')


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the topic, and a class that handed in."""
    if problem := sandbox_problem():
        pytest.skip(problem)
    made = tmp_path_factory.mktemp("faults")
    (made / "site").mkdir()
    (made / "site" / "sitecustomize.py").write_text(SITE)
    make_topic(made / "topics" / TOPIC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "TOPICS", made / "topics")
        checks_hash.cache_clear()
        hand_in(made / "class")
    checks_hash.cache_clear()
    return made


@pytest.fixture
def new_class(root: Path, tmp_path: Path) -> Any:
    """Return a function that makes a fresh class: handed in, and nothing graded."""

    def make(place: Path | None = None, students: Collection[str] = ()) -> FaultClass:
        made = fresh_class(root, place or tmp_path / f"course-{time.monotonic_ns()}")
        for folder in (made.course / "submitted").iterdir():
            if students and folder.name not in students:
                shutil.rmtree(folder)
        return made

    return make


def fresh_class(root: Path, course: Path) -> FaultClass:
    """Make a class that has handed in."""
    shutil.copytree(root / "class", course, dirs_exist_ok=True)
    packages = os.pathsep.join([str(root / "site"), str(settings.REPOSITORY)])
    environment = {
        "PYTHONPATH": packages,
        "FAULTS_ROOT": str(root),
        "AUTOGRADER_COURSE": str(course),
        "OMP_NUM_THREADS": "1",
    }
    return FaultClass(root, course, environment)


@dataclass(frozen=True)
class Undisturbed:
    """What grading gives when nothing happens, how long it takes, and the class it was done on."""

    books: dict[str, Any]
    verdicts: int
    seconds: float
    course: Path


@pytest.fixture(scope="session")
def undisturbed(root: Path) -> Undisturbed:
    """Grade once without any disturbance."""
    made = fresh_class(root, root / "undisturbed")
    started = time.monotonic()
    made.grade()
    seconds = time.monotonic() - started
    books = made.books()
    assert set(books) == {*ANSWERS, CORRUPT, "version"}
    assert books["anna"][0] > books["ben"][0]
    assert made.judged_well() == dict.fromkeys([*ANSWERS, CORRUPT], 1)
    return Undisturbed(books, len(made.verdicts()), seconds, made.course)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts a scheduler and two workers of a class."""
    started: list[Running] = []

    def start(made: FaultClass, behind: Sequence[str] = ()) -> tuple[str, Running]:
        address = tmp_path / f"scheduler-{time.monotonic_ns()}.json"
        more = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        scheduler = made.program("-m", "dask", "scheduler", "--scheduler-file", str(address), *more)
        place = ["--scheduler-file", str(address), "--local-directory", str(tmp_path)]
        more = ["--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
        workers = [
            made.program("-m", "dask", "worker", *place, *more, behind=behind) for _ in range(2)
        ]
        started.extend([scheduler, *workers])
        return wait_for_address(address), scheduler

    yield start
    for running in started:
        running.end()


def wait_for_address(path: Path) -> str:
    """Wait for a scheduler to say where it is."""
    for _ in range(600):
        if path.is_file() and path.stat().st_size:
            return str(json.loads(path.read_text())["address"])
        time.sleep(0.1)
    raise AssertionError("the scheduler did not start")
