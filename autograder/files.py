"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from course_utils import storage


def write_whole(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write a file so that nobody ever sees half of it, also when this process is killed.

    The folder is made where it is missing. What stood there before stays until the new one is
    complete and on the disk.

    Args:
        path: the file.
        content: what it is to hold; a text becomes UTF-8.
        mode: who may read it; what is about students is for nobody else.

    Raises:
        OSError: the disk is full, or the folder may not be written; the old file stands.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    storage.write_whole(path, data, mode)
