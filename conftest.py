"""How the tests are dealt out to pytest-xdist's workers."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a sandbox: a topic's checks, else a file's tests of one topic."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        topic = parameters.params.get("topic", "") if parameters else ""
        place = item.path.parent if item.get_closest_marker("check") else item.path
        item.add_marker(pytest.mark.xdist_group(f"{place}:{topic}"))
