"""How the tests are dealt out to pytest-xdist's workers."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, for they share sandboxes; a file over topics, by topic."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        topic = parameters.params.get("topic", "") if parameters else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path.name}:{topic}"))
