"""The second half of nbgrader's autograde: a verdict instead of running the notebook.

`AttachVerdict` stands in place of nbgrader's `Execute` and shows the verdict in the check cells;
the feedback page has it beside the answers.
`SaveVerdict` stands in place of `SaveAutoGrades` and writes the points. What the notebook itself
shows is never read back.
"""

from __future__ import annotations

from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode
from traitlets.utils.importstring import import_item

from autograder.authoring.messages import catalogue
from autograder.authoring.source import load_source
from autograder.gradebook.books import save_verdict
from autograder.gradebook.feedback import (
    SHOWN_ABOVE_KEY,
    VERDICT_KEY,
    Translate,
    message_for_student,
    title,
    verdict_metadata,
)
from autograder.gradebook.rebuild import submitted_path
from autograder.gradebook.sanitize import plain_text
from autograder.judge.identity import verdict_key
from autograder.judge.notebook_file import fingerprint
from autograder.judge.submission import Submission, read_submission
from autograder.judge.verdict import ExerciseVerdict, Verdict

VERDICT = "autograder_verdict"
STORE_FOLDER = "verdicts"
# In the metadata of an autograded copy: what it was made from.
RECORD = "autograder"
NOTES_ID = "grader-notes"
NOTES = """**Notes from the grader**

~~~text
{notes}
~~~

Outputs below check cells are the grader's. All other outputs are as the student saved them."""


def find_or_judge(path: Path, topic: str, student: str, course: Path) -> Verdict:
    """Return the stored verdict on a submission with this content, or judge it now.

    Args:
        path: the submitted notebook.
        topic: name of the topic.
        student: name of the student's folder.
        course: nbgrader's course folder; the store lies in it.

    Raises:
        SandboxUnavailable: there is no stored verdict, and no sandbox to make one.
        JudgeBroken: the judge failed.
    """
    from autograder.judge.judge import judge_submission
    from autograder.judge.store import VerdictStore

    store = VerdictStore(course / STORE_FOLDER)
    key = verdict_key(topic, read_submission(path, topic).content_hash)
    verdict = store.get(key)
    if verdict is None:
        verdict = judge_submission(path, topic, student)
        store.put(key, verdict)
    return verdict.model_copy(update={"student": student})


class AttachVerdict(NbGraderPreprocessor):
    """Obtains the verdict and shows it: messages below the check cells, notes at the top.

    When there is no verdict, this raises. The marks are then 0 with 'needs manual grading' from
    `RebuildFromSource`, nbgrader reports the student and goes on with the next, and a later run
    tries again.
    """

    find_verdict = Unicode(
        "autograder.gradebook.verdicts.find_or_judge",
        help="dotted name of the function that returns a verdict; see `find_or_judge`",
    ).tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Attach the verdict on one notebook."""
        ids = resources["nbgrader"]
        find = import_item(self.find_verdict)
        course = Path(self.parent.parent.coursedir.root)
        path = submitted_path(self, resources)
        verdict: Verdict = find(path, ids["assignment"], ids["student"], course)
        if verdict.topic != ids["assignment"]:
            raise ValueError(f"a verdict on {verdict.topic!r}, not on {ids['assignment']!r}")
        resources[VERDICT] = verdict
        submission = read_submission(path, ids["assignment"])
        translate = catalogue(ids["assignment"], submission.language).translate
        reports = {f"{e.name}-check": report_text(e, translate) for e in verdict.exercises}
        beside = {e.name: verdict_metadata(e, translate) for e in verdict.exercises}
        answers = {cell.id for cell in nb.cells}
        for cell in nb.cells:
            if cell.id in beside and cell.cell_type == "code":
                cell.metadata[VERDICT_KEY] = beside[cell.id]
            if cell.id in reports and cell.cell_type == "code":
                cell.outputs = [new_output("stream", name="stdout", text=reports[cell.id])]
                cell.metadata[SHOWN_ABOVE_KEY] = cell.id.removesuffix("-check") in answers
        if notes := _notes(verdict):
            nb.cells.insert(0, new_markdown_cell(NOTES.format(notes=notes), id=NOTES_ID))
        return nb, resources


class SaveVerdict(NbGraderPreprocessor):
    """Writes the verdict's points into the gradebook, and marks the notebook as graded."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Save the verdict on one notebook."""
        ids = resources["nbgrader"]
        submission = read_submission(submitted_path(self, resources), ids["assignment"])
        source = load_source(ids["assignment"]).in_language(submission.language)
        verdict = resources.get(VERDICT)
        with Gradebook(ids["db_url"]) as books:
            problems = save_verdict(
                books, ids["notebook"], ids["student"], verdict, source, submission
            )
        for problem in problems:
            self.log.error("%s: needs review: %s", ids["student"], problem)
        nb.metadata[RECORD] = finished(submitted_path(self, resources), submission)
        return nb, resources


def finished(path: Path, submission: Submission) -> dict[str, str]:
    """Return what an autograded copy notes once its marks are in the gradebook.

    Args:
        path: the submitted file.
        submission: what counts of it.
    """
    key = verdict_key(submission.topic, submission.content_hash)
    return {"state": "graded", "verdict": key, "file": fingerprint(path)}


def report_text(exercise: ExerciseVerdict, translate: Translate = str) -> str:
    """Return the text below a check cell: the points, and what each check says."""
    lines = [f"{exercise.points:g} of {exercise.max_points:g} points"]
    if exercise.message:
        lines.append(translate(exercise.message))
    for check in exercise.checks:
        lines.append(f"{'passed' if check.passed else 'FAILED'}: {title(check.name)}")
        if message := message_for_student(check, translate):
            lines += [f"    {line}" for line in message.splitlines()]
    return plain_text("\n".join(lines)) + "\n"


def _notes(verdict: Verdict) -> str:
    notes = [f"- {problem}" for problem in verdict.problems]
    if verdict.needs_review:
        notes.append("- A person should look at this submission.")
    # The text must not end the block that it stands in.
    return plain_text("\n".join(notes)).replace("~~~", "~ ~ ~")
