"""The order of checks: as the notebook has the exercises, and in each its gates first."""

from types import SimpleNamespace

import pytest

from autograder.judge.checking import check
from autograder.judge.plugin import JUDGING, Judging, pytest_collection_modifyitems


def item(name: str, exercise: str, gate: bool = False) -> SimpleNamespace:
    mark = check(exercise, gate=gate).mark
    return SimpleNamespace(name=name, get_closest_marker=lambda _: mark)


def test_checks_run_in_the_order_of_the_notebook():
    items = [item("b", "last"), item("c", "first"), item("a", "last", gate=True)]
    judging = Judging("topic", None, [], 1, exercises=["first", "last"])
    stash = pytest.Stash()
    stash[JUDGING] = judging
    pytest_collection_modifyitems(SimpleNamespace(stash=stash), items)
    assert [item.name for item in items] == ["c", "a", "b"]
