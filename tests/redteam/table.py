"""Writes docs/red_team.md from the attacks and from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from autograder.settings import REPOSITORY
from tests.redteam.attack import MOST, Attack
from tests.redteam.attacks import all_attacks
from tests.redteam.attacks.uploads import FAMILY, UPLOADS
from tests.redteam.measure import load

PAGE = REPOSITORY / "docs" / "red_team.md"
HEAD = Path(__file__).parent / "page_head.md"
HEADING = "| attack | what it tries | deserves | here | stock nbgrader |\n|---|---|---|---|---|"
LONGEST = 100
NOT_MEASURED = "not measured"


def page() -> str:
    """Return the page's text."""
    outcomes = load()
    attacks = all_attacks()
    parts = [HEAD.read_text(encoding="utf-8").format(**summary(attacks, outcomes))]
    for family, members in groupby(attacks, key=lambda attack: attack.family):
        rows = [row(attack, outcomes) for attack in members]
        parts.append("\n".join([f"## {family[0].upper()}{family[1:]}", "", HEADING, *rows]))
    rows = [
        f"| `{upload.name}` | {upload.tries} | refused | refused: {upload.reason} | "
        "does not apply: it reads no zip |"
        for upload in UPLOADS
    ]
    parts.append("\n".join([f"## {FAMILY[0].upper()}{FAMILY[1:]}", "", HEADING, *rows]))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def row(attack: Attack, outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one attack's line."""
    deserved = sum(attack.deserves.values())
    own = outcomes["here"].get(attack.name)
    here = NOT_MEASURED
    if own is not None:
        points = sum((own["points"] or {}).values())
        here = f"{points:g}: {shown(own['happened'])}" if own["happened"] else f"{points:g}"
    stock = stock_text(attack, outcomes["stock"].get(attack.name))
    return f"| `{attack.name}` | {shown(attack.tries)} | {deserved:g} | {here} | {stock} |"


def stock_text(attack: Attack, outcome: Mapping[str, Any] | None) -> str:
    """Say what became of an attack on stock nbgrader."""
    if attack.elsewhere:
        return f"does not apply: {attack.elsewhere}"
    if outcome is None:
        return NOT_MEASURED
    texts = [mark_text(attack, outcome)]
    if outcome["secret"]:
        texts.append("**a secret was read**")
    if outcome["others"]:
        texts.append("**the other student's mark is gone**")
    if outcome["changed"]:
        texts.append(f"**changed {shown(outcome['changed'][0])}**")
    return "; ".join(texts)


def mark_text(attack: Attack, outcome: Mapping[str, Any]) -> str:
    """Say which mark there is, and whether it is just."""
    if outcome["timed_out"]:
        return "**no mark: still running when it was stopped**"
    if not outcome["points"]:
        return "no mark" if not any(attack.deserves.values()) else "**no mark**"
    got = sum(outcome["points"].values())
    too_much = any(outcome["points"].get(name, 0) > attack.deserves[name] for name in MOST)
    # A cell of nbgrader gives all its points or none, so half an exercise is none there.
    too_little = any(
        outcome["points"].get(name, 0) < attack.deserves[name]
        for name in MOST
        if attack.deserves[name] == MOST[name]
    )
    verdict = "**, too much**" if too_much else "**, too little**" if too_little else ""
    return f"{got:g}{verdict}"


def summary(
    attacks: list[Attack], outcomes: Mapping[str, Mapping[str, Any]]
) -> dict[str, int | str]:
    """Return the figures of the page's head."""
    texts = [stock_text(attack, outcomes["stock"].get(attack.name)) for attack in attacks]
    return {
        "count": len(attacks) + len(UPLOADS),
        "graded": len(attacks),
        "measured": len(outcomes["here"]),
        "just": sum(
            (outcomes["here"].get(attack.name) or {}).get("points") == attack.deserves
            for attack in attacks
        ),
        "stock": sum(attack.name in outcomes["stock"] for attack in attacks),
        "too_much": sum("too much" in text for text in texts),
        "too_little": sum("too little" in text or "**no mark" in text for text in texts),
        "secrets": sum("secret was read" in text for text in texts),
        "changed": sum("**changed" in text or "mark is gone" in text for text in texts),
    }


def shown(text: str) -> str:
    """Return a text that is text in a table of markdown."""
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    for sign in "\\|<>*_[]`&":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
