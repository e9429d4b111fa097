"""Grades a topic anew after its checks were changed: first whose marks move and why, then writes.

The old verdicts are in the store, under the hash of the old checks. Which of them stands in the
gradebook is told by its points.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from autograder import settings
from autograder.authoring.source import load_source
from autograder.classroom.batch import Outcome, find_jobs
from autograder.classroom.grading import (
    alone_on,
    judge_jobs,
    keep_books,
    report_on_known,
    verdict_store,
)
from autograder.gradebook.folders import prepare_submissions
from autograder.gradebook.marks import Marks, read_marks
from autograder.judge.identity import checks_hash
from autograder.judge.submission import read_submission
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict
from autograder.sandbox.bubblewrap import require_sandbox

CLOSE = 1e-6
MESSAGE_CHARACTERS = 300


@dataclass(frozen=True)
class Reason:
    """One check that says something else than before.

    Attributes:
        check: its name; empty for a message on the exercise as a whole.
        before: what it said: "passed", "failed: …", or "not there".
        after: what it says now.
    """

    check: str
    before: str
    after: str


@dataclass(frozen=True)
class Move:
    """One exercise of one student whose points move, or whose messages change.

    Attributes:
        exercise: name of the exercise.
        before: points in the gradebook until now; None where there were none.
        after: points now.
        reasons: the checks that say something else.
        manual: points that a person gave; they stay, whatever the checks say.
    """

    exercise: str
    before: float | None
    after: float
    reasons: tuple[Reason, ...]
    manual: float | None = None

    @property
    def moves(self) -> bool:
        """Tell whether the points of the checks are other ones; else only messages are."""
        return self.before is None or abs(self.before - self.after) > CLOSE


@dataclass
class Plan:
    """What a regrade would write.

    Attributes:
        topic: name of the topic.
        moves: student -> the exercises that change; only students with a change.
        outcomes: the new judgement of every student.
        broken: students whom the judge failed on; their marks stay.
        new: students without any mark until now.
    """

    topic: str
    moves: dict[str, list[Move]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)

    @property
    def movers(self) -> dict[str, list[Move]]:
        """The students whose points move, with the exercises that do it."""
        found = {who: [m for m in moves if m.moves] for who, moves in self.moves.items()}
        return {who: moves for who, moves in found.items() if moves}

    @property
    def changed(self) -> list[Outcome]:
        """What is to be written: everybody with other points or other messages."""
        return [o for o in self.outcomes if o.student in self.moves and not o.broken]

    def causes(self) -> list[tuple[str, str, str, int]]:
        """Return (exercise, check, what happened, how many students), commonest first."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for moves in self.movers.values():
            for move in moves:
                for reason in move.reasons:
                    words = (reason.before.partition(":")[0], reason.after.partition(":")[0])
                    counts[move.exercise, reason.check, " -> ".join(words)] += 1
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [(*cause, count) for cause, count in ordered]


def plan_regrade(
    topic: str,
    workers: int,
    console: Console,
    students: Sequence[str] | None = None,
    scheduler: str | None = None,
) -> Plan:
    """Judge everybody with the checks as they are now, and compare with the gradebook.

    Nothing is written but the new verdicts in the store.

    Raises:
        SandboxUnavailable: there is no sandbox here.
        ValueError: nobody handed in, or nothing of the topic is in the gradebook.
    """
    require_sandbox()
    source = load_source(topic)
    with alone_on(topic, console):
        # Read only now: whoever had to be waited for may have written marks.
        marks = {mark.student: mark for mark in read_marks(topic)}
        for student, note in prepare_submissions(topic).items():
            console.print(f"{student}: {note}", markup=False, highlight=False)
        chosen = None if students is None else list(students)
        jobs = find_jobs(topic, source.notebook_name, chosen)
        if not jobs:
            submitted = settings.COURSE / "submitted"
            raise ValueError(f"nothing was handed in for {topic} under {submitted}")
        plan = Plan(topic, outcomes=judge_jobs(jobs, workers, console, scheduler))
    earlier = _earlier_verdicts(topic)
    hashes = {job.student: read_submission(job.path, topic).content_hash for job in jobs}
    for outcome in plan.outcomes:
        mark = marks.get(outcome.student)
        if outcome.broken:
            plan.broken[outcome.student] = outcome.broken
            continue
        if mark is None or not mark.handed_in:
            plan.new.append(outcome.student)
        old = _in_the_books(earlier.get(hashes[outcome.student], []), mark)
        if moves := compare(old, outcome.verdict, mark):
            plan.moves[outcome.student] = moves
    return plan


def write_regrade(plan: Plan, console: Console) -> Path:
    """Fill gradebook and feedback for everybody with a change; return the new report's path.

    Raises:
        BookkeepingFailed: nbgrader could not do its part.
    """
    if plan.changed:
        keep_books(plan.topic, plan.changed, console)
    return report_on_known(plan.topic)


def _earlier_verdicts(topic: str) -> dict[str, list[Verdict]]:
    """Return the stored verdicts of other checks: hash of the submission -> newest first."""
    now = checks_hash(topic)
    found: dict[str, list[tuple[float, Verdict]]] = {}
    # A damaged one is judged anew when it is needed; here it only explains less.
    for when, verdict in verdict_store().all():
        if verdict.topic == topic and verdict.identity.get("checks") != now:
            key = verdict.identity.get("submission", "")
            found.setdefault(key, []).append((when, verdict))
    return {
        key: [verdict for _, verdict in sorted(pairs, key=lambda pair: -pair[0])]
        for key, pairs in found.items()
    }


def _in_the_books(candidates: Sequence[Verdict], mark: Marks | None) -> Verdict | None:
    """Return the verdict whose points stand in the gradebook; else the newest."""
    for verdict in candidates:
        if mark is not None and all(
            _same(_points(mark, exercise.name), exercise.points) for exercise in verdict.exercises
        ):
            return verdict
    return candidates[0] if candidates else None


def _points(mark: Marks | None, exercise: str) -> float | None:
    return mark.automatic.get(f"{exercise}-check") if mark is not None else None


def _same(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return abs(left - right) <= CLOSE


def compare(old: Verdict | None, new: Verdict, mark: Marks | None) -> list[Move]:
    """Return what changes for one student: exercises with other points or other messages.

    Args:
        old: the verdict that stands in the gradebook; None where it is lost.
        new: the verdict by the checks as they are now.
        mark: the gradebook's marks; None where there are none.
    """
    before = {exercise.name: exercise for exercise in old.exercises} if old else {}
    moves = []
    for exercise in new.exercises:
        earlier = before.get(exercise.name)
        points = _points(mark, exercise.name)
        if mark is None and earlier is not None:
            points = earlier.points
        manual = mark.manual.get(f"{exercise.name}-check") if mark is not None else None
        reasons = _reasons(earlier, exercise) if old else ()
        move = Move(exercise.name, points, exercise.points, reasons, manual)
        if move.moves or reasons:
            moves.append(move)
    return moves


def _reasons(old: ExerciseVerdict | None, new: ExerciseVerdict) -> tuple[Reason, ...]:
    checks = {check.name: check for check in old.checks} if old else {}
    names = list(dict.fromkeys([*checks, *(check.name for check in new.checks)]))
    now = {check.name: check for check in new.checks}
    pairs = [(name, _said(checks.get(name)), _said(now.get(name))) for name in names]
    if old is not None and old.message != new.message:
        pairs.insert(0, ("", _brief(old.message) or "no message", _brief(new.message) or "none"))
    found = [Reason(name, before, after) for name, before, after in pairs if before != after]
    if old is not None and not found and abs(old.points - new.points) > CLOSE:
        found = _reasons_of_weight(old, new)
    return tuple(found)


def _reasons_of_weight(old: ExerciseVerdict, new: ExerciseVerdict) -> list[Reason]:
    """Explain other points where all checks say the same: weights, gates or the maximum."""
    found = []
    if old.max_points != new.max_points:
        found.append(Reason("", f"of {old.max_points:g} points", f"of {new.max_points:g} points"))
    now = {check.name: check for check in new.checks}
    for check in old.checks:
        other = now[check.name]
        if (check.weight, check.gate) != (other.weight, other.gate):
            found.append(Reason(check.name, _weight(check), _weight(other)))
    return found


def _weight(check: CheckVerdict) -> str:
    return f"weight {check.weight:g}{', a gate' if check.gate else ''}"


def _said(check: CheckVerdict | None) -> str:
    if check is None:
        return "not there"
    return "passed" if check.passed else f"failed: {_brief(check.message)}"


def _brief(message: str) -> str:
    text = re.sub(r"\s+", " ", message).strip()
    return text if len(text) <= MESSAGE_CHARACTERS else f"{text[:MESSAGE_CHARACTERS]}…"
