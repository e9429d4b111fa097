"""Writes a paper in GIFT, Moodle's text format: https://docs.moodle.org/en/GIFT_format.

GIFT has no ordering: such a question becomes a matching of places and steps. Several numbers in a
row become a short answer in its usual spellings. Pictures are held in the text itself.
"""

from __future__ import annotations

import re

from autograder.exam.export_moodle import COURSE, fraction_of
from autograder.exam.paper import Paper
from course_utils.exam.items import Item
from course_utils.exam.render import code_html, picture_html, to_html

RESERVED = re.compile(r"([\\#=~{}:])")


def gift_text(paper: Paper) -> str:
    """Return the paper in GIFT."""
    parts = [f"// {len(paper.items)} questions, seed {paper.seed}"]
    topic = ""
    for item in paper.items:
        if item.question.topic != topic:
            topic = item.question.topic
            parts.append(f"$CATEGORY: {COURSE}/{topic}")
        parts.append(_question(item, paper.language))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Write a text so that GIFT takes none of its characters for its own."""
    return RESERVED.sub(r"\\\1", text).replace("\r", "").replace("\n", "\\n")


def _question(item: Item, language: str) -> str:
    shown = to_html(item.prompt(language))
    if item.code:
        shown += code_html(item.code)
    shown += picture_html(item, language)
    if unit := item.unit(language):
        shown += f" [{to_html(unit)}]"
    lines = _answers(item, language)
    lines.append(f"####{escape(to_html(item.solution(language)))}")
    body = "\n\t".join(lines)
    mark = "#" if item.question.is_number and not isinstance(item.key, list) else ""
    name = escape(item.question.id)
    return f"::{name}::[html]{escape(f'<div>{shown}</div>')}{{{mark}\n\t{body}\n}}"


def _answers(item: Item, language: str) -> list[str]:
    if item.question.is_number:
        return _numbers(item, language)
    if item.question.kind == "ordering":
        steps = enumerate(item.items(language), 1)
        return [f"={number} -> {escape(step)}" for number, step in steps]
    if item.question.kind == "matching":
        lefts, rights = item.lefts(language), item.rights(language)
        lefts += [""] * (len(rights) - len(lefts))
        pairs = zip(lefts, rights, strict=True)
        return [f"={escape(to_html(a))} -> {escape(b)}" for a, b in pairs]
    return [
        _weight(item, number) + escape(to_html(option)) + _why(item.why(number, language))
        for number, option in enumerate(item.options(language))
    ]


def _numbers(item: Item, language: str) -> list[str]:
    key = item.key
    if isinstance(key, list):
        written = [f"{number:.10g}" for number in key]
        return [f"=%100%{joined}" for joined in (", ".join(written), ",".join(written),
                                                 " ".join(written))]  # fmt: skip
    wrong = [
        f"=%0%{value:.10g}:{item.tolerance:g}{_why(why)}"
        for value, why in item.wrong_numbers(language)
    ]
    return [f"=%100%{key:.10g}:{item.tolerance:g}", *wrong]


def _weight(item: Item, option: int) -> str:
    fraction = fraction_of(item, option)
    if item.question.kind == "several":
        return f"~%{fraction:.5f}".rstrip("0").rstrip(".") + "%"
    return "=" if fraction else "~"


def _why(text: str) -> str:
    return f"#{escape(to_html(text))}" if text else ""
