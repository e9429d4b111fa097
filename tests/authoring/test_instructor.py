"""An instructor opens a source as a notebook, changes it there and builds (docs/instructors.md)."""

from pathlib import Path

import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class

from autograder import settings
from autograder.authoring.build import build_topic
from autograder.authoring.source import parse_source

TINY = "tiny_topic"
TEXT = (Path(__file__).parent / TINY / "notebook.py").read_text()
CELLS = TEXT[TEXT.index("# %%") :]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """JupyterLab's own way to files, with jupytext in it, on a copy of the tiny topic."""
    (tmp_path / "topics" / TINY).mkdir(parents=True)
    (tmp_path / "topics" / TINY / "notebook.py").write_text(TEXT)
    monkeypatch.setattr(settings, "TOPICS", tmp_path / "topics")
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)()
    manager.root_dir = str(tmp_path)
    return manager


def opened(lab) -> dict:
    return lab.get(f"topics/{TINY}/notebook.py", type="notebook", content=True)


def saved(lab, model: dict) -> str:
    lab.save(model, f"topics/{TINY}/notebook.py")
    return (settings.TOPICS / TINY / "notebook.py").read_text()


def test_opening_and_saving_changes_no_cell(lab) -> None:
    text = saved(lab, opened(lab))
    assert text[text.index("# %%") :] == CELLS
    assert parse_source(text, TINY) is not None
    # The second time nothing changes at all.
    assert saved(lab, opened(lab)) == text


def test_a_change_reaches_the_students_copy(lab) -> None:
    before = {path.name: path.read_text() for path in build_topic(TINY)[:1]}
    model = opened(lab)
    cells = model["content"].cells
    (answer,) = (cell for cell in cells if cell.metadata.get("exercise") == "norm")
    (check,) = (cell for cell in cells if cell.metadata.get("check") == "norm")
    old = "math.sqrt(sum(value * value for value in values))"
    assert old in answer.source
    answer.source = answer.source.replace(old, "math.hypot(*values)")
    check.source = check.source.replace("norm([3.0, 4.0]) == 5.0", "norm([6.0, 8.0]) == 10.0")
    saved(lab, model)
    students, instructors = build_topic(TINY)
    changed = {cell.id: cell.source for cell in nbformat.read(students, 4).cells}
    assert "== 10.0" in changed["norm-check"]
    assert "hypot" not in students.read_text()
    assert students.read_text() != before[students.name]
    assert "hypot" in instructors.read_text()
