"""Why a mark moves: other checks, other words, other weights, another maximum."""

from __future__ import annotations

from typing import Any

from autograder.classroom.regrade import Plan, compare
from autograder.gradebook.marks import Marks
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict


def verdict(points: float = 4, message: str = "", **checks: Any) -> Verdict:
    """Make a verdict on one exercise; a check is True, a message, or parts."""
    found = []
    for name, said in checks.items():
        parts: dict[str, Any] = {"passed": True, "weight": 1}
        parts |= said if isinstance(said, dict) else {}
        parts |= {"passed": False, "message": said} if isinstance(said, str) else {}
        found.append(CheckVerdict(name=name, **parts))
    exercise = ExerciseVerdict.from_checks("apoz", points, found, message)
    return Verdict(topic="t", student="ann", exercises=[exercise])


def marks(points: float | None, **manual: float) -> Marks:
    given = {f"{name}-check": value for name, value in manual.items()}
    return Marks("t", "ann", True, automatic={"apoz-check": points}, manual=given)


def test_the_same_verdict_is_no_move() -> None:
    assert compare(verdict(a=True), verdict(a=True), marks(4)) == []


def test_a_check_that_says_something_else() -> None:
    (move,) = compare(verdict(a=True, b="old"), verdict(a="bad", b="new"), marks(2))
    assert (move.before, move.after, move.moves) == (2, 0, True)
    said = [(reason.check, reason.before, reason.after) for reason in move.reasons]
    assert said == [("a", "passed", "failed: bad"), ("b", "failed: old", "failed: new")]


def test_only_another_message() -> None:
    (move,) = compare(verdict(a="old"), verdict(a="new"), marks(0))
    assert not move.moves
    plan = Plan("t", moves={"ann": [move]})
    assert plan.movers == {}
    assert plan.causes() == []


def test_checks_that_come_and_go() -> None:
    (move,) = compare(verdict(a=True), verdict(b=True), marks(4))
    assert [(r.before, r.after) for r in move.reasons] == [
        ("passed", "not there"),
        ("not there", "passed"),
    ]
    assert not move.moves


def test_other_weights_gates_and_maxima() -> None:
    old = verdict(a=True, b="no")
    new = verdict(a={"weight": 3}, b="no")
    (move,) = compare(old, new, marks(2))
    assert (move.after, move.reasons[0].before, move.reasons[0].after) == (
        3,
        "weight 1",
        "weight 3",
    )
    gate = verdict(a=True, b={"passed": False, "message": "no", "gate": True})
    (move,) = compare(old, gate, marks(2))
    assert (move.after, move.reasons[0].after) == (0, "weight 1, a gate")
    (move,) = compare(verdict(a=True), verdict(5, a=True), marks(4))
    assert (move.reasons[0].before, move.reasons[0].after) == ("of 4 points", "of 5 points")


def test_the_books_count_not_the_old_verdict() -> None:
    """A mark that the books never had moves, though both verdicts say the same."""
    (move,) = compare(verdict(a=True), verdict(a=True), marks(None, apoz=1.5))
    assert (move.before, move.after, move.manual) == (None, 4, 1.5)
    assert compare(None, verdict(a=True), marks(4)) == []
