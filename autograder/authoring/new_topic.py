"""Makes the folder of a new topic: small, complete and right, to be changed step by step."""

from __future__ import annotations

import re
from pathlib import Path

from autograder import settings
from autograder.authoring.messages import update_topic
from autograder.authoring.source import load_source

TEMPLATE = Path(__file__).parent / "topic_template"
ENDING = ".txt"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def make_topic(name: str, title: str = "", number: int = 0) -> list[Path]:
    """Make a topic's folder, and return its files.

    It has one exercise with its checks, mistakes and alternatives, one written question, and all
    texts in both languages.

    Args:
        name: of the folder, and nbgrader's name of the assignment: small letters, digits, `_`.
        title: of the notebook; made from the name when empty.
        number: of the notebook; one more than the highest when 0.

    Raises:
        ValueError: the name is no such name or is taken, or the number is taken.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} must be small letters, digits and _, such as low_rank")
    folder = settings.TOPICS / name
    if folder.exists():
        raise ValueError(f"name: there is a folder {folder} already")
    numbers = {load_source(topic).number: topic for topic in settings.topic_names()}
    number = number or max(numbers, default=0) + 1
    if number in numbers:
        raise ValueError(f"number: {numbers[number]} is notebook {number} already")
    values = {"TOPIC": name, "NUMBER": str(number), "TITLE": title or _title(name)}
    paths = []
    for template in sorted(TEMPLATE.rglob(f"*{ENDING}")):
        path = folder / template.relative_to(TEMPLATE).with_suffix("")
        text = template.read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    # In the order of the code.
    update_topic(name)
    return paths


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
