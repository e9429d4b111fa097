"""Measures every attack here and on stock nbgrader, and keeps what came of it.

python -m tests.redteam.measure here            the whole class, by `autograder grade`
python -m tests.redteam.measure stock           stock nbgrader, what is not measured yet
python -m tests.redteam.measure stock NAME …    these anew
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autograder import settings
from tests.redteam.attack import Attack
from tests.redteam.attacks import all_attacks
from tests.redteam.class_run import injustices, run_class
from tests.redteam.course import SAMPLE, make_course
from tests.redteam.stock import StockCourse

OUTCOMES = Path(__file__).parent / "outcomes.json"


def load() -> dict[str, dict[str, Any]]:
    """Return what was measured: `here` and `stock`, by attack."""
    if not OUTCOMES.is_file():
        return {"here": {}, "stock": {}}
    return json.loads(OUTCOMES.read_text(encoding="utf-8"))


def save(outcomes: dict[str, dict[str, Any]]) -> None:
    """Keep what was measured."""
    text = json.dumps(outcomes, indent=1, sort_keys=True, ensure_ascii=False)
    part = OUTCOMES.with_suffix(".part")
    part.write_text(f"{text}\n", encoding="utf-8")
    os.replace(part, OUTCOMES)


def measure_here(attacks: list[Attack]) -> bool:
    """Grade the class; return whether all was just."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_class(make_course(Path(folder)), attacks)
    outcomes = load()
    for attack in attacks:
        outcomes["here"][attack.name] = {
            "points": outcome.points.get(attack.name),
            "happened": outcome.happened.get(attack.name, ""),
            "review": attack.name in outcome.review,
        }
    save(outcomes)
    wrong = injustices(outcome, attacks)
    for student, texts in wrong.items():
        print(f"{student}: {'; '.join(texts)}", flush=True)
    print(f"{len(attacks)} attacks, {len(wrong)} unjust")
    return not wrong


def measure_stock(attacks: list[Attack], names: list[str]) -> None:
    """Give each attack to stock nbgrader, and keep each outcome as it comes."""
    settings.TOPICS = SAMPLE.parent
    with tempfile.TemporaryDirectory() as folder:
        course = StockCourse(Path(folder))
        for attack in _wanted(attacks, names):
            outcome = asdict(course.grade(attack))
            outcomes = load()
            outcomes["stock"][attack.name] = outcome
            save(outcomes)
            print(attack.name, outcome, flush=True)


def _wanted(attacks: list[Attack], names: list[str]) -> list[Attack]:
    """Return the attacks of these names in their order; without names, what is not measured."""
    by_name = {attack.name: attack for attack in attacks if not attack.elsewhere}
    return [by_name[name] for name in names or sorted(set(by_name) - set(load()["stock"]))]


if __name__ == "__main__":
    where, *chosen = sys.argv[1:]
    every = all_attacks()
    if where == "here":
        some = [attack for attack in every if not chosen or attack.name in chosen]
        sys.exit(0 if measure_here(some) else 1)
    measure_stock(every, chosen)
