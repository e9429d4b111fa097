"""What a TA does in nbgrader's formgrader: find the class, mark a written answer, see feedback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from autograder import settings
from autograder.authoring.source import load_source
from autograder.classroom import batch, grading, report
from autograder.classroom.demo import Desert, Member, make_class, write_class
from autograder.judge.identity import identity, verdict_key
from autograder.judge.store import VerdictStore
from autograder.judge.submission import read_submission
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict

TOPIC = "knowledge_distillation"
SOURCE = load_source(TOPIC)
HIGHEST = sum(cell.points for cell in SOURCE.cells)
CODE_POINTS = sum(exercise.points for exercise in SOURCE.exercises)
FEW = ("demo_perfect", "demo_untouched")
FEEDBACK_SHOWS = """
text => document.querySelector(".jp-HTMLViewer iframe")
  ?.contentDocument?.body?.textContent.includes(text)
"""


@pytest.fixture(scope="module")
def course(lab_folder: Path) -> Iterator[Path]:
    """Grade two of the demo class where JupyterLab looks for it, from verdicts that are there."""
    course = lab_folder / "course"
    members = [member for member in make_class(TOPIC, every_attack=False) if member.name in FEW]
    assert len(members) == len(FEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGRADER_COURSE", str(course))
        for module in (settings, batch, grading, report):
            patch.setattr(module, "COURSE", course)
        patch.setattr(grading, "require_sandbox", lambda: None)
        write_class(members, TOPIC, course / "submitted")
        for member in members:
            keep_deserved_verdict(member, course)
        grading.grade(TOPIC, 1, console=Console(quiet=True))
        yield course


def keep_deserved_verdict(member: Member, course: Path) -> None:
    """Put a verdict into the store as the judge would give it: judging is tested elsewhere."""
    path = course / "submitted" / member.name / TOPIC / f"{SOURCE.notebook_name}.ipynb"
    content = read_submission(path, TOPIC).content_hash
    exercises = [
        ExerciseVerdict.from_checks(
            exercise.name,
            exercise.points,
            [
                CheckVerdict(
                    name="test_it",
                    passed=member.deserves[exercise.name] is Desert.FULL,
                    weight=1,
                )
            ],
        )
        for exercise in SOURCE.exercises
    ]
    verdict = Verdict(topic=TOPIC, exercises=exercises, identity=identity(TOPIC, content, 1))
    VerdictStore(course / "verdicts").put(verdict_key(TOPIC, content), verdict)


def open_formgrader(desk: Any) -> Any:
    """Open the formgrader by JupyterLab's menu, and return its page."""
    desk.page.goto(desk.lab.url("lab?reset"))
    desk.menu("Nbgrader", "Formgrader")
    return desk.page.frame_locator("iframe[src*=formgrader]")


def go_to_marks(form: Any) -> None:
    """Click from anywhere in the formgrader to the topic's list of submissions."""
    form.get_by_role("link", name="Manual Grading").first.click()
    form.get_by_role("link", name=TOPIC, exact=True).click()
    form.get_by_role("link", name=SOURCE.notebook_name, exact=True).click()


def total(form: Any) -> str:
    """Return the total of the perfect student in the list of submissions."""
    return form.locator("tr", has_text="demo_perfect").locator("td.score").inner_text()


def mark_written_answer(desk: Any, form: Any, question: str, points: float, comment: str) -> None:
    """Open the perfect student's submission and mark one written answer."""
    go_to_marks(form)
    row = form.locator("tr", has_text="demo_perfect")
    row.locator(".reveal .name-hidden").click()
    row.get_by_role("link", name="demo_perfect").click()
    note, mark = form.locator(f"#{question}-comment"), form.locator(f"#{question}")
    # Before the page has its marks, it would overwrite what is typed.
    form.locator(f"#{question}-comment[placeholder]").wait_for()
    for field, text, kind in ((note, comment, "comment"), (mark, str(points), "grade")):
        field.fill(text)
        with desk.page.expect_response(f"**/api/{kind}/*") as saved:
            field.press("Tab")
        assert saved.value.ok


@pytest.mark.usefixtures("course")
def test_formgrader_lists_the_class(desk: Any) -> None:
    form = open_formgrader(desk)
    row = form.locator("tr", has_text=TOPIC)
    row.wait_for()
    assert row.locator(".num-submissions").inner_text() == str(len(FEW))


@pytest.mark.usefixtures("course")
def test_a_mark_for_a_written_answer_changes_the_total(desk: Any) -> None:
    form = open_formgrader(desk)
    go_to_marks(form)
    assert total(form) == f"{CODE_POINTS:g} / {HIGHEST:g}"
    mark_written_answer(desk, form, "dark_knowledge", 1.5, "Say what the soft labels add.")
    go_to_marks(form)
    assert total(form) == f"{CODE_POINTS + 1.5:g} / {HIGHEST:g}"


def test_the_feedback_page_shows_the_mark(desk: Any, course: Path) -> None:
    form = open_formgrader(desk)
    mark_written_answer(desk, form, "loss_bugs", 1, "And which line is wrong?")
    form.get_by_role("link", name="Manual Grading").first.click()
    form.get_by_role("link", name="Manage Assignments").click()
    form.locator("tr", has_text=TOPIC).locator(".generate-feedback a").click()
    form.get_by_text("Successfully generated feedback").wait_for()
    page = course / "feedback" / "demo_perfect" / TOPIC / f"{SOURCE.notebook_name}.html"
    desk.page.goto(desk.lab.url(f"lab/tree/{page.relative_to(desk.lab.folder)}?reset"))
    # No script runs in this frame, so its text is read from outside.
    desk.page.wait_for_function(FEEDBACK_SHOWS, arg="And which line is wrong?")
    desk.page.wait_for_function(FEEDBACK_SHOWS, arg=f"of {HIGHEST:.1f} points")
