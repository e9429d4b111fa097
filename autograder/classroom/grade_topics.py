"""`autograder grade`: one topic or all of them, for real or only to look."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder import settings
from autograder.authoring.source import topics_in_order
from autograder.classroom.batch import ClusterLost
from autograder.classroom.formats import ALL
from autograder.classroom.grading import BookkeepingFailed, Graded, grade
from autograder.classroom.logs import log_path
from autograder.classroom.survey import Standing, survey_topic
from autograder.sandbox.bubblewrap import SandboxUnavailable

EXPECTED = (BookkeepingFailed, ClusterLost, SandboxUnavailable, ValueError, OSError)
FAILED, STOPPED = 1, 2


def topics_to_grade(topic: str, students: Sequence[str] | None = None) -> list[str]:
    """Return the topic, or for `all` those that somebody of `students` handed in.

    Raises:
        ValueError: it is `all`, and nobody handed in anything, or one of `students` did not.
    """
    if topic != ALL:
        return [topic]
    root = settings.COURSE / "submitted"
    # Asked of the folders, so that a topic whose source is broken is still one of them.
    topics = settings.topic_names()
    found = [path for path in root.glob("*/*") if path.is_dir() and path.name in topics]
    if unknown := sorted(set(students or ()) - {path.parent.name for path in found}):
        raise ValueError(f"nothing was handed in by {', '.join(unknown)} under {root}")
    names = {path.name for path in found if students is None or path.parent.name in students}
    known = [name for name in topics if name in names]
    try:
        known.sort(key=topics_in_order().index)
    except Exception:
        # A source cannot be read; grading its topic says so.
        known.sort()
    if not known:
        raise ValueError(f"nothing was handed in under {root}")
    return known


def grade_topics(
    topics: Sequence[str],
    workers: int,
    console: Console,
    students: Sequence[str] | None = None,
    *,
    scheduler: str | None = None,
    again: bool = False,
    only_changed: bool = False,
) -> int:
    """Grade topics one after the other; one that cannot be graded does not stop the others.

    Returns:
        The exit code: 0, 1 where judging somebody failed, 2 where a topic could not be graded.
    """
    codes: dict[str, int] = {}
    for topic in topics:
        if len(topics) > 1:
            console.rule(topic, align="left")
        try:
            graded = grade(
                topic,
                workers,
                _those_who_handed_in(topic, students) if len(topics) > 1 else students,
                console=console,
                scheduler=scheduler,
                again=again,
                only_changed=only_changed,
            )
        except Exception as problem:
            _say(topic, problem, console)
            codes[topic] = STOPPED
        else:
            codes[topic] = _show_graded(topic, graded, console)
    if len(topics) > 1:
        for topic, code in codes.items():
            words = {0: "graded", FAILED: "graded, but not everybody", STOPPED: "NOT graded"}
            console.print(f"{topic}: {words[code]}", markup=False, highlight=False)
    return max(codes.values())


def _those_who_handed_in(topic: str, students: Sequence[str] | None) -> Sequence[str] | None:
    """Return who of these handed in this topic; of many topics, nobody need have all."""
    if students is None:
        return None
    there = settings.COURSE / "submitted"
    return [student for student in students if (there / student / topic).is_dir()]


def _say(topic: str, problem: Exception, console: Console) -> None:
    expected = isinstance(problem, EXPECTED)
    # Anything else is a fault of the grader or of the topic, and its place has to be known.
    text = str(problem) if expected else "".join(traceback.format_exception(problem))
    console.print(Text(f"{topic} was not graded: {text}", "red"), soft_wrap=True)
    if isinstance(problem, OSError):
        cure = "What was judged is kept. Mend this, then give the same command again."
        console.print(Text(cure, "red"), soft_wrap=True)


def _show_graded(topic: str, graded: Graded, console: Console) -> int:
    broken = [outcome for outcome in graded.outcomes if outcome.broken]
    remembered = sum(outcome.remembered for outcome in graded.outcomes)
    count = f"{len(graded.outcomes)} submissions; {remembered} had a verdict already."
    if graded.unchanged:
        count += f" {len(graded.unchanged)} unchanged, left alone."
    console.print(count, highlight=False)
    for outcome in broken:
        text = f"{outcome.student}: {outcome.broken} (log: {log_path(topic, outcome.student)})"
        console.print(Text(text, "red"), soft_wrap=True)
    console.print(f"Report: {graded.report}", soft_wrap=True)
    return FAILED if broken else 0


def show_topics(
    topics: Sequence[str],
    console: Console,
    students: Sequence[str] | None = None,
    *,
    again: bool = False,
    only_changed: bool = False,
) -> int:
    """Say what grading would do, and write nothing; return the exit code."""
    code = 0
    for topic in topics:
        try:
            chosen = _those_who_handed_in(topic, students) if len(topics) > 1 else students
            found = survey_topic(topic, chosen)
        except Exception as problem:
            _say(topic, problem, console)
            code = STOPPED
            continue
        table = Table(title=topic, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for heading in ("student", "what", "note"):
            table.add_column(heading, overflow="fold")
        counts: dict[str, int] = {}
        for item in found:
            what = _what(item, again, only_changed)
            counts[what] = counts.get(what, 0) + 1
            notes = [note for note in (item.note, item.unreadable) if note]
            # Text, not markup: names of files come from students.
            table.add_row(Text(item.job.student), Text(what), Text("; ".join(notes)))
        console.print(table)
        console.print(", ".join(f"{n} {what}" for what, n in counts.items()), highlight=False)
    console.print("Nothing was written: --dry-run.")
    return code


def _what(item: Standing, again: bool, only_changed: bool) -> str:
    if again or item.verdict is None:
        return "to be judged"
    if item.in_books and only_changed:
        return "unchanged, to be left alone"
    return "in the store, marks and pages made anew"
