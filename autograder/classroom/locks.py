"""Keeps two graders of one class from getting in each other's way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path, say: Callable[[], None] | None = None) -> Iterator[int]:
    """Hold a lock for the length of the block, and wait for it where another process has it.

    The system takes the lock away from a process that ends, however it ends. Processes that are
    given the descriptor hold the lock too: a command that goes on after its grader was killed
    keeps the next grader out until it is done.

    Args:
        path: the lock's file; what is in it does not matter.
        say: called before waiting.

    Yields:
        The descriptor that holds the lock.
    """
    import fcntl  # Not on Windows, where there is no grading.

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say is not None:
                say()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
