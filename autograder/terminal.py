"""What commands say on the terminal, and how they stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 160


def console_for(error: bool = False) -> Console:
    """Return a console for the standard output, or for the standard error."""
    from rich.console import Console

    console = Console(stderr=error)
    # Written to a file, a table has all the room that it needs.
    return console if console.is_terminal else Console(stderr=error, width=FILE_WIDTH)


def stop(problem: Exception) -> typer.Exit:
    """Say what is wrong, and return what ends the command with exit code 2."""
    from rich.text import Text

    console_for(error=True).print(Text(str(problem), "red"), soft_wrap=True)
    return typer.Exit(2)
