"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

UNFINISHED = ".part"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
