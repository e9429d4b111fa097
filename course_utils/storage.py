"""Where a learner's own things are kept: files that are replaced whole, so a crash tears none."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

# A place of one's own in the home folder: it outlives a newer copy of the course.
FOLDER_VARIABLE = "COMPRESSION_COURSE_FOLDER"
DEFAULT_FOLDER = "compression_course"
UNFINISHED = ".part"


def course_folder() -> Path:
    """Return the folder for progress and for trained models; it need not exist yet."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path.home() / DEFAULT_FOLDER)


def write_json(path: Path, data: Any) -> None:
    """Write a file so that at any moment it holds either the old or the new text, whole."""
    write_whole(path, json.dumps(data, ensure_ascii=False, indent=1).encode())


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that at any moment it holds either the old or the new content, whole.

    Args:
        path: The file; its folder is made where it is missing.
        content: What it is to hold.
        mode: Who may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path, otherwise: Any) -> Any:
    """Read a file; what cannot be read is put aside, not overwritten, and `otherwise` returned."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise
    except (ValueError, OSError):
        # It may be gone by now, or be somebody else's: a file less is no reason to stop.
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".broken"))
        return otherwise
