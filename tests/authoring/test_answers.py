from pathlib import Path

import pytest

from autograder import settings
from autograder.authoring.answers import as_function, load_alternatives, load_mistakes
from autograder.authoring.reference import load_reference
from autograder.authoring.source import load_source

TINY = "tiny_topic"


def test_reference_runs_define_and_exercise_cells_only() -> None:
    reference = load_reference(TINY)
    assert reference.norm([3.0, 4.0]) == 5.0
    assert reference.Counter().step() == 1
    assert reference.math.pi > 3
    assert not hasattr(reference, "counter")
    assert load_reference(TINY) is reference


def test_a_broken_reference_names_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (settings.TOPICS / TINY / "notebook.py").read_text()
    monkeypatch.setattr(settings, "TOPICS", tmp_path)
    (tmp_path / TINY).mkdir()
    (tmp_path / TINY / "notebook.py").write_text(text.replace("import math", "import maths"))
    with pytest.raises(RuntimeError, match=r"cell 'define-1'.*maths"):
        load_reference(TINY)


def test_mistakes() -> None:
    no_root, from_zero = load_mistakes(TINY)
    assert (no_root.exercise, no_root.name, no_root.full_name) == (
        "norm",
        "no_root",
        "norm__no_root",
    )
    assert (no_root.hint, no_root.caught_by, no_root.replay) == (
        "the root is missing",
        "test_norm",
        True,
    )
    assert no_root.source.startswith("def norm(")
    assert "norm__" not in no_root.source
    assert not from_zero.replay
    assert "super(Counter, self)" in from_zero.source


def test_answers_run_beside_the_reference() -> None:
    no_root, from_zero = load_mistakes(TINY)
    assert as_function(no_root, TINY)([3.0, 4.0]) == 25.0
    assert as_function(no_root, TINY)([]) == 1.0
    assert as_function(from_zero, TINY)().step() == 0
    assert load_reference(TINY).norm([3.0, 4.0]) == 5.0


def test_alternatives_keep_their_other_decorators() -> None:
    (hypot,) = load_alternatives(TINY)
    assert hypot.source.startswith("@functools.cache\ndef norm(")


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ('@alternative("mron")\ndef mron__a(): ...', "no exercise of the topic"),
        ('@alternative("norm")\ndef other__a(): ...', "must be called norm__"),
        ('@alternative("norm")\ndef norm(): ...', "must be called norm__"),
        ('@alternative("norm")\ndef norm__a(): ...\n' * 2, "is there twice"),
    ],
)
def test_wrong_declarations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, complaint: str
) -> None:
    text = (settings.TOPICS / TINY / "notebook.py").read_text()
    monkeypatch.setattr(settings, "TOPICS", tmp_path)
    (tmp_path / TINY).mkdir()
    (tmp_path / TINY / "notebook.py").write_text(text)
    head = "from autograder.authoring.answers import alternative\n"
    folder = tmp_path / TINY / "alternatives"
    folder.mkdir()
    (folder / "some.py").write_text(head + code)
    with pytest.raises(ValueError, match=complaint):
        load_alternatives(TINY)


def test_no_files_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (settings.TOPICS / TINY / "notebook.py").read_text()
    monkeypatch.setattr(settings, "TOPICS", tmp_path)
    (tmp_path / TINY).mkdir()
    (tmp_path / TINY / "notebook.py").write_text(text)
    assert load_source(TINY).exercises
    assert load_mistakes(TINY) == []
