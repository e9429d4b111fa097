"""pyproject.toml, constraints.txt, environment.yml and Makefile say the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from autograder.doctor import locked_versions
from autograder.settings import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = locked_versions()
TARGETS = [
    "demo",
    "test",
    "test-all",
    "test-browser",
    "lab",
    "build",
    "checkpoints",
    "calibrate",
    "grade",
    "release",
    "bench",
    "steady",
    "fair",
    "faults",
    "clean",
]


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    texts = PROJECT["dependencies"] + [text for extra in extras for text in extra]
    return [Requirement(text) for text in texts if not text.startswith(PROJECT["name"])]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_pinned_and_allowed(requirement: Requirement) -> None:
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(Version(pin))


def test_what_the_requirements_need_is_pinned_too() -> None:
    pending = [canonicalize_name(requirement.name) for requirement in requirements()]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for text in distribution(name).requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                pending.append(canonicalize_name(needed.name))
    assert seen <= set(PINS), f"not in constraints.txt: {sorted(seen - set(PINS))}"


def test_installed_is_what_is_pinned() -> None:
    names = {canonicalize_name(requirement.name) for requirement in requirements()}
    # torch's CPU build calls itself 2.14.1+cpu.
    installed = {name: distribution(name).version.split("+")[0] for name in names}
    assert installed == {name: PINS[name] for name in names}


def test_lock_holds_exact_pins_only() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins)
    assert len(pins) == len(PINS), "a package is pinned twice"
    assert (PINS["torch"], PINS["torchvision"]) == ("2.14.1", "0.29.1")


def test_conda_environment_installs_the_same_project_under_the_same_lock() -> None:
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    python, pip_itself = conda
    assert pip_itself == "pip"
    assert PROJECT["requires-python"] == ">=3.11.5,<3.14"
    assert re.fullmatch(r"python=3\.1[123]", python)
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}


def test_makefile_has_every_target_and_each_makes_the_environment() -> None:
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert "$(STAMP): pyproject.toml constraints.txt" in text
    for target in TARGETS:
        line = re.search(rf"^{target}:(.*)##", text, re.MULTILINE)
        assert line is not None, target
        assert target == "clean" or "$(STAMP)" in line.group(1)


def test_students_package_does_not_import_the_autograder() -> None:
    for path in (REPOSITORY / "course_utils").rglob("*.py"):
        assert "autograder" not in path.read_text(encoding="utf-8"), path


def test_help_is_quick() -> None:
    program = "import sys, autograder.cli; print(sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for heavy in ("'torch'", "'pytest'", "'nbgrader'", "'distributed'", "'matplotlib'"):
        assert heavy not in result.stdout
