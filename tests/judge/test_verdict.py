"""Points from checks, and verdicts on disk."""

import math

import pytest
from pydantic import ValidationError

from autograder.judge.store import VerdictStore
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict


def check(name="a", passed=True, weight=1.0, gate=False) -> CheckVerdict:
    return CheckVerdict(name=name, passed=passed, weight=weight, gate=gate)


def points(*checks: CheckVerdict) -> float:
    return ExerciseVerdict.from_checks("apoz", 4, list(checks)).points


def test_checks_share_the_points_by_weight():
    assert points(check(gate=True), check(passed=False, weight=2), check()) == 2


def test_a_failed_gate_costs_everything():
    assert points(check(gate=True, passed=False), check(), check()) == 0


def test_without_checks_there_are_no_points():
    assert points() == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_points_are_finite_and_not_negative(value):
    with pytest.raises(ValidationError):
        ExerciseVerdict(name="apoz", points=value, max_points=4, checks=[])


def verdict() -> Verdict:
    exercise = ExerciseVerdict.from_checks("apoz", 4, [check()], "文字")
    return Verdict(topic="network_pruning", student="ada", exercises=[exercise])


def test_a_verdict_survives_the_store(tmp_path):
    store = VerdictStore(tmp_path / "new")
    assert store.get("k") is None
    store.put("k", verdict())
    assert store.get("k") == verdict()
    assert [path.name for path in store.folder.iterdir()] == ["k.json"]


@pytest.mark.parametrize("content", ["", "{", '{"topic": 3}', '{"points": NaN}', "\x00"])
def test_a_damaged_file_is_no_verdict(tmp_path, content):
    store = VerdictStore(tmp_path)
    store.put("k", verdict())
    (tmp_path / "k.json").write_text(content)
    assert store.get("k") is None


@pytest.mark.parametrize("points", ["1e999", "NaN", "3.0", '"4.0"', "4.00001"])
def test_a_verdict_with_points_that_nobody_gave_is_refused(tmp_path, points):
    store = VerdictStore(tmp_path)
    store.put("k", verdict())
    path = tmp_path / "k.json"
    assert store.get("k") is not None
    path.write_text(path.read_text().replace('"points": 4.0', f'"points": {points}'))
    assert store.get("k") is None


def test_a_verdict_under_another_name_is_refused(tmp_path):
    store = VerdictStore(tmp_path)
    store.put("k", verdict())
    (tmp_path / "k.json").rename(tmp_path / "other.json")
    assert store.get("other") is None
    assert list(store.all()) == []


def test_a_full_disk_leaves_the_old_verdict(tmp_path, monkeypatch):
    store = VerdictStore(tmp_path)
    store.put("k", verdict())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_utils.storage.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put("k", verdict().model_copy(update={"student": "other"}))
    assert store.get("k") == verdict()
    assert [path.name for path in tmp_path.iterdir()] == ["k.json"]
