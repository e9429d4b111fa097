"""A log for each submission: when it was judged, where, at what cost, and what came of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from autograder import settings
from autograder.classroom.batch import Outcome
from autograder.files import write_whole
from autograder.settings import MEBIBYTE

# A log begins each judging with this, so that they can be told apart and counted.
HEADING = "judged "
MOST_ENTRIES = 20


def log_path(topic: str, student: str) -> Path:
    """Return where the log of a student's submission is."""
    return settings.COURSE / "logs" / topic / f"{student}.log"


def write_log(topic: str, outcome: Outcome) -> Path:
    """Add a judging to the log of a submission; the newest stands first.

    Raises:
        OSError: the disk is full; the log is as it was.
    """
    path = log_path(topic, outcome.student)
    earlier = read_entries(path)[: MOST_ENTRIES - 1]
    write_whole(path, "\n".join([_entry(outcome), *earlier]))
    return path


def read_entries(path: Path) -> list[str]:
    """Return the judgings in a log, the newest first; none where there is no log."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    parts = f"\n{text}".split(f"\n{HEADING}")[1:]
    return [f"{HEADING}{part}" for part in parts]


def _entry(outcome: Outcome) -> str:
    judged, verdict = outcome.judged, outcome.verdict
    when = datetime.fromtimestamp(judged.started).astimezone()
    lines = [
        f"{HEADING}{when:%Y-%m-%d %H:%M:%S %z}",
        f"  worker: {judged.worker or 'unknown'}",
        f"  seconds: {judged.seconds:.1f}",
        f"  CPU seconds: {_known(judged.cpu_seconds, '.1f')}",
        f"  peak memory: {_known(verdict.peak_memory / MEBIBYTE or None, '.0f', ' MiB')}",
    ]
    if outcome.broken:
        lines.append(f"  FAILED: {_indented(outcome.broken)}")
        if judged.details:
            lines += ["  what was said:", f"    {_indented(judged.details)}"]
    else:
        lines.append(f"  points: {verdict.points:g} of {verdict.max_points:g}")
        for exercise in verdict.exercises:
            failed = [check.name for check in exercise.checks if not check.passed]
            points = f"{exercise.points:g}/{exercise.max_points:g}"
            lines.append(f"    {exercise.name}: {points} {_indented(', '.join(failed))}".rstrip())
        lines += [f"  note: {_indented(problem)}" for problem in verdict.problems]
        if verdict.needs_review:
            lines.append("  a person has to look at it")
    return "\n".join(lines) + "\n"


def _known(value: float | None, form: str, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:{form}}{unit}"


def _indented(text: str) -> str:
    """Return a text whose lines cannot be taken for the log's own."""
    return "\n    ".join(text.splitlines())
