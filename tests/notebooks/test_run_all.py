"""Every notebook in a real kernel. Run All of the finished ones is in tests/browser."""

from __future__ import annotations

import pytest

from autograder.authoring.run_all import run_all
from autograder.authoring.source import topics_in_order

pytestmark = pytest.mark.slow

# CPU time: a busy machine changes it little.
CHECK_SECONDS = 2.0


@pytest.mark.parametrize("topic", topics_in_order())
def test_every_visible_check_passes_and_is_quick(topic):
    run = run_all(topic, experiments=False)
    assert [(cell.name, cell.error, cell.message) for cell in run.failed] == []
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
