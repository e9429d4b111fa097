"""Turns a question's texts into HTML; formulas stay LaTeX for MathJax."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence

from course_utils.exam.items import Item
from course_utils.exam.marking import Mark
from course_utils.exam.pictures import picture
from course_utils.exam.texts import say

FORMULA = re.compile(r"(\\\(.*?\\\)|\\\[.*?\\\])", re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
BOLD = re.compile(r"\*\*([^*]+)\*\*")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
LETTERS = "ABCDEFGH"
# White on a dark ground: readable in a light and in a dark notebook.
CHIP = "color:white;padding:.15em .6em;border-radius:.3em"


def to_html(text: str) -> str:
    """Turn a text with `code`, **bold** and formulas into HTML."""
    parts = FORMULA.split(text)
    shown = []
    for number, part in enumerate(parts):
        safe = html.escape(part, quote=False)
        if number % 2:
            # A comma between thousands, and not one of a list with a gap behind it.
            shown.append(THOUSANDS.sub("{,}", safe))
        else:
            safe = BOLD.sub(r"<strong>\1</strong>", CODE.sub(r"<code>\1</code>", safe))
            shown.append(safe.replace("\n", "<br>"))
    return "".join(shown)


def code_html(lines: Sequence[str]) -> str:
    """Show lines of code with their numbers."""
    rows = "\n".join(f"{number}  {html.escape(line)}" for number, line in enumerate(lines, 1))
    return f'<pre style="line-height:1.5;overflow-x:auto">{rows}</pre>'


def picture_html(item: Item, language: str) -> str:
    """Show the picture of a question inside the page; empty without one."""
    plot = item.plot
    if plot is None:
        return ""
    content = picture(plot["drawing"], plot["data"])
    return png_html(content, item.text(plot["alt"], language))


def png_html(content: bytes, alt: str) -> str:
    """Show a picture inside the page, with a text for those who do not see it."""
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<p><img alt="{html.escape(alt)}" src="{source}" style="max-width:100%"></p>'


def prompt_html(item: Item, language: str) -> str:
    """Show what is asked: text, code, picture."""
    code = code_html(item.code) if item.code else ""
    text = to_html(item.prompt(language))
    return f"<div>{text}{code}</div>{picture_html(item, language)}"


def options_html(item: Item, language: str, order: Sequence[int]) -> str:
    """Show lettered choices, in the order given; nothing where a line of code is chosen."""
    if item.code:
        return ""
    options = item.options(language)
    rows = [
        f"<div style='margin:.3em 0'><strong>{LETTERS[place]}.</strong> {to_html(options[n])}</div>"
        for place, n in enumerate(order)
    ]
    return "".join(rows)


def answer_html(item: Item, language: str, order: Sequence[int]) -> str:
    """Show the right answer."""
    key, kind = item.key, item.question.kind
    if item.code:
        mended = item.question.record["code"]["fix"]
        line = say("line", language, number=key + 1)
        return f"{line}<pre>{html.escape(mended)}</pre>"
    if item.question.is_number:
        numbers = key if isinstance(key, list) else [key]
        places = item.decimals
        written = ", ".join(_number(number, places) for number in numbers)
        return html.escape(f"{written} {item.unit(language)}".strip())
    if kind == "ordering":
        return "".join(
            f"<div>{n}. {to_html(s)}</div>" for n, s in enumerate(item.items(language), 1)
        )
    if kind == "matching":
        pairs = zip(item.lefts(language), item.rights(language), strict=False)
        return "".join(f"<div>{to_html(a)} → {to_html(b)}</div>" for a, b in pairs)
    right = key if isinstance(key, list) else [key]
    letters = sorted(LETTERS[list(order).index(n)] for n in right)
    return ", ".join(letters)


def _number(number: float, places: int) -> str:
    if float(number).is_integer():
        return f"{int(number):,}"
    # One more than asked for, so that a rounded answer can be compared.
    return f"{number:.{places + 1}f}".rstrip("0").rstrip(".")


def feedback_html(item: Item, mark: Mark, language: str, order: Sequence[int]) -> str:
    """Show the mark, the right answer, what was wrong, and the worked solution."""
    if mark.right:
        head, colour = say("right", language), "#00734f"
    elif mark.unreadable:
        head, colour = say("unreadable", language), "#a33c00"
    elif not mark.answered:
        head, colour = say("no_answer", language), "#a33c00"
    elif mark.score > 0:
        head, colour = say("partly", language, percent=round(100 * mark.score)), "#7a5500"
    else:
        head, colour = say("wrong", language), "#a33c00"
    whys = "".join(f"<li>{to_html(why)}</li>" for why in mark.whys)
    key = (
        ""
        if mark.right
        else f"<p>{say('answer', language)} {answer_html(item, language, order)}</p>"
    )
    return (
        f"<div role='status'><p><strong style='{CHIP};background:{colour}'>{head}</strong></p>"
        f"{f'<ul>{whys}</ul>' if whys else ''}{key}"
        f"<p>{to_html(item.solution(language))}</p>"
        f"<p style='opacity:.8'>{say('slide', language)} "
        f"{html.escape(item.question.slide.partition(' #')[0])}</p></div>"
    )


def facts_html(item: Item, language: str) -> str:
    """Show a question's topic-free facts in one line: difficulty, minutes."""
    question = item.question
    return say(
        "facts",
        language,
        difficulty="●" * question.difficulty + "○" * (3 - question.difficulty),
        minutes=question.minutes,
    )
