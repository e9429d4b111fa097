"""nbgrader's files, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nbconvert.writers import FilesWriter
from nbgrader.converters import base

from course_utils.storage import UNFINISHED


class WholeFilesWriter(FilesWriter):
    """Writes a notebook or a page under another name first.

    A grader that is killed leaves the old one or the new one, never half of one.
    """

    def write(
        self, output: Any, resources: Any, notebook_name: str | None = None, **kw: Any
    ) -> Path:
        """Write one file and return its path."""
        hidden = f".{notebook_name}{UNFINISHED}"
        part = Path(super().write(output, resources, notebook_name=hidden, **kw))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        path = part.with_name(f"{notebook_name}{part.name.removeprefix(hidden)}")
        os.replace(part, path)
        return path


def use_whole_files() -> None:
    """Have nbgrader's commands of this process write this way; it offers no setting for it."""
    base.FilesWriter = WholeFilesWriter
