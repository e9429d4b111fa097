"""Looks after nbgrader's folders: odd submissions before grading, half-graded ones after a crash.

Plain `nbgrader autograde` copes with a file that is no notebook. It does not see a student who
handed in no notebook of the right name, and it passes over a student whose grading was cut off.
`autograder grade` calls `prepare_submissions` and `forget_unfinished` for these.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import sys
from pathlib import Path

import nbformat
from nbgrader.utils import parse_utc

from autograder import settings
from autograder.authoring.source import load_source
from autograder.files import write_whole
from autograder.judge.notebook_file import TIMESTAMP
from autograder.sandbox.session import printable

LOG = logging.getLogger("traitlets")
TIMESTAMP_BYTES = 200
# Lies where nothing was handed in, until something is.
STAND_IN = nbformat.writes(nbformat.v4.new_notebook()).encode()


def find_alembic() -> None:
    """Make sure that nbgrader finds `alembic`, which it starts by name.

    It stands beside the Python interpreter, and that folder is not on PATH when the environment
    is used without being activated.
    """
    if shutil.which("alembic") is None:
        folder = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])


def remove_links(assignment: str, student: str, notebooks: list[str]) -> None:
    """Take links and other odd files out of one submission, before nbgrader copies its files.

    nbgrader would copy what a link points to, from anywhere on this machine. This is its
    `pre_convert_hook`. A notebook that is a link is left: it is not copied, and it is reported.

    Args:
        assignment: nbgrader's assignment pattern; not used.
        student: nbgrader's student pattern; not used.
        notebooks: the notebooks of one submission; they tell where it is.
    """
    for folder in {Path(notebook).parent for notebook in notebooks}:
        for place, _, files in os.walk(folder):
            for path in (Path(place) / name for name in files if not name.endswith(".ipynb")):
                if not stat.S_ISREG(path.lstat().st_mode):
                    LOG.warning("Removed %s: only ordinary files are taken", path)
                    path.unlink()
        _check_timestamp(folder / TIMESTAMP)


def _check_timestamp(path: Path) -> None:
    """Put a time of submission aside that nbgrader could not read."""
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size < TIMESTAMP_BYTES else "?"
        if text.strip():
            parse_utc(text.strip())
    except Exception:  # the parser raises many kinds
        LOG.warning("%s is no time; the submission counts as not late", path)
        path.rename(path.with_suffix(".unreadable"))


def prepare_submissions(topic: str, submitted: Path | None = None) -> dict[str, str]:
    """Give nbgrader a notebook of the right name for everybody who handed anything in.

    A single notebook of another name is copied to the right one. Otherwise an empty notebook
    stands in: it earns 0 points and asks for a review. No file of the student is changed.

    Args:
        topic: name of the topic.
        submitted: nbgrader's folder of submissions, by default the course's.

    Returns:
        Student -> a sentence on what was done, for those where something was.
    """
    name = f"{load_source(topic).notebook_name}.ipynb"
    done: dict[str, str] = {}
    for student, (folder, other) in without_notebook(topic, submitted).items():
        if other is not None:
            write_whole(folder / name, other.read_bytes(), mode=0o644)
            done[student] = f"the notebook was called {printable(other.name)}"
        else:
            if not os.path.lexists(folder / name):
                write_whole(folder / name, STAND_IN, mode=0o644)
            done[student] = f"there was no notebook called {name}"
    return done


def is_stand_in(path: Path) -> bool:
    """Tell whether a notebook is the empty one of `prepare_submissions`, and nobody's work."""
    try:
        status = path.lstat()
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_size == len(STAND_IN)
            and path.read_bytes() == STAND_IN
        )
    except OSError:
        return False


def without_notebook(
    topic: str, submitted: Path | None = None
) -> dict[str, tuple[Path, Path | None]]:
    """Return who handed in no notebook of the right name; nothing is written.

    The empty notebook that stood in for one earlier is none.

    Returns:
        Student -> the folder, and the single notebook of another name in it, if there is one.
    """
    name = f"{load_source(topic).notebook_name}.ipynb"
    found: dict[str, tuple[Path, Path | None]] = {}
    for folder in sorted((submitted or settings.COURSE / "submitted").glob(f"*/{topic}")):
        missing = not os.path.lexists(folder / name) or is_stand_in(folder / name)
        if folder.is_dir() and missing:
            others = [
                path
                for path in folder.glob("*.ipynb")
                if path.name != name and stat.S_ISREG(path.lstat().st_mode)
            ]
            found[folder.parent.name] = folder, others[0] if len(others) == 1 else None
    return found


def forget_unfinished(topic: str, autograded: Path | None = None) -> list[str]:
    """Remove autograded copies whose grading was cut off, so that the next run grades them again.

    Args:
        topic: name of the topic.
        autograded: nbgrader's folder of autograded copies, by default the course's.

    Returns:
        The students concerned.
    """
    name = f"{load_source(topic).notebook_name}.ipynb"
    forgotten: list[str] = []
    for folder in sorted((autograded or settings.COURSE / "autograded").glob(f"*/{topic}")):
        try:
            notebook = json.loads((folder / name).read_text(encoding="utf-8"))
            finished = notebook["metadata"]["autograder"]["state"] == "graded"
        except (OSError, ValueError, KeyError, TypeError):
            finished = False
        if not finished:
            shutil.rmtree(folder)
            forgotten.append(folder.parent.name)
    return forgotten
