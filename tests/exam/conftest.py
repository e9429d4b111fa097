from __future__ import annotations

import pytest

from course_utils.exam.items import Bank, load_bank


@pytest.fixture(scope="session")
def bank() -> Bank:
    return load_bank()
