"""What is around the grader fails: the disk, the gradebook, the store, a second grader."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import ANSWERS, CORRUPT, FaultClass, Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(3600)]

KIBIBYTE = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, whose size a test sets with `resize`."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    result = subprocess.run(mount, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {result.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, kibibytes: int) -> None:
    """Set the size of a small disk."""
    command = ["mount", "-o", f"remount,size={kibibytes}k", str(disk)]
    subprocess.run(command, check=True)


# What there is room for: a verdict or two; then all verdicts, but no gradebook.
@pytest.mark.parametrize(("free", "judged"), [(16, False), (300, True)])
def test_the_disk_is_full(
    free: int, judged: bool, small_disk: Path, new_class: Any, undisturbed: Undisturbed
) -> None:
    made: FaultClass = new_class(small_disk)
    if judged:
        shutil.copytree(undisturbed.course / "verdicts", made.course / "verdicts")
    status = os.statvfs(small_disk)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize // KIBIBYTE
    resize(small_disk, used + free)
    running = made.start()
    assert running.wait() == 2, running.text()
    said = running.text()
    assert "space" in said or "disk is full" in said, said
    assert "was not graded" in said
    made.check_files()
    kept = made.verdicts()
    assert judged or len(kept) < undisturbed.verdicts
    resize(small_disk, 64 * KIBIBYTE)
    made.grade()
    made.check_files()
    assert kept.items() <= made.verdicts().items()
    assert made.books() == undisturbed.books


def test_the_gradebook_is_locked(new_class: Any, undisturbed: Undisturbed) -> None:
    made: FaultClass = new_class()
    shutil.copytree(undisturbed.course / "verdicts", made.course / "verdicts")
    kept = made.verdicts()
    made.environment["FAULTS_LOCK_SECONDS"] = "1"
    holder = sqlite3.connect(made.course / "gradebook.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    running = made.start()
    assert running.wait() == 2, running.text()
    assert "Another program has the gradebook open" in running.text()

    # Now it lets go while the grader waits.
    made.environment["FAULTS_LOCK_SECONDS"] = "600"
    running = made.start()
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(undisturbed.seconds / 2)
    holder.close()
    assert running.wait() == 0, running.text()
    made.check_files()
    assert made.verdicts() == kept
    assert made.books() == undisturbed.books


def test_stored_verdicts_are_damaged(new_class: Any, undisturbed: Undisturbed) -> None:
    made: FaultClass = new_class()
    shutil.copytree(undisturbed.course, made.course, dirs_exist_ok=True)
    before = made.verdicts()
    paths = [made.course / "verdicts" / name for name in sorted(before)]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    paths[2].write_bytes(paths[3].read_bytes())
    content = json.loads(paths[4].read_bytes())
    for exercise in content["verdict"]["exercises"]:
        exercise["points"] = exercise["max_points"] / 2
    paths[4].write_text(json.dumps(content))
    made.grade()
    made.check_files()
    assert made.books() == undisturbed.books
    assert made.verdicts()[paths[3].name] == before[paths[3].name]
    assert sorted(made.judged_well().values()) == [1, 2, 2, 2, 2]


def test_two_graders_at_once(new_class: Any, undisturbed: Undisturbed) -> None:
    made: FaultClass = new_class()
    both = [made.start(), made.start()]
    assert [running.wait() for running in both] == [0, 0], [running.text() for running in both]
    said = [running.text() for running in both]
    assert sum("Another grader is at work" in text for text in said) == 1
    assert sum(f"{len(ANSWERS) + 1} had a verdict already" in text for text in said) == 1
    made.check_files()
    assert made.judged_well() == dict.fromkeys([*ANSWERS, CORRUPT], 1)
    assert made.books() == undisturbed.books


def test_workers_never_see_the_class(
    new_class: Any, undisturbed: Undisturbed, dask: Any, tmp_path: Path
) -> None:
    made: FaultClass = new_class()
    empty = tmp_path / "empty"
    empty.mkdir()
    # For the workers, an empty folder lies over the class.
    hidden = ["bwrap", "--dev-bind", "/", "/", "--bind", str(empty), str(made.course)]
    probe = subprocess.run([*hidden, "ls", str(made.course)], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"the class cannot be hidden here: {probe.stderr.decode()}")
    assert probe.stdout == b""
    address, _ = dask(made, behind=hidden)
    said = made.grade(scheduler=address)
    assert "failed 0" in said
    made.check_files()
    assert made.books() == undisturbed.books
    assert made.judged_well() == dict.fromkeys([*ANSWERS, CORRUPT], 1)
