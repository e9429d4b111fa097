"""Every command on the pages for TAs runs, in the order of the pages.

The class has real notebooks and a real gradebook. Verdicts are in the store beforehand, so that
nothing is judged; commands that judge for real or take long are marked slow.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.classroom import batch, grading, report
from autograder.cli import app
from autograder.gradebook.folders import find_alembic
from autograder.judge.identity import identity, verdict_key
from autograder.judge.store import VerdictStore
from autograder.judge.submission import read_submission
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict
from autograder.sandbox.bubblewrap import sandbox_problem

DOCS = settings.REPOSITORY / "docs" / "ta"
PAGES = ["collect", "grade", "written_questions", "report", "export", "regrade", "trouble"]
TOPIC = "network_pruning"
STUDENTS = {"anna": "Anna Müller", "ben": "Ben Lee"}
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAVY = re.compile(
    r"autograder (judge|doctor)|--again|autograder grade (all|.*--student)|dask scheduler|--write"
)
FIRST = (
    "autograder collect downloads/moodle.zip network_pruning --roster downloads/class.csv",
    "autograder grade network_pruning --workers 2",
)
# What works on this machine is the machine's affair.
MAY_FAIL = {"autograder doctor": (0, 1)}


def commands() -> list[object]:
    """Return every command of the pages once; a `sh` block is one command."""
    found: dict[str, str] = {}
    for page in PAGES:
        for kind, text in BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")):
            lines = [text] if kind == "sh" else text.splitlines()
            found |= {line.strip(): page for line in lines if line.strip() not in found}
    problem = sandbox_problem()
    slow = [pytest.mark.slow, pytest.mark.skipif(bool(problem), reason=problem or "sandbox")]
    return [
        pytest.param(command, id=f"{page}: {command[:60]}", marks=slow if _heavy(command) else ())
        for command, page in found.items()
    ]


def _heavy(command: str) -> bool:
    return HEAVY.search(command) is not None


@dataclass
class World:
    """A folder with downloads and a class, in which the commands run.

    Attributes:
        folder: the working folder.
        said: command -> exit code and output; no command runs twice.
    """

    folder: Path
    said: dict[str, tuple[int, str]] = field(default_factory=dict)

    def run(self, command: str) -> tuple[int, str]:
        """Run a command as a TA does."""
        if command not in self.said:
            words = shlex.split(command)
            if words[0] == "autograder":
                result = CliRunner().invoke(app, words[1:])
                self.said[command] = result.exit_code, result.output
            else:
                self.said[command] = self._shell(command)
        return self.said[command]

    def _shell(self, command: str) -> tuple[int, str]:
        folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "PATH": os.pathsep.join(folders),
            "PYTHONPATH": str(settings.REPOSITORY),
            "AUTOGRADER_COURSE": str(settings.COURSE),
        }
        result = subprocess.run(
            ["bash", "-e", "-c", command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ta")
    make_downloads(folder / "downloads")
    shutil.copy(settings.REPOSITORY / "nbgrader_config.py", folder)
    find_alembic()
    course = folder / "course"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUTOGRADER_COURSE", str(course))
        for module in (settings, batch, grading, report):
            patch.setattr(module, "COURSE", course)
        patch.setattr(settings, "NOTEBOOKS", folder / "notebooks")
        patch.setattr(grading, "require_sandbox", lambda: None)
        patch.setattr("autograder.classroom.regrade.require_sandbox", lambda: None)
        made = World(folder)
        assert made.run(FIRST[0])[0] == 0
        keep_verdicts(course)
        code, output = made.run(FIRST[1])
        assert code == 0, output
        yield made


def make_downloads(folder: Path) -> None:
    """Make what Moodle gives, a folder for each student, and a roster."""
    notebook = complete_notebook(TOPIC)
    name = f"{load_source(TOPIC).notebook_name}.ipynb"
    folder.mkdir()
    with zipfile.ZipFile(folder / "moodle.zip", "w") as archive:
        for number, who in enumerate(STUDENTS.values(), start=12345):
            path = f"{who}_{number}_assignsubmission_file/{name}"
            archive.writestr(
                zipfile.ZipInfo(path, (2026, 3, 1, 9, 0, 0)), nbformat.writes(notebook)
            )
    notebook.cells.append(nbformat.v4.new_markdown_cell("A later thought.", id="later"))
    for student in STUDENTS:
        (folder / "by_student" / student).mkdir(parents=True)
        nbformat.write(notebook, folder / "by_student" / student / name)
    lines = [f"{student},{name},{student}@example.org" for student, name in STUDENTS.items()]
    (folder / "class.csv").write_text("student id,name,email\n" + "\n".join(lines), "utf-8")


def keep_verdicts(course: Path) -> None:
    """Put a verdict into the store: the same answers have the same one."""
    path = next((course / "submitted").glob(f"*/{TOPIC}/*.ipynb"))
    content = read_submission(path, TOPIC).content_hash
    exercises = [
        ExerciseVerdict.from_checks(
            exercise.name, exercise.points, [CheckVerdict(name="test_it", passed=True, weight=1)]
        )
        for exercise in load_source(TOPIC).exercises
    ]
    verdict = Verdict(topic=TOPIC, exercises=exercises, identity=identity(TOPIC, content, 1))
    VerdictStore(course / "verdicts").put(verdict_key(TOPIC, content), verdict)


# Dask tries its usual port first; where another cluster has it, a socket is left to the collector.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("command", commands())
def test_the_command_runs(world: World, command: str) -> None:
    code, output = world.run(command)
    assert code in MAY_FAIL.get(command, (0,)), output
    assert "Traceback" not in output


def test_what_the_commands_leave(world: World) -> None:
    course = world.folder / "course"
    for place in (
        f"submitted/anna/{TOPIC}/1_network_pruning.ipynb",
        "gradebook.db",
        f"feedback/anna/{TOPIC}/1_network_pruning.html",
        f"report/{TOPIC}.html",
    ):
        assert (course / place).is_file(), place


def test_every_page_is_in_the_list() -> None:
    pages = {path.stem for path in DOCS.glob("*.md")} - {"README"}
    assert pages == set(PAGES)
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    assert all(f"({page}.md)" in text for page in pages)


@pytest.mark.parametrize("page", [*PAGES, "README"])
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (DOCS / target).is_file(), target


def test_readme_shows_the_closing_table_as_it_was_measured() -> None:
    readme = (settings.REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = settings.REPOSITORY / "docs" / "closing_table.txt"
    assert table.read_text(encoding="utf-8") in readme
