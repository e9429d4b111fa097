"""The demo class: good, wrong, broken and hostile submissions, each with what it deserves.

What a member deserves is written down here, from how the submission was made. The judge is never
asked. So the demo fails when the judge gives anybody a point too many or too few.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import nbformat

from autograder.authoring.answers import load_alternatives, load_mistakes
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import TopicSource, load_source
from autograder.classroom import hostile
from autograder.classroom.needs import check_calls, dependencies
from autograder.judge.verdict import ExerciseVerdict, Verdict
from autograder.settings import COURSE

PREFIX = "demo_"
MISTAKE_LEARNERS = 4
A_FEW = {f"{PREFIX}{name}" for name in ("corrupt_file", "infinite_loop", "reads_answers")}


class Desert(Enum):
    """What one exercise deserves."""

    FULL = "all points"
    NOTHING = "no points"
    LESS = "fewer than all points"
    OPEN = "any points: it calls an answer that is wrong"


@dataclass(frozen=True)
class Member:
    """A member of the demo class.

    Attributes:
        name: the student's name, also the folder's.
        story: what the submission is or does, for the table.
        deserves: exercise name -> what it deserves.
        notebook: the submitted notebook; None where no readable notebook is handed in.
        raw: text of the submitted file where it is no notebook.
        mistakes: exercise name -> (name of the check that must fail, hint that must be given).
        review: a person must be asked to look.
    """

    name: str
    story: str
    deserves: dict[str, Desert]
    notebook: Any = None
    raw: str | None = None
    mistakes: dict[str, tuple[str, str]] = field(default_factory=dict)
    review: bool = False

    def write(self, notebook_name: str, topic: str, submitted: Path) -> Path:
        """Write the submission where nbgrader looks for it, in place of an earlier one."""
        folder = submitted / self.name / topic
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path = folder / f"{notebook_name}.ipynb"
        if self.notebook is not None:
            nbformat.write(self.notebook, path)
        elif self.raw is not None:
            path.write_text(self.raw, encoding="utf-8")
        else:
            (folder / "my_answers.txt").write_text("I forgot the notebook.\n", encoding="utf-8")
        return path


def make_class(topic: str, *, every_attack: bool = True) -> list[Member]:
    """Return the members of the demo class for a topic, in the order of the table.

    Args:
        topic: name of the topic.
        every_attack: all careless and hostile members; else one of each kind.
    """
    maker = _Maker(load_source(topic))
    careless, hostile = maker.careless(), maker.hostile()
    if not every_attack:
        careless = [member for member in careless if member.name in A_FEW]
        hostile = [member for member in hostile if member.name in A_FEW]
    return [*maker.honest(), *maker.mistaken(), *careless, *hostile]


def write_class(members: Iterable[Member], topic: str, submitted: Path | None = None) -> None:
    """Write all submissions, and take away those of an earlier demo on this topic."""
    submitted = submitted or COURSE / "submitted"
    for old in submitted.glob(f"{PREFIX}*/{topic}"):
        shutil.rmtree(old)
        if not any(old.parent.iterdir()):
            old.parent.rmdir()
    name = load_source(topic).notebook_name
    for member in members:
        member.write(name, topic, submitted)


def deserved_points(member: Member, exercises: Iterable[ExerciseVerdict]) -> tuple[float, float]:
    """Return the lowest and the highest points that are just.

    A known mistake must at least fail its own check, so it costs at least that check's share.
    Beside another wrong answer it may look different, and costs at least some check's share.
    """
    low = high = 0.0
    for exercise in exercises:
        desert = member.deserves[exercise.name]
        if desert is Desert.FULL:
            low += exercise.max_points
        if desert is Desert.LESS:
            high += _most_points(member, exercise)
        elif desert is not Desert.NOTHING:
            high += exercise.max_points
    return round(low, 2), round(high, 2)


def _most_points(member: Member, exercise: ExerciseVerdict) -> float:
    total = sum(check.weight for check in exercise.checks)
    if exercise.name not in member.mistakes and total:
        least = min(check.weight for check in exercise.checks)
        return exercise.max_points * (1 - least / total)
    must_fail, _ = member.mistakes.get(exercise.name, ("", ""))
    check = next((check for check in exercise.checks if check.name == must_fail), None)
    if check is None or check.gate or not total:
        return 0.0
    return exercise.max_points * (1 - check.weight / total)


def injustices(member: Member, verdict: Verdict) -> list[str]:
    """Say, exercise by exercise, where the verdict is not what the member deserves."""
    found: list[str] = []
    for exercise in verdict.exercises:
        desert, got = member.deserves[exercise.name], exercise.points
        just = {
            Desert.FULL: got == exercise.max_points,
            Desert.NOTHING: got == 0,
            Desert.LESS: got <= round(_most_points(member, exercise), 2),
            Desert.OPEN: 0 <= got <= exercise.max_points,
        }[desert]
        if not just:
            found.append(
                f"{exercise.name}: deserves {desert.value}, "
                f"got {got:g} of {exercise.max_points:g} ({_reason(exercise)})"
            )
        elif exercise.name in member.mistakes:
            found += _unnamed(exercise, *member.mistakes[exercise.name])
    if missing := set(member.deserves) - {exercise.name for exercise in verdict.exercises}:
        found.append(f"no verdict on {', '.join(sorted(missing))}")
    if member.review and not verdict.needs_review:
        found.append("a person should have been asked to look")
    return found


def _unnamed(exercise: ExerciseVerdict, must_fail: str, hint: str) -> list[str]:
    failed = [check for check in exercise.checks if not check.passed]
    if must_fail not in [check.name for check in failed]:
        return [f"{exercise.name}: {must_fail} should have failed"]
    if not any(hint in check.message for check in failed):
        return [f"{exercise.name}: the mistake was not named: {hint}"]
    return []


def _reason(exercise: ExerciseVerdict) -> str:
    texts = [exercise.message, *(check.message for check in exercise.checks if not check.passed)]
    text = next((text for text in texts if text), "no check failed")
    return text.splitlines()[0][:160]


class _Maker:
    """Makes the members of the class for one topic."""

    def __init__(self, source: TopicSource) -> None:
        self.topic = source.topic
        self.languages = source.languages
        self.answers = {exercise.name: exercise.solution for exercise in source.exercises}
        self.names = list(self.answers)
        self.written = [cell.name for cell in source.of_kind("written")]
        self.calls = check_calls(self.topic, self.names)
        self.needs = dependencies(self.answers, self.calls)
        needed = set().union(*self.needs.values())
        self.leaves = [name for name in self.names if name not in needed] or self.names[-1:]
        # Attacks go where nothing else depends on it, so that they can only cost this exercise.
        self.spot = next((name for name in self.leaves if not self.needs[name]), self.leaves[0])

    def _notebook(self, answers: Mapping[str, str | None]) -> Any:
        """Return a notebook with these answers; written questions too when all are answered."""
        given = {name: answers.get(name) for name in self.names}
        if None in given.values():
            given |= dict.fromkeys(self.written)
        return complete_notebook(self.topic, given)

    def _all(self, desert: Desert) -> dict[str, Desert]:
        return dict.fromkeys(self.names, desert)

    def honest(self) -> list[Member]:
        """Return those whose work is right as far as it goes."""
        own = dict(self.answers)
        for alternative in reversed(load_alternatives(self.topic)):
            # Right answers to several exercises fit together only where none looks into another.
            if alternative.exercise in self.leaves:
                own[alternative.exercise] = alternative.source
        half = self.names[: len(self.names) // 2]
        deserves = {
            name: Desert.NOTHING
            if name not in half
            else Desert.FULL
            if self.needs[name] <= set(half)
            else Desert.OPEN
            for name in self.names
        }
        return [
            Member(
                f"{PREFIX}perfect",
                "every answer right",
                self._all(Desert.FULL),
                self._notebook(self.answers),
            ),
            Member(
                f"{PREFIX}in_chinese",
                "every answer right, in the Chinese notebook",
                self._all(Desert.FULL),
                complete_notebook(self.topic, self.answers, self.languages[-1]),
            ),
            Member(
                f"{PREFIX}own_style",
                "right, in other ways than the reference",
                self._all(Desert.FULL),
                self._notebook(own),
            ),
            Member(
                f"{PREFIX}half_finished",
                f"the first {len(half)} of {len(self.names)} exercises",
                deserves,
                self._notebook({name: self.answers[name] for name in half}),
            ),
            Member(
                f"{PREFIX}untouched",
                "the notebook as it was given out",
                self._all(Desert.NOTHING),
                self._notebook({}),
            ),
        ]

    def mistaken(self) -> list[Member]:
        """Spread one mistake of every exercise over some learners, the rest of them right."""
        known = {name: [] for name in self.names}
        for mistake in load_mistakes(self.topic):
            known[mistake.exercise].append(mistake)
        members = []
        for number in range(MISTAKE_LEARNERS):
            wrong = {
                name: known[name][number % len(known[name])]
                for name in self.names[number::MISTAKE_LEARNERS]
                if known[name]
            }
            if not wrong:
                continue
            sources = {**self.answers, **{name: item.source for name, item in wrong.items()}}
            needs = dependencies(sources, self.calls)
            deserves = {
                name: Desert.LESS
                if name in wrong
                else Desert.OPEN
                if needs[name] & set(wrong)
                else Desert.FULL
                for name in self.names
            }
            members.append(
                Member(
                    f"{PREFIX}learner_{number + 1}",
                    "mistakes: " + ", ".join(f"{n} ({m.name})" for n, m in wrong.items()),
                    deserves,
                    self._notebook(sources),
                    mistakes={
                        # Beside another wrong answer a mistake looks different; then only the
                        # check must fail.
                        name: (item.caught_by, item.hint)
                        for name, item in wrong.items()
                        if not needs[name] & set(wrong)
                    },
                )
            )
        return members

    def careless(self) -> list[Member]:
        """Return those who mean no harm and hand in something odd."""
        wrong_kernel = self._notebook(self.answers)
        wrong_kernel.metadata["kernelspec"] = {
            "name": "julia-1.11",
            "display_name": "Julia",
            "language": "julia",
        }
        no_checks = self._notebook(self.answers)
        no_checks.cells = [cell for cell in no_checks.cells if not _is_check(cell)]
        doubled = self._notebook(self.answers)
        doubled.cells = [
            copy
            for cell in doubled.cells
            for copy in ([cell, _copy(cell)] if _id(cell) else [cell])
        ]
        full, nothing = self._all(Desert.FULL), self._all(Desert.NOTHING)
        return [
            Member(f"{PREFIX}wrong_kernel", "right; asks for a Julia kernel", full, wrong_kernel),
            Member(f"{PREFIX}deleted_checks", "right; check cells deleted", full, no_checks),
            Member(f"{PREFIX}doubled_ids", "right; every graded cell copied", full, doubled),
            Member(
                f"{PREFIX}corrupt_file",
                "the file is cut off in the middle",
                nothing,
                raw=nbformat.writes(self._notebook(self.answers))[:5000],
                review=True,
            ),
            Member(f"{PREFIX}no_notebook", "handed in another file only", nothing, review=True),
        ]

    def hostile(self) -> list[Member]:
        """Return those who break the judge or steal points."""
        edited = self._notebook({})
        for cell in edited.cells:
            if _is_check(cell):
                cell.source = hostile.EDITED_CHECK
        breaking = {
            "infinite_loop": ("an endless loop", hostile.INFINITE_LOOP),
            "endless_sleep": ("sleeps for a day", hostile.ENDLESS_SLEEP),
            "memory_hog": ("takes 8 GiB of memory", hostile.MEMORY_HOG),
            "early_exit": ("ends the process with os._exit", hostile.EARLY_EXIT),
            "fork_storm": ("starts 300 processes", hostile.FORK_STORM),
            "output_flood": ("prints without end", hostile.OUTPUT_FLOOD),
            "ends_the_grader": ("kills every process it can", hostile.ENDS_THE_GRADER),
            "opens_a_socket": ("asks the network for the answer", hostile.OPENS_A_SOCKET),
            "writes_everywhere": ("writes a file into every folder", hostile.WRITES_EVERYWHERE),
        }
        stealing = {
            "prints_score": ("prints its own score everywhere", hostile.PRINTS_OWN_SCORE),
            "patches_tools": ("patches assert, torch, numpy, pytest", hostile.PATCHES_THE_TOOLS),
            "equals_all": ("returns objects equal to anything", hostile.EQUALS_EVERYTHING),
            "reads_answers": ("searches the disk for answers", hostile.READS_THE_ANSWERS),
        }
        members = [
            Member(
                f"{PREFIX}{name}",
                f"{story}, in {self.spot}; the rest right",
                {**self._all(Desert.FULL), self.spot: Desert.NOTHING},
                self._notebook({**self.answers, self.spot: hostile.attack(source, self.spot)}),
            )
            for name, (story, source) in breaking.items()
        ]
        members += [
            Member(
                f"{PREFIX}{name}",
                f"{story}; nothing answered",
                self._all(Desert.NOTHING),
                self._notebook({n: hostile.attack(source, n) for n in self.names}),
            )
            for name, (story, source) in stealing.items()
        ]
        members.append(
            Member(
                f"{PREFIX}edited_checks",
                "rewrites the check cells; nothing answered",
                self._all(Desert.NOTHING),
                edited,
            )
        )
        return members


def _id(cell: Any) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _is_check(cell: Any) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return bool(marks.get("grade")) and not marks.get("solution")


def _copy(cell: Any) -> Any:
    copy = nbformat.from_dict(cell)
    if "id" in copy:
        copy["id"] = f"{copy['id']}-copy"[-64:]
    return copy
