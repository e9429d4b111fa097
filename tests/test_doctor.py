"""What the doctor finds, and what it says when something is broken."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from autograder import doctor
from autograder.doctor import Broken, look, verify_checksums


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(doctor, "REPOSITORY", tmp_path)
    (tmp_path / "images.npz").write_bytes(b"images")
    digest = hashlib.sha256(b"images").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  images.npz\n", encoding="utf-8")
    return tmp_path


def test_files_that_match_are_counted(folder: Path) -> None:
    assert verify_checksums(folder) == 1


def test_a_changed_file_is_named(folder: Path) -> None:
    (folder / "images.npz").write_bytes(b"others")
    with pytest.raises(Broken, match=r"images\.npz has changed") as problem:
        verify_checksums(folder)
    assert "git checkout" in problem.value.mend


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "images.npz").unlink()
    with pytest.raises(Broken, match=r"images\.npz is missing"):
        verify_checksums(folder)


def test_a_probe_that_crashes_is_a_finding() -> None:
    def crash() -> str:
        raise OSError("no such thing")

    finding = look("thing", crash)
    assert not finding.works
    assert finding.detail == "OSError: no such thing"
    assert finding.mend


def test_a_broken_thing_says_how_to_mend_it() -> None:
    def broken() -> str:
        raise Broken("no bwrap", "apt install bubblewrap")

    assert look("sandbox", broken).mend == "apt install bubblewrap"


@pytest.mark.parametrize("name", ["Python", "packages", "torch", "sandbox", "disk"])
def test_this_machine_is_fit(name: str) -> None:
    finding = look(name, doctor.PROBES[name])
    assert finding.works, finding.detail


@pytest.mark.parametrize("name", ["data", "checkpoints", "topics", "nbgrader"])
def test_the_repository_is_whole(name: str) -> None:
    finding = look(name, doctor.PROBES[name])
    assert finding.works, finding.detail


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Jupyter kernel", "JupyterLab"])
def test_jupyter_is_fit(name: str) -> None:
    finding = look(name, doctor.PROBES[name])
    assert finding.works, finding.detail


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (3, 99, 0))
    finding = look("Python", doctor.PROBES["Python"])
    assert not finding.works
    assert "PYTHON=" in finding.mend
