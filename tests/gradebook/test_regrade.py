"""Grading again, late submissions, marks that a person gave."""

from typing import Any

from autograder.authoring.build import complete_notebook

TINY = "tiny_topic"
NOTEBOOK = "9_tiny_topic"
FULL = {"norm": 3.0, "Counter": 1.5}


def test_marks_through_several_runs(course: Any) -> None:
    course.hand_in("ann", complete_notebook(TINY), timestamp="2030-01-02 10:00:00 UTC")
    course.decide("ann", FULL)
    course.hand_in("bob", complete_notebook(TINY), timestamp="2029-12-31 10:00:00 UTC")
    course.decide("bob", FULL)
    with course.books() as books:
        books.update_or_create_assignment(TINY, duedate="2030-01-01 00:00:00 UTC")
    late = "--LateSubmissionPlugin.penalty_method=zero"
    course.nbgrader("autograde", TINY, late)
    first = course.grades("ann")
    with course.books() as books:
        ann = books.find_submission_notebook(NOTEBOOK, TINY, "ann")
        bob = books.find_submission_notebook(NOTEBOOK, TINY, "bob")
        assert (ann.score, ann.late_submission_penalty) == (4.5, 4.5)
        assert (bob.score, bob.late_submission_penalty) == (4.5, None)
        # A person marks the written answer, and corrects a check.
        for name, score in {"why_root": 2.0, "norm-check": 2.5}.items():
            grade = books.find_grade(name, NOTEBOOK, TINY, "bob")
            grade.manual_score, grade.needs_manual_grade = score, False
        books.db.commit()

    # Once more without a change: nothing is done, and with --force the same comes out.
    course.nbgrader("autograde", TINY, late)
    assert course.grades("bob")["why_root"] == (None, 2.0, False)
    course.decide("bob", {"norm": 1.5, "Counter": 1.5})
    course.nbgrader("autograde", TINY, "--force", late)
    assert course.grades("ann") == first
    assert course.grades("bob") == {
        "norm-check": (1.5, 2.5, True),
        "Counter-check": (1.5, None, False),
        "why_root": (None, 2.0, True),
    }

    # Without a verdict the old automatic marks do not stand; those of a person do.
    (course.root / "verdicts" / "bob.json").unlink()
    log = course.nbgrader("autograde", TINY, "--force", "--student", "bob", check=False)
    assert "error processing assignment" in log
    assert course.grades("bob") == {
        "norm-check": (0.0, 2.5, True),
        "Counter-check": (0.0, None, True),
        "why_root": (0.0, 2.0, True),
    }
    # The next run tries again by itself.
    course.decide("bob", FULL)
    course.nbgrader("autograde", TINY)
    assert course.grades("bob")["Counter-check"] == (1.5, None, False)


def test_other_points_in_the_source(course: Any) -> None:
    """After a change of the source, marks are not mixed with the old maximum."""
    course.hand_in("eve", complete_notebook(TINY))
    course.decide("eve", FULL)
    path = course.root / "verdicts" / "eve.json"
    path.write_text(path.read_text().replace('"max_points": 3.0', '"max_points": 4.0'))
    log = course.nbgrader("autograde", TINY, "--student", "eve")
    assert "run `nbgrader generate_assignment` again" in log
    assert course.grades("eve")["norm-check"] == (0.0, None, True)
