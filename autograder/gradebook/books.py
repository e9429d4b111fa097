"""What is written into nbgrader's gradebook: points from a verdict, or none."""

from __future__ import annotations

import math

from nbgrader.api import Comment, Grade, Gradebook

from autograder.authoring.source import Cell, TopicSource
from autograder.judge.submission import Submission
from autograder.judge.verdict import ExerciseVerdict, Verdict

NO_RESPONSE = "No response."
ROUNDING = 1e-6


def reset_grades(books: Gradebook, notebook: str, assignment: str, student: str) -> None:
    """Set every mark of a submission to 0 with 'needs manual grading', until there is a verdict.

    Marks that a person gave are kept.
    """
    for grade in books.find_submission_notebook(notebook, assignment, student).grades:
        _write(grade, 0.0, review=True)
    books.db.commit()


def save_verdict(
    books: Gradebook,
    notebook: str,
    student: str,
    verdict: Verdict | None,
    source: TopicSource,
    submission: Submission,
) -> list[str]:
    """Write the marks of one submission, in one transaction.

    The cells come from the gradebook, as `generate_assignment` wrote them; the student's notebook
    is not asked. A check cell gets the verdict's points of its exercise. Written answers wait for
    a person; an untouched one gets 0.

    Args:
        books: the open gradebook.
        notebook: name of the notebook.
        student: name of the student's folder.
        verdict: the judge's; None where there is none.
        source: the topic's source.
        submission: what the student handed in.

    Returns:
        A sentence for each mark that a person has to look at because the verdict has no valid one.
    """
    problems: list[str] = []
    cells = {cell.name: cell for cell in source.cells}
    record = books.find_submission_notebook(notebook, source.topic, student)
    for grade in record.grades:
        cell = cells.get(grade.name)
        if cell is not None and cell.kind == "written":
            answered = submission.written.get(cell.name, "").strip() not in ("", cell.stub.strip())
            _write(grade, None if answered else 0.0, review=answered)
            continue
        exercise = None if cell is None else _find(verdict, cell.exercise)
        problem = _problem(exercise, grade)
        if problem:
            problems.append(f"{grade.name}: {problem}")
        points = 0.0 if problem or exercise is None else exercise.points
        _write(grade, points, review=bool(problem))
    if verdict is None or verdict.needs_review:
        _ask_for_review(list(record.grades))
    for comment in record.comments:
        _comment(comment, cells, submission)
    books.db.commit()
    return problems


def _find(verdict: Verdict | None, exercise: str) -> ExerciseVerdict | None:
    found = [e for e in verdict.exercises if e.name == exercise] if verdict else []
    return found[0] if len(found) == 1 else None


def _problem(exercise: ExerciseVerdict | None, grade: Grade) -> str:
    """Say why a verdict's points cannot be used; empty when they can."""
    highest = float(grade.cell.max_score)
    if exercise is None:
        return "the verdict has no points for it"
    if not math.isfinite(exercise.points) or not 0 <= exercise.points <= highest + ROUNDING:
        return f"{exercise.points} points, outside 0 to {highest:g}"
    if not math.isclose(exercise.max_points, highest, abs_tol=ROUNDING):
        return (
            f"the verdict knows {exercise.max_points:g} points and the gradebook {highest:g}; "
            "run `nbgrader generate_assignment` again"
        )
    return ""


def _write(grade: Grade, points: float | None, review: bool) -> None:
    grade.auto_score = points
    # A mark that a person gave stays, and is to be looked at again, as in nbgrader itself.
    grade.needs_manual_grade = review or grade.manual_score is not None


def _ask_for_review(grades: list[Grade]) -> None:
    """Mark what a person should look at first: all that lost points, else the first mark."""
    lost = [g for g in grades if g.auto_score is not None and g.auto_score < g.cell.max_score]
    for grade in lost or grades[:1]:
        grade.needs_manual_grade = True


def _comment(comment: Comment, cells: dict[str, Cell], submission: Submission) -> None:
    """Note 'No response.' where the student left the stub."""
    cell = cells.get(comment.name)
    if cell is None:
        return
    texts = {**submission.written, **submission.answers}
    untouched = texts.get(comment.name, cell.stub).strip() == cell.stub.strip()
    comment.auto_comment = NO_RESPONSE if untouched else None
