"""Helps the first cell of a notebook where the course has just been installed without its needs."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

PROJECT = "network-compression-course"
# The notebook runs in these already.
PROVIDED = {"jupyterlab", "ipykernel"}


def missing_packages() -> list[str]:
    """Return the packages that the notebooks need and that are not installed, by name.

    Their versions are the newest, which may differ from the course's own: a machine such as
    Colab's has its own set, and a mixed one works better than two.
    """
    names = []
    for requirement in distribution(PROJECT).requires or []:
        name = re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0]
        if "extra ==" not in requirement and name not in PROVIDED and not _is_installed(name):
            names.append(name)
    return names


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
