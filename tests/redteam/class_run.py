"""Grades a class of honest students and attackers by the real command, and says what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from autograder.classroom.report import what_happened
from tests.redteam.attack import CANARY, MOST, NOTEBOOK, RIGHT, TOPIC, Attack, cell
from tests.redteam.course import Course

HONEST = {
    "honest": (RIGHT, MOST),
    "honest_too": ({**RIGHT, "quarter": "def quarter(x):\n    return 0.25 * x"}, MOST),
    "honest_half": (
        {**RIGHT, "quarter": "def quarter(x):\n    return x / 3"},
        {**MOST, "quarter": 0},
    ),
}

# What libraries leave in the folder for temporary files.
CACHES = ("matplotlib", "dask", "pymp-", "torchinductor")


@dataclass
class ClassOutcome:
    """What became of a class.

    Attributes:
        points: student -> exercise -> points, from the gradebook.
        happened: student -> one line from the verdict.
        secrets: students on whose pages, or in whose verdicts, a secret stands.
        harmful: student -> text that no page may hold, and one does.
        changed: files that came, went or changed and are not the grader's own.
        review: students whom a person is asked to look at.
        said: what the command printed.
        code: how it ended.
    """

    points: dict[str, dict[str, float]]
    happened: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    harmful: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    review: list[str] = field(default_factory=list)
    said: str = ""
    code: int = 0


def run_class(course: Course, attacks: Sequence[Attack], workers: int = 2) -> ClassOutcome:
    """Hand everything in, grade it, and look at what there is afterwards."""
    released = course.run("build", TOPIC)
    if released.returncode:
        raise RuntimeError(released.stderr[-2000:])
    notebook = nbformat.read(course.project / "notebooks" / f"{NOTEBOOK}.ipynb", as_version=4)
    for name, text in RIGHT.items():
        cell(notebook, name).source = text
    for student, (answers, _) in HONEST.items():
        own = nbformat.from_dict(notebook)
        for name, text in answers.items():
            cell(own, name).source = text
        course.hand_in(student, own)
    for attack in attacks:
        own = nbformat.from_dict(notebook)
        attack.write(own, course.submitted, course.secrets)
    before = course.files()
    result = course.run("grade", TOPIC, "--workers", str(workers))
    after = course.files()
    outcome = ClassOutcome(course.marks(), said=result.stdout + result.stderr)
    outcome.code = result.returncode
    changed = [path for path in sorted(before | after) if before.get(path) != after.get(path)]
    outcome.changed = [path for path in changed if not _own_doing(path, course)]
    verdicts = course.verdicts()
    report = course.class_folder / "report" / f"{TOPIC}.html"
    report_text = report.read_text(encoding="utf-8") if report.is_file() else ""
    for attack in attacks:
        verdict = verdicts.get(attack.name)
        page = course.page(attack.name)
        shown = [
            page,
            course.shown("autograded", attack.name),
            course.shown("feedback", attack.name),
        ]
        text = verdict.model_dump_json() if verdict else ""
        if any(CANARY in item for item in (*shown, text, report_text)):
            outcome.secrets.append(attack.name)
        if not page:
            outcome.harmful[attack.name] = "there is no feedback page"
        for harmful in attack.forbidden:
            if harmful in page or harmful in report_text:
                outcome.harmful[attack.name] = harmful
        if verdict is None:
            outcome.harmful[attack.name] = "there is no verdict"
        else:
            outcome.happened[attack.name] = what_happened(verdict)[:200]
            if verdict.needs_review:
                outcome.review.append(attack.name)
    return outcome


def _own_doing(path: str, course: Course) -> bool:
    """Tell whether the commands themselves write this, or say that they do."""
    place = Path(path).relative_to(course.root)
    if place.parts[0] == "tmp":
        return place.parts[1].startswith(CACHES)
    if place.parts[:3] == ("home", ".cache", "matplotlib"):
        return True
    submitted = place.parts[:3] == ("project", "course", "submitted")
    # A notebook of another name is copied to its place; links and pipes are taken out.
    return submitted and place.parts[3] in ("other_names", "files_are_links")


def injustices(outcome: ClassOutcome, attacks: Sequence[Attack]) -> dict[str, list[str]]:
    """Say for each student what is not as it must be."""
    found: dict[str, list[str]] = {}
    deserved = {name: deserves for name, (_, deserves) in HONEST.items()}
    deserved |= {attack.name: attack.deserves for attack in attacks}
    for student, points in deserved.items():
        got = outcome.points.get(student)
        if got != points:
            found.setdefault(student, []).append(f"deserves {points}, got {got}")
    for student in outcome.secrets:
        found.setdefault(student, []).append("a secret was told")
    for student, text in outcome.harmful.items():
        found.setdefault(student, []).append(f"on a page: {text}")
    for attack in attacks:
        if attack.review and attack.name not in outcome.review:
            found.setdefault(attack.name, []).append("nobody was asked to look")
    for path in outcome.changed:
        found.setdefault("(files)", []).append(path)
    if outcome.code:
        found.setdefault("(command)", []).append(outcome.said[-1500:])
    if "\x1b" in outcome.said:
        found.setdefault("(command)", []).append("escape codes on the terminal")
    return found
