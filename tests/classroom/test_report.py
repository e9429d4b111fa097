"""The class report: one file, student texts escaped, figures right."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.classroom.report import (
    count_mistakes,
    leaderboards,
    pass_rates,
    report_html,
    what_happened,
    write_report,
)
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict

ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>$\\frac"


def verdict(student: str, passed: bool, *, message: str = "wrong", mistake: str = "") -> Verdict:
    check = CheckVerdict(
        name="test_counts",
        passed=passed,
        weight=1,
        message="" if passed else message,
        mistake=mistake or None,
    )
    return Verdict(
        topic="network_pruning",
        student=student,
        exercises=[
            ExerciseVerdict.from_checks("apoz", 4, [check]),
            ExerciseVerdict.from_checks("trim", 6, [check.model_copy(update={"passed": True})]),
        ],
        seconds=2.0,
    )


def test_texts_of_students_are_escaped_everywhere() -> None:
    bad = verdict(ATTACK, False, message=ATTACK, mistake=ATTACK)
    bad = bad.model_copy(update={"problems": [ATTACK], "needs_review": True})
    page = report_html("network_pruning", "Network pruning", [bad, verdict("b", True)])
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_the_page_needs_nothing_else() -> None:
    page = report_html("network_pruning", "Network pruning", [verdict("a", True)])
    assert "data:image/png;base64," in page
    assert "http://" not in page
    assert "https://" not in page
    assert "prefers-color-scheme: dark" in page


def test_a_class_with_no_point_at_all_has_a_report(tmp_path: Path) -> None:
    path = write_report("t", "T", [verdict("a", False)], tmp_path / "deep" / "report.html")
    assert "class report" in path.read_text(encoding="utf-8")


def test_the_leaderboard_begins_with_the_smallest() -> None:
    class_ = [verdict(name, True) for name in "abc"]
    class_[0].board, class_[1].board = {"bytes": 57_000}, {"bytes": 17_200}
    assert leaderboards(class_) == {"bytes": [("b", 17_200), ("a", 57_000)]}
    page = report_html("combining_techniques", "Combining techniques", class_)
    assert page.index("17,200") < page.index("57,000")
    assert "Leaderboard" not in report_html("t", "T", [verdict("a", True)])


def test_no_verdicts_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing has been judged"):
        write_report("t", "T", [], tmp_path / "report.html")


def test_pass_rates_count_full_points_only() -> None:
    rates = pass_rates([verdict("a", True), verdict("b", False)])
    assert rates == {"apoz": 0.5, "trim": 1.0}


def test_mistakes_are_counted_by_student_commonest_first() -> None:
    verdicts = [
        verdict("a", False, mistake="rare"),
        verdict("b", False, mistake="common"),
        verdict("c", False, mistake="common"),
    ]
    assert list(count_mistakes(verdicts).items()) == [
        (("apoz", "common"), ["b", "c"]),
        (("apoz", "rare"), ["a"]),
    ]


def test_what_happened_names_the_exercise_that_lost_points() -> None:
    assert what_happened(verdict("a", True)) == "all checks passed"
    assert what_happened(verdict("a", False, message="got\n3")) == "apoz: got 3"
