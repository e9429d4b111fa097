from pathlib import Path

import pytest

from autograder import settings

TINY = "tiny_topic"


@pytest.fixture(autouse=True)
def tiny_course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let the tiny topic be the only one, and build into a folder of the test."""
    monkeypatch.setattr(settings, "TOPICS", Path(__file__).parent)
    monkeypatch.setattr(settings, "COURSE", tmp_path / "course")
    monkeypatch.setattr(settings, "NOTEBOOKS", tmp_path / "notebooks")
    return tmp_path
