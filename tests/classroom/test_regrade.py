"""Regrading: whose marks move and why is said before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from autograder.gradebook.marks import read_marks

TINY = "tiny_topic"


@pytest.fixture(scope="module")
def graded(tiny_class: Any) -> Any:
    tiny_class.failing = {
        "ann": {"test_norm_counts": "got 4, not 5"},
        "bob": {"test_Counter_refuses": "old words"},
        "dan": {"test_norm_refuses": "accepts nothing"},
    }
    for student in ("ann", "bob", "cem", "dan", "eva"):
        # So that each has a content of their own; what is the same is judged once.
        tiny_class.hand_in(student, {"norm": f"def norm(values):\n    return '{student}'"})
    tiny_class.run("grade", TINY)
    return tiny_class


def scores() -> dict[str, float]:
    return {mark.student: mark.score for mark in read_marks(TINY)}


# nbgrader's own commands, five students, three times.
@pytest.mark.slow
def test_a_regrade_from_beginning_to_end(graded: Any) -> None:
    before = scores()
    assert before == {"ann": 3.0, "bob": 3.75, "cem": 4.5, "dan": 3.0, "eva": 4.5}
    feedback = graded.course / "feedback" / "ann" / TINY / "9_tiny_topic.html"
    assert "got 4, not 5" in feedback.read_text()

    # Nothing was changed: nobody is judged, nothing moves.
    graded.judged.clear()
    assert "Marks move: 0. Only messages change: 0. As before: 5." in graded.run("regrade", TINY)
    assert graded.judged == []

    # Ann's check was wrong, Bob only gets other words, Dan loses a gate; the judge fails on Eva.
    graded.change_checks()
    graded.failing = {
        "bob": {"test_Counter_refuses": "[red]new[/red] words"},
        "dan": {"test_norm_refuses": "accepts nothing", "test_Counter_counts": "starts at 0"},
        "eva": {"crash": ""},
    }
    output = graded.run("regrade", TINY, code=1)
    assert graded.judged == ["ann", "bob", "cem", "dan", "eva"]
    assert "1.5 -> 3" in output
    assert "test_norm_counts" in output
    assert "failed: got 4, not 5" in output
    assert "-> failed: starts at 0" in output
    assert "1 x norm: test_norm_counts: failed -> passed" in output
    assert "Marks move: 2. Only messages change: 1. As before: 1." in output
    assert "eva could not be judged, and keeps the old marks: crash" in output
    assert "Nothing was written" in output
    assert scores() == before
    assert "got 4, not 5" in feedback.read_text()

    # The second time all but Eva have their verdict already.
    graded.judged.clear()
    output = graded.run("regrade", TINY, "--write", code=1)
    assert graded.judged == ["eva"]
    assert "Written: 3 students." in output
    assert scores() == before | {"ann": 4.5, "dan": 2.25}
    assert "got 4, not 5" not in feedback.read_text()
    page = (graded.course / "feedback" / "bob" / TINY / "9_tiny_topic.html").read_text()
    assert "[red]new[/red] words" in page
    assert "Marks move: 0" in graded.run("regrade", TINY, "--student", "ann")


def test_it_needs_a_gradebook(tiny_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autograder.settings.COURSE", tiny_class.root / "nowhere")
    assert "there is no gradebook" in tiny_class.run("regrade", TINY, code=2)
