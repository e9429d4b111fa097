"""Packs what students get: a zip file, and a wheel for Colab. Nothing of the autograder goes in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from autograder.settings import REPOSITORY

FOLDER = "compression-course"
WHOLE_FOLDERS = ("notebooks", "course_utils", "data", "lab_settings")
SINGLE_FILES = (
    *("constraints.txt", "environment.yml", "LICENSE"),
    *("docs/students.md", "docs/glossary.md"),
)
SKIPPED = ("__pycache__", ".ipynb_checkpoints", ".DS_Store")
# A zip entry needs a date; a fixed one makes the same content the same file.
DATE = (2026, 1, 1, 0, 0, 0)
WHEEL_DATE = "1767225600"

README = """\
# Neural network compression: the notebooks

You need Python 3.11.5 to 3.13, about 2 GB of disk (more with the large build of torch), and no GPU.

## Install

With Python alone (Linux, macOS; on Windows write `.venv\\Scripts\\` for `.venv/bin/`):

    python3 -m venv .venv
    .venv/bin/python -m pip install -e . -c constraints.txt
    .venv/bin/jupyter lab notebooks --LabApp.app_settings_dir=lab_settings

On Linux, the small build of torch comes with one command before the second line:

    .venv/bin/python -m pip install torch torchvision -c constraints.txt \\
        --index-url https://download.pytorch.org/whl/cpu

With conda:

    conda env create -f environment.yml
    conda activate compression-course
    jupyter lab notebooks --LabApp.app_settings_dir=lab_settings

On Colab: upload a notebook and the file network_compression_course-….whl that you got with this
archive. Put the second into the folder of files (on the left). Run the first code cell.

## Work

The notebooks are in English; those in Traditional Chinese (繁體中文) are in notebooks/zh-TW.

Open a notebook, replace each `raise NotImplementedError` by your answer, run the check below it.
`progress()` in any cell shows what is done in all notebooks. Long trainings stand in
`remember(function, ...)`: after a restart they come back in a second. Both are kept in the folder
compression_course of your home folder.

Practise for the exam in notebooks/exam_practice.ipynb.

## Hand in

Restart the kernel and run all cells first. Hand in the notebook file under the name it has, in
either language.

- Keep the cells of the checks. If you change or delete one, the original is used.
- Your answers count, and cells that you added. Outputs do not.
- Hidden checks call your functions with other numbers. Write what the text asks for: names of
  arguments, types, and a `ValueError` for impossible arguments.
- An exercise that hangs or crashes costs only itself, and the exercises that call it.
"""


def pack(folder: Path = REPOSITORY / "dist") -> Path:
    """Write the zip file for students and return its path."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{FOLDER}-{project['version']}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(_contents(project).items()):
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}", DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return path


def build_wheel(archive: Path) -> Path:
    """Build the wheel of the packed course beside its zip file, and return its path.

    The data goes inside the package, so that one file is all that a machine such as Colab needs.

    Args:
        archive: the zip file that `pack` made.

    Raises:
        RuntimeError: pip could not build it; the text is what pip said.
    """
    with tempfile.TemporaryDirectory(prefix="autograder-") as name:
        folder = Path(name)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        project = folder / FOLDER
        shutil.move(project / "data", project / "course_utils" / "shipped_data")
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        built = folder / "wheel"
        done = subprocess.run(
            [*command, "--wheel-dir", str(built), str(project)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SOURCE_DATE_EPOCH": WHEEL_DATE},
        )
        if done.returncode:
            raise RuntimeError(f"the wheel could not be built:\n{done.stderr.strip()}")
        (wheel,) = built.glob("*.whl")
        return Path(shutil.copy(wheel, archive.parent))


def _contents(project: dict[str, object]) -> dict[str, bytes]:
    contents = {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in _files()}
    environment = contents["environment.yml"].decode()
    contents["environment.yml"] = environment.replace("-e .[dev]", "-e .").encode()
    contents["pyproject.toml"] = _pyproject(project).encode()
    contents["README.md"] = README.encode()
    return contents


def _files() -> Iterator[Path]:
    for name in SINGLE_FILES:
        yield REPOSITORY / name
    for name in WHOLE_FOLDERS:
        for path in (REPOSITORY / name).rglob("*"):
            if path.is_file() and not any(part in SKIPPED for part in path.parts):
                yield path


def _pyproject(project: dict[str, object]) -> str:
    """Return a pyproject.toml that installs `course_utils` and what it needs, and no more."""
    # A JSON list of plain strings is also a TOML array.
    dependencies = json.dumps(project["dependencies"], indent=4)
    return (
        '[build-system]\nrequires = ["setuptools>=77"]\n'
        'build-backend = "setuptools.build_meta"\n\n'
        f'[project]\nname = "{project["name"]}"\nversion = "{project["version"]}"\n'
        f'requires-python = "{project["requires-python"]}"\ndependencies = {dependencies}\n\n'
        '[tool.setuptools.packages.find]\ninclude = ["course_utils*"]\n\n'
        "[tool.setuptools.package-data]\n"
        'course_utils = ["*.json", "messages/*", "exam/*", "shipped_data/**"]\n'
    )
