"""Reads a submitted file: ordinary files only, of bearable size, without following links."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from autograder.settings import MEBIBYTE

# A notebook with many figures has a few MiB. Reading takes up to 20 times the file's size.
FILE_BYTES = 30 * MEBIBYTE
MOST_CELLS = 2000
# Beside the notebook, in nbgrader's layout: when it was handed in.
TIMESTAMP = "timestamp.txt"


class UnreadableError(ValueError):
    """The file cannot be read as a notebook; the text is a sentence that says why."""


def raw_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook file as they are, without following links.

    Raises:
        UnreadableError: it is missing, no ordinary file, too large, or no notebook.
    """
    return parse_cells(read_bytes(path))


def parse_cells(content: bytes) -> list[dict[str, Any]]:
    """Return the cells of a notebook from the file's bytes.

    Raises:
        UnreadableError: it is no notebook.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise UnreadableError("The notebook is nested too deeply.") from None
    except ValueError:
        raise UnreadableError("The file is not a notebook: it is not valid JSON.") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise UnreadableError("The file is not a notebook of format 4: it has no list of cells.")
    if len(cells) > MOST_CELLS:
        raise UnreadableError(f"The notebook has more than {MOST_CELLS} cells.")
    return [cell if isinstance(cell, dict) else {} for cell in cells]


def read_bytes(path: Path) -> bytes:
    """Return the content of a submitted file, without following links.

    Raises:
        UnreadableError: it is missing, no ordinary file, or too large.
    """
    if path.is_symlink() or path.parent.is_symlink():
        raise UnreadableError("The submission is a symbolic link. Links are not followed.")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise UnreadableError(f"There is no notebook called {path.name}.") from None
    except OSError as error:
        raise UnreadableError(f"The notebook cannot be opened: {error.strerror}.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("The submission is not an ordinary file.")
        if status.st_size > FILE_BYTES:
            raise UnreadableError(f"The file is larger than {FILE_BYTES // MEBIBYTE} MiB.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(FILE_BYTES)
    finally:
        os.close(descriptor)


def fingerprint(path: Path) -> str:
    """Return one hash over a submitted file as it is and its time of submission.

    It tells whether anything was handed in anew, also what no verdict depends on: written
    answers, figures, comments.
    """
    digest = hashlib.sha256()
    for file in (path, path.parent / TIMESTAMP):
        try:
            digest.update(hashlib.sha256(read_bytes(file)).digest())
        except UnreadableError as problem:
            digest.update(str(problem).encode())
    return digest.hexdigest()
