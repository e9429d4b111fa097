"""Sandboxes of either kind: one that imports everything by itself, and one from a template."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder.sandbox import warm_start
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.warm_start import Template


@pytest.fixture(scope="package")
def template() -> Iterator[Template]:
    if sandbox_problem():
        pytest.skip(sandbox_problem())
    opened = Template()
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=["by itself", "from a template"])
def either_start(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the module's tests in sandboxes of either kind."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "from a template":
            patch.setattr(warm_start, "_template", request.getfixturevalue("template"))
        yield
