"""The demo class: who is in it, what each deserves, and that injustice is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from autograder.classroom import demo_run, hostile
from autograder.classroom.batch import Outcome
from autograder.classroom.demo import (
    PREFIX,
    Desert,
    Member,
    deserved_points,
    injustices,
    make_class,
    write_class,
)
from autograder.classroom.demo_run import changed, compare, fingerprint
from autograder.classroom.needs import check_calls, dependencies
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict

TOPIC = "network_pruning"


def verdict(*, first: float = 4, second: float = 6, mistake: str | None = None) -> Verdict:
    checks = [
        CheckVerdict(name="test_a", passed=first == 4, weight=1, message=f"bad: {mistake}"),
        CheckVerdict(name="test_b", passed=first > 0, weight=3),
    ]
    return Verdict(
        topic=TOPIC,
        student="x",
        exercises=[
            ExerciseVerdict(name="one", points=first, max_points=4, checks=checks),
            ExerciseVerdict(name="two", points=second, max_points=6, checks=[]),
        ],
    )


def member(one: Desert, two: Desert = Desert.FULL, **more: object) -> Member:
    return Member("x", "a story", {"one": one, "two": two}, **more)  # type: ignore[arg-type]


def test_dependencies_are_found_through_other_answers() -> None:
    sources = {
        "a": "def a(): return 1",
        "b": "def b(): return a()",
        "c": "def c(): return [b() for _ in range(3)]",
        "d": "def d(): return d",
    }
    assert dependencies(sources) == {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": set()}
    assert dependencies(sources, {"d": {"d", "b"}})["d"] == {"a", "b"}


def test_dependencies_are_found_through_checks_and_their_helpers() -> None:
    names = ["fake_quantize", "QATLinear", "prepare_qat", "train_qat", "convert"]
    calls = check_calls("quantization_aware_training", names)
    assert "prepare_qat" in calls["train_qat"], "its checks train what the student prepared"
    assert "train_qat" not in calls["fake_quantize"]


def test_deserved_points() -> None:
    exercises = verdict().exercises
    assert deserved_points(member(Desert.FULL), exercises) == (10, 10)
    assert deserved_points(member(Desert.NOTHING), exercises) == (6, 6)
    assert deserved_points(member(Desert.OPEN), exercises) == (6, 10)


def test_a_mistake_costs_at_least_the_share_of_its_check() -> None:
    learner = member(Desert.LESS, mistakes={"one": ("test_a", "signed")})
    assert deserved_points(learner, verdict().exercises) == (6, 9)
    gated = verdict()
    gated.exercises[0].checks[0].gate = True
    assert deserved_points(learner, gated.exercises) == (6, 6)


def test_a_mistake_beside_others_costs_at_least_one_check() -> None:
    beside = member(Desert.LESS)
    assert deserved_points(beside, verdict().exercises) == (6, 9)
    assert injustices(beside, verdict(first=3)) == []
    assert injustices(beside, verdict(first=4))


def test_too_few_and_too_many_points_are_noticed() -> None:
    assert injustices(member(Desert.FULL), verdict()) == []
    assert (
        "one: deserves all points, got 3 of 4"
        in injustices(member(Desert.FULL), verdict(first=3))[0]
    )
    assert (
        "one: deserves no points, got 1 of 4"
        in injustices(member(Desert.NOTHING), verdict(first=1))[0]
    )
    learner = member(Desert.LESS, mistakes={"one": ("test_a", "signed")})
    assert injustices(learner, verdict(first=4))


def test_a_mistake_must_fail_its_check_and_be_named() -> None:
    learner = member(Desert.LESS, mistakes={"one": ("test_a", "signed")})
    assert injustices(learner, verdict(first=3, mistake="one__signed")) == []
    assert injustices(learner, verdict(first=3, mistake="signed")) == []
    assert "not named" in injustices(learner, verdict(first=3))[0]
    other = member(Desert.LESS, mistakes={"one": ("test_a", "")})
    unfailed = verdict(first=3)
    unfailed.exercises[0].checks[0].passed = True
    assert injustices(other, unfailed)


def test_a_missing_exercise_and_a_missing_review_are_noticed() -> None:
    short = verdict().model_copy(update={"exercises": verdict().exercises[:1]})
    assert "no verdict on two" in injustices(member(Desert.FULL), short)
    assert injustices(member(Desert.FULL, review=True), verdict())


def test_a_broken_judging_is_never_just() -> None:
    outcome = Outcome("x", verdict(first=0, second=0), broken="KilledWorker")
    rows = compare([member(Desert.NOTHING, Desert.NOTHING)], [outcome])
    assert rows[0].wrong == ["KilledWorker"]


def test_the_table_shows_everybody_and_takes_no_markup() -> None:
    from rich.console import Console

    wild = replace(member(Desert.FULL), story="[bold]story[/bold]")
    rows = compare([wild], [Outcome("x", verdict(), seconds=1.25)])
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(demo_run.table(rows, TOPIC))
    text = console.export_text()
    assert "[bold]story[/bold]" in text
    assert "10" in text


def test_changes_of_files_are_seen(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a", encoding="utf-8")
    (tmp_path / "gone").write_text("a", encoding="utf-8")
    before = dict(fingerprint([tmp_path]))
    (tmp_path / "gone").unlink()
    (tmp_path / "new").write_text("a", encoding="utf-8")
    after = dict(fingerprint([tmp_path]))
    assert [Path(path).name for path in changed(before, after)] == ["gone", "new"]


def test_attacks_are_valid_python_and_carry_the_exercise() -> None:
    texts = [text for name, text in vars(hostile).items() if name.isupper() and "def " in str(text)]
    assert len(texts) >= 13
    for text in texts:
        source = hostile.attack(text, "apoz")
        compile(source, "<attack>", "exec")
        assert "def apoz(" in source


@pytest.fixture(scope="module")
def members() -> list[Member]:
    return make_class(TOPIC)


def test_the_class_is_large_and_deserves_are_complete(members: list[Member]) -> None:
    assert len(members) >= 16
    names = [m.name for m in members]
    assert len(set(names)) == len(names)
    assert all(name.startswith(PREFIX) for name in names)
    exercises = set(members[0].deserves)
    assert all(set(m.deserves) == exercises for m in members)


def test_a_short_class_has_some_of_each_kind(members: list[Member]) -> None:
    short = make_class(TOPIC, every_attack=False)
    assert {m.name for m in short} < {m.name for m in members}
    assert 8 <= len(short) <= 12
    assert any(m.review for m in short)


def test_every_exercise_is_got_wrong_by_somebody(members: list[Member]) -> None:
    wrong = {name for m in members for name, desert in m.deserves.items() if desert is Desert.LESS}
    assert wrong == set(members[0].deserves)


def test_an_attack_can_cost_only_its_own_exercise(members: list[Member]) -> None:
    looping = next(m for m in members if m.name == f"{PREFIX}infinite_loop")
    lost = [name for name, desert in looping.deserves.items() if desert is not Desert.FULL]
    assert len(lost) == 1


def test_writing_the_class_replaces_an_earlier_demo_only(
    members: list[Member], tmp_path: Path
) -> None:
    (tmp_path / f"{PREFIX}of_yesterday" / TOPIC).mkdir(parents=True)
    (tmp_path / "anna" / TOPIC).mkdir(parents=True)
    chosen = [m for m in members if m.name.endswith(("perfect", "corrupt_file", "no_notebook"))]
    write_class(chosen, TOPIC, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "anna",
        f"{PREFIX}corrupt_file",
        f"{PREFIX}no_notebook",
        f"{PREFIX}perfect",
    ]
    file = f"1_{TOPIC}.ipynb"
    nbformat.read(tmp_path / f"{PREFIX}perfect" / TOPIC / file, as_version=4)
    with pytest.raises(nbformat.reader.NotJSONError):
        nbformat.read(tmp_path / f"{PREFIX}corrupt_file" / TOPIC / file, as_version=4)
    assert not (tmp_path / f"{PREFIX}no_notebook" / TOPIC / file).exists()
