"""Rejecting arguments that cannot be right, and seeing whether code rejects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def require(condition: object, message: str) -> None:
    """Raise a ValueError when an argument cannot be right.

    Args:
        condition: What must hold.
        message: Begins with the name of the argument.

    Raises:
        ValueError: If the condition does not hold.
    """
    if not condition:
        raise ValueError(message)


def is_rejected(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> bool:
    """Say whether a call raises a ValueError.

    Raises:
        Exception: Whatever else the call raises.
    """
    try:
        function(*arguments, **keywords)
    except ValueError:
        return True
    return False
