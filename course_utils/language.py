"""Messages of checks in the reader's language.

Checks speak English. A catalogue holds pairs of templates: `expected {wanted}, got {got}` and its
translation, which names the same places. A message that no template fits stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from types import TracebackType
from typing import Any

CATALOGUE = "messages"
DEEPEST = 4
_spoken = ["en"]


@dataclass(frozen=True)
class Template:
    """An English message with places, and its translation.

    Attributes:
        english: the message; a place is the Python expression in braces, as in an f-string.
        places: the places, braces included, in the order of the English text.
        translation: the message in the other language, with the same places.
    """

    english: str
    places: tuple[str, ...]
    translation: str

    @cached_property
    def _literals(self) -> list[str]:
        parts, rest = [], self.english
        for place in self.places:
            before, _, rest = rest.partition(place)
            parts.append(before)
        return [*parts, rest]

    @property
    def weight(self) -> int:
        """How many characters are fixed: the more, the surer is a match."""
        return sum(map(len, self._literals))

    def match(self, message: str) -> dict[str, str] | None:
        """Return what stands in the places, or None when the message is another one.

        Each fixed part is looked for once, from the left: a hostile text costs no more time.
        """
        first, *middle = self._literals
        if not middle:
            return {} if message == first else None
        if not message.startswith(first) or not message.endswith(middle[-1]):
            return None
        start, end = len(first), len(message) - len(middle[-1])
        found: dict[str, str] = {}
        for place, literal in zip(self.places, middle, strict=True):
            last = place is self.places[-1] and literal is middle[-1]
            stop = end if last else message.find(literal, start, end)
            if stop < start:
                return None
            found.setdefault(place, message[start:stop])
            start = stop + len(literal)
        return found if start == len(message) else None


class Catalogue:
    """Templates of one language."""

    def __init__(self, templates: Iterable[Template]) -> None:
        known = (template for template in templates if template.translation)
        self._templates = sorted(known, key=lambda template: -template.weight)

    def translate(self, message: str, depth: int = 0) -> str:
        """Return the message in the catalogue's language, as far as it is known.

        Each line is looked up for itself where the whole message is unknown, and so is what
        stands in the places of a template.
        """
        for template in self._templates:
            found = template.match(message)
            if found is not None:
                text = template.translation
                for place, value in found.items():
                    inner = self.translate(value, depth + 1) if depth < DEEPEST else value
                    text = text.replace(place, inner)
                return text
        if "\n" in message:
            return "\n".join(self.translate(line, depth + 1) for line in message.split("\n"))
        return message


def from_entries(entries: Iterable[Mapping[str, Any]], language: str) -> Catalogue:
    """Return a catalogue from records such as {"en": ..., "places": [...], "zh-TW": ...}."""
    return Catalogue(
        Template(entry["en"], tuple(entry["places"]), entry.get(language, "")) for entry in entries
    )


def spoken() -> str:
    """Return the language of this notebook, such as "en" or "zh-TW"."""
    return _spoken[-1]


def use_language(language: str, topic: str) -> None:
    """Have failed checks of a notebook speak `language`, such as "zh-TW".

    Outside a notebook this does nothing.

    Args:
        language: the language of the messages.
        topic: the notebook's topic, such as "network_pruning".

    Raises:
        ValueError: there is no catalogue for this topic.
    """
    file = files("course_utils") / CATALOGUE / f"{topic}.json"
    if not file.is_file():
        raise ValueError(f"topic: there are no messages of {topic!r} in other languages")
    _spoken.append(language)
    catalogue = from_entries(json.loads(file.read_text(encoding="utf-8")), language)
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return

    def show(
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType,
        tb_offset: int | None = None,
    ) -> None:
        if error.args and isinstance(error.args[0], str):
            error.args = (catalogue.translate(error.args[0]), *error.args[1:])
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)

    shell.set_custom_exc((AssertionError, NotImplementedError), show)
