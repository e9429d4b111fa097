"""The gradebook on a PostgreSQL server, which these tests start themselves."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook, get_alembic_version
from sqlalchemy import text

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.gradebook.marks import database_url, read_marks
from autograder.gradebook.mend import mend_gradebook

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"
FULL = {"norm": 3.0, "Counter": 1.5}
# The server refuses to run as root.
SERVER_USERS = ("postgres", "nobody")


def find_programs() -> Path | None:
    """Return the folder with the server's programs; Debian does not put it on PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("pg_ctl")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").is_file()), None)


PROGRAMS = find_programs()
pytestmark = pytest.mark.skipif(
    PROGRAMS is None,
    reason="PostgreSQL's programs are not installed (Debian, Ubuntu: apt install postgresql)",
)


def server_user() -> str | None:
    """Return the user that the server runs as; None where it is the one of the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in SERVER_USERS if name in known), None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of an empty gradebook on a server of its own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    assert PROGRAMS is not None
    user = server_user()
    # Not pytest's folder: that one is closed to other users, and too long for a socket's name.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)

        def run(program: str, *arguments: str) -> None:
            result = subprocess.run(
                [str(PROGRAMS / program), *arguments],
                user=user,
                cwd=folder,
                # The server keeps what it is given; a pipe would never end.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
                check=False,
            )
            log = folder / "log"
            said = result.stderr or (log.read_bytes() if log.is_file() else b"")
            assert result.returncode == 0, said.decode(errors="replace")

        data = str(folder / "data")
        run("initdb", "-D", data, "-U", "teacher", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            run("createdb", "-h", str(folder), "-U", "teacher", "gradebook")
            yield f"postgresql+psycopg://teacher@/gradebook?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def test_marks_are_read_from_the_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "GRADEBOOK", url)
    assert database_url() == url
    assert not mend_gradebook()
    with pytest.raises(ValueError, match="not in the gradebook"):
        read_marks("some_topic")
    assert not mend_gradebook()
    with Gradebook(url) as books:
        # As when making it was cut off.
        books.db.execute(text("DROP TABLE alembic_version"))
        books.db.commit()
    assert mend_gradebook()
    with Gradebook(url) as books:
        (version,) = books.db.execute(text("SELECT version_num FROM alembic_version")).scalars()
        assert version == get_alembic_version()
        books.add_assignment("some_topic")
        books.add_student("zoë", first_name="Zoë", last_name="文")
        books.add_submission("some_topic", "zoë")
    (mark,) = read_marks("some_topic")
    assert (mark.student, mark.first_name, mark.last_name) == ("zoë", "Zoë", "文")
    assert mark.handed_in


@pytest.mark.slow
def test_the_server_has_the_marks_that_the_file_has(
    course: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for student, points in {"anna": FULL, "ben": {"norm": 1.5, "Counter": 0.0}}.items():
        course.hand_in(student, complete_notebook(TINY), timestamp="2026-03-01 09:00:00 UTC")
        course.decide(student, points)
    course.hand_in("carl", complete_notebook(TINY, {"norm": None, "why_root": None}))
    course.decide("carl", {"norm": 0.0, "Counter": 1.5}, review=True)
    course.nbgrader("autograde", TINY)
    with course.books() as books:
        wanted = everything(books)
    assert wanted["anna"]["score"] == 4.5
    shutil.rmtree(course.root / "course" / "autograded")

    monkeypatch.setenv("AUTOGRADER_GRADEBOOK", url)
    course.nbgrader("generate_assignment", TINY, "--force")
    course.nbgrader("autograde", TINY)
    # A person's mark stays when the checks' marks are written again.
    with Gradebook(url) as books:
        assert everything(books) == wanted
        grade = books.find_grade("why_root", NOTEBOOK, TINY, "anna")
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        books.db.commit()
    course.nbgrader("autograde", TINY, "--force")
    course.nbgrader("generate_feedback", TINY)
    monkeypatch.setattr(settings, "GRADEBOOK", url)
    marks = {mark.student: mark for mark in read_marks(TINY)}
    assert marks["anna"].score == 6.0
    assert marks["anna"].manual == {"why_root": 1.5}
    assert marks["ben"].score == 1.5
    page = course.root / "course" / "feedback" / "anna" / TINY / f"{NOTEBOOK}.html"
    assert "1.5" in page.read_text(encoding="utf-8")


def everything(books: Gradebook) -> dict[str, Any]:
    """Return what a gradebook says of each student."""
    found: dict[str, Any] = {}
    for record in books.find_assignment(TINY).submissions:
        notebook = books.find_submission_notebook(NOTEBOOK, TINY, record.student_id)
        found[record.student_id] = {
            "score": record.score,
            "time": record.timestamp,
            "cells": {g.name: (g.auto_score, g.needs_manual_grade) for g in notebook.grades},
            "comments": {c.name: c.comment for c in notebook.comments},
        }
    return found
