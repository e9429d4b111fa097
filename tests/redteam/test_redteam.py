"""Every attack gets exactly what it deserves, harms nobody, and reads no secret.

One of each family is judged in the quick tests; `make redteam` grades all of them as one class,
by the real command, together with honest students.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.cli import app
from autograder.gradebook.feedback import message_for_student
from autograder.judge.judge import judge
from autograder.judge.submission import read_submission
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.zygote import Zygote
from tests.classroom.test_collect import HOSTILE, NAME, zipped
from tests.redteam import table
from tests.redteam.attack import CANARY, NOTEBOOK, RIGHT, TOPIC, Attack
from tests.redteam.attacks import all_attacks
from tests.redteam.attacks.uploads import TRIES, UPLOADS
from tests.redteam.class_run import HONEST, ClassOutcome, injustices, run_class
from tests.redteam.course import SAMPLE, Course, make_course
from tests.redteam.measure import load

needs_sandbox = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")
ATTACKS = all_attacks()
QUICK = (
    *("demo_early_exit", "demo_patches_tools", "colliding_keys", "lying_shape", "half_characters"),
    *("returns_nan", "returns_long_integer", "hostile_class", "patches_worker"),
    *("changes_arguments", "predicts_inputs", "keeps_answers_in_files", "reads_environment"),
    *("traces_its_parent", "fills_shared_memory", "fills_dev_shm", "script_in_exception"),
    *("deep_given_cell", "settings", "notebook_is_link"),
)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_TOKEN", CANARY)
        opened = Zygote()
        yield opened
        opened.close()


def judged_points(attack: Attack, zygote: Zygote, folder: Path) -> dict[str, float]:
    """Judge one attack, and look at what is told."""
    (folder / "secrets").mkdir()
    (folder / "secrets" / "secret.txt").write_text(CANARY)
    attack.write(complete_notebook(TOPIC, RIGHT), folder, folder / "secrets")
    submission = read_submission(folder / attack.name / TOPIC / f"{NOTEBOOK}.ipynb", TOPIC)
    verdict = judge(submission, load_source(TOPIC), attack.name, zygote=zygote)
    text = verdict.model_dump_json()
    assert CANARY not in text
    told = [message_for_student(check) for e in verdict.exercises for check in e.checks]
    assert all(part.isprintable() for part in "\n".join([*told, *verdict.problems]).split("\n"))
    assert attack.review is None or verdict.needs_review == attack.review
    return {exercise.name: exercise.points for exercise in verdict.exercises}


@needs_sandbox
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(a, id=a.name, marks=() if a.name in QUICK else pytest.mark.slow)
        for a in ATTACKS
        if not a.slow
    ],
)
def test_an_attack_earns_what_it_deserves(
    attack: Attack, zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "TOPICS", SAMPLE.parent)
    assert judged_points(attack, zygote, tmp_path) == attack.deserves


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    return make_course(tmp_path_factory.mktemp("redteam"))


@pytest.fixture(scope="module")
def outcome(course: Course) -> ClassOutcome:
    return run_class(course, ATTACKS)


@needs_sandbox
@pytest.mark.suite
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_class_is_graded_justly(outcome: ClassOutcome) -> None:
    assert set(outcome.points) >= set(HONEST)
    assert injustices(outcome, ATTACKS) == {}


def test_uploads_are_refused_and_cost_nobody_else_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "COURSE", tmp_path / "course")
    source = tmp_path / "in"
    source.mkdir()
    for name, (make, _) in HOSTILE.items():
        make(source / f"{name}.zip")
    zipped(source / "zoe.zip", {NAME: "{}"})
    result = CliRunner().invoke(app, ["collect", str(source), "network_pruning"])
    lines = result.output.splitlines()
    for upload in UPLOADS:
        name = upload.name.removeprefix("zip_")
        told = next(line for line in lines if line.startswith(f"{name} "))
        assert upload.reason in told
    assert os.listdir(tmp_path / "course" / "submitted") == ["zoe"]
    assert sorted(os.listdir(tmp_path)) == ["course", "in"]


def test_there_are_enough_attacks_of_every_family() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names) >= 40
    assert set(QUICK) <= set(names)
    quick = {attack.family for attack in ATTACKS if attack.name in QUICK}
    assert quick == {attack.family for attack in ATTACKS}
    assert set(TRIES) == set(HOSTILE)


def test_the_table_shows_every_attack_as_it_was_measured() -> None:
    outcomes = load()
    by_name = {attack.name: attack for attack in ATTACKS}
    assert set(outcomes["here"]) | set(outcomes["stock"]) <= set(by_name)
    for name, outcome in outcomes["here"].items():
        assert outcome["points"] == by_name[name].deserves, name
    text = table.PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in by_name)
    assert text == table.page(), "run `python -m tests.redteam.table`"
