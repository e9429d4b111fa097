"""Run All of every notebook in a real kernel, as students do it."""

from __future__ import annotations

import pytest

from autograder.authoring.run_all import run_all
from autograder.authoring.source import topics_in_order
from autograder.settings import MEBIBYTE

pytestmark = pytest.mark.slow

# CPU time, but alone all the same: a core that shares its parts with a busy one computes slower.
NOTEBOOK_SECONDS = 180.0
CHECK_SECONDS = 2.0
MEMORY = 2048 * MEBIBYTE


@pytest.mark.alone
@pytest.mark.parametrize("topic", topics_in_order())
def test_the_finished_notebook_runs(topic):
    run = run_all(topic)
    assert [(cell.name, cell.error, cell.message) for cell in run.failed] == []
    assert run.cpu_seconds < NOTEBOOK_SECONDS
    assert run.peak_memory < MEMORY
    slow = [(c.name, c.cpu_seconds) for c in run.slowest("check") if c.cpu_seconds > CHECK_SECONDS]
    assert slow == []


@pytest.mark.parametrize("topic", topics_in_order())
def test_the_untouched_notebook_fails_only_where_answers_are_missing(topic):
    run = run_all(topic, finished=False)
    checks = [cell for cell in run.cells if cell.kind == "check"]
    assert all("not implemented yet" in cell.message for cell in checks)
    other = {cell.name: cell.error for cell in run.failed if "not implemented" not in cell.message}
    # Cells that go on with what a failed cell would have made.
    assert set(other.values()) <= {"NameError"}
