"""The attacks, a module for each family."""

from __future__ import annotations

from importlib import import_module

from tests.redteam.attack import Attack

FAMILIES = (
    *("demo", "channel", "values", "objects", "tools", "detection"),
    *("secrets", "processes", "memory", "pages", "notebooks", "folders"),
)


def all_attacks() -> list[Attack]:
    """Return every attack, family by family."""
    return [
        attack
        for name in FAMILIES
        for attack in import_module(f"tests.redteam.attacks.{name}").ATTACKS
    ]
