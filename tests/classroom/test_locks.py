"""One grader at a time, also when one is killed and its commands go on."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import settings
from autograder.classroom.locks import alone

HOLDER = """
import subprocess, sys
from pathlib import Path
from autograder.classroom.locks import alone
with alone(Path(sys.argv[1])) as lock:
    child = None
    if sys.argv[2:]:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock], stdout=subprocess.DEVNULL)
    print(child.pid if child else 0, flush=True)
    sys.stdin.read()
"""


def held(path: Path) -> bool:
    """Tell whether somebody has the lock."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=settings.REPOSITORY,
    )


def test_a_second_grader_is_told_that_it_waits(tmp_path: Path) -> None:
    path, told = tmp_path / "locks" / "t.lock", []
    with start(str(path)) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert held(path)

        def let_go() -> None:
            told.append("waiting")
            holder.kill()

        with alone(path, let_go):
            assert held(path)
    assert told == ["waiting"]
    assert not held(path)


def test_what_a_killed_grader_started_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "t.lock"
    with start(str(path), "with a child") as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
    assert held(path)
    subprocess.run(["kill", "-9", str(child)], check=True)
    with alone(path):
        assert held(path)


def test_an_error_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "t.lock"
    with pytest.raises(OSError, match="full"), alone(path):
        raise OSError("the disk is full")
    assert not held(path)
