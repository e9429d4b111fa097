"""Folders that hold more, or other things, than a notebook."""

from __future__ import annotations

import os
from pathlib import Path

from tests.redteam.attack import MOST, NOTEBOOK, NOTHING, family

folders = family("the folder")


def notebook_is_link(folder: Path, secrets: Path) -> None:
    """The notebook is a link to a secret."""
    path = folder / f"{NOTEBOOK}.ipynb"
    path.unlink()
    path.symlink_to(secrets / "secret.txt")


def notebook_is_neighbours(folder: Path, secrets: Path) -> None:
    """The notebook is a link to the neighbour's."""
    path = folder / f"{NOTEBOOK}.ipynb"
    path.unlink()
    path.symlink_to(f"../../honest/{folder.name}/{path.name}")


def files_are_links(folder: Path, secrets: Path) -> None:
    """Files beside the notebook are links to secrets."""
    (folder / "data.txt").symlink_to(secrets / "secret.txt")
    (folder / "more").mkdir()
    (folder / "more" / "data.csv").symlink_to(secrets / "secret.txt")
    (folder / "all").symlink_to(secrets)
    os.mkfifo(folder / "pipe")


def notebook_is_pipe(folder: Path, secrets: Path) -> None:
    """The notebook is a pipe: whoever opens it waits for ever."""
    path = folder / f"{NOTEBOOK}.ipynb"
    path.unlink()
    os.mkfifo(path)


def notebook_is_folder(folder: Path, secrets: Path) -> None:
    """The notebook is a folder."""
    path = folder / f"{NOTEBOOK}.ipynb"
    path.unlink()
    path.mkdir()


def other_programs(folder: Path, secrets: Path) -> None:
    """Programs that others import or read without being asked."""
    for name in (
        "conftest.py",
        "sitecustomize.py",
        "torch.py",
        "nbgrader_config.py",
        "json.py",
        "test_evil.py",
        "pytest.ini",
        "jupyter_config.py",
        "nbconvert.py",
    ):
        (folder / name).write_text(
            "import os, pathlib\npathlib.Path.home().joinpath('GRAFFITI')"
            ".write_text('x')\nos._exit(0)\n"
        )


def other_names(folder: Path, secrets: Path) -> None:
    """A name with escape codes, and a time that is none."""
    (folder / f"{NOTEBOOK}.ipynb").rename(folder / "\x1b]0;evil\x07\x1b[2Jmine.ipynb")
    (folder / "timestamp.txt").write_text("9" * 10_000)


ATTACKS = [
    folders(
        "notebook_is_link",
        "the notebook is a link to a secret file",
        deserves=NOTHING,
        files=notebook_is_link,
        review=True,
    ),
    folders(
        "notebook_is_neighbours",
        "the notebook is a link to the neighbour's",
        deserves=NOTHING,
        files=notebook_is_neighbours,
        review=True,
    ),
    folders(
        "files_are_links",
        "files beside a right notebook are links to secrets",
        deserves=MOST,
        files=files_are_links,
    ),
    folders(
        "notebook_is_pipe",
        "the notebook is a pipe that never ends",
        deserves=NOTHING,
        files=notebook_is_pipe,
        review=True,
    ),
    folders(
        "notebook_is_folder",
        "the notebook is a folder",
        deserves=NOTHING,
        files=notebook_is_folder,
        review=True,
    ),
    folders(
        "other_programs",
        "programs beside a right notebook that graders might import",
        deserves=MOST,
        files=other_programs,
    ),
    folders(
        "other_names",
        "a right notebook whose name holds escape codes",
        deserves=MOST,
        files=other_names,
        # Only the command for a whole class looks for notebooks of other names.
        slow=True,
        elsewhere="it passes over notebooks of other names",
    ),
]
