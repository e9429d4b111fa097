"""Writes a paper to print, and its key: HTML that needs no network, or PDF through a browser."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from latex2mathml.converter import convert

from autograder.exam.paper import Paper, write_answer
from course_utils.exam.items import Item
from course_utils.exam.render import (
    FORMULA,
    LETTERS,
    answer_html,
    code_html,
    picture_html,
    to_html,
)
from course_utils.exam.texts import say

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
PDF_SECONDS = 120
STYLE = """
@page { size: A4; margin: 18mm 16mm }
body { font-family: "Noto Sans", "Noto Sans TC", "Noto Sans CJK TC", "PingFang TC",
       "Microsoft JhengHei", sans-serif; font-size: 11pt; line-height: 1.45; max-width: 46em;
       margin: auto; color: black; background: white }
section { break-inside: avoid; margin: 1.2em 0; border-top: 1px solid #999 }
.points { float: right } .line { border-bottom: 1px solid black; min-width: 12em;
          display: inline-block; height: 1.4em }
img { max-width: 100% } pre { background: #f4f4f4; padding: .5em; white-space: pre-wrap }
code { background: #f4f4f4 } table { border-spacing: 1.5em .2em; margin-left: -1.5em }
"""
WORDS = {
    "title": ("Exam practice: network compression", "考前練習：網路壓縮"),
    "key": ("Key", "解答"),
    "paper": (
        "Paper {seed} · {minutes} minutes · {points} points",
        "試卷 {seed} · {minutes} 分鐘 · {points} 分",
    ),
    "name": ("Name", "姓名"),
    "number": ("Student number", "學號"),
    "points": ("{points} points", "{points} 分"),
}


class NoBrowser(RuntimeError):
    """No browser is there that could write a PDF."""


def paper_html(paper: Paper, key: bool = False) -> str:
    """Return the paper, or its key with worked solutions, as one page of HTML."""
    language = paper.language
    sections = [_section(paper, n, item, key) for n, item in enumerate(paper.items, 1)]
    title = _word("title", language) + (f" – {_word('key', language)}" if key else "")
    facts = _word(
        "paper", language, seed=html.escape(paper.seed), minutes=paper.minutes or "–",
        points=paper.points,
    )  # fmt: skip
    names = "" if key else _names(language)
    tongue = {"en": "en", "zh": "zh-Hant-TW"}[language]
    return (
        f'<!doctype html>\n<html lang="{tongue}"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{title}</h1><p>{facts}</p>{names}\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def with_mathml(text: str) -> str:
    """Replace the formulas of an HTML text by MathML, which browsers typeset without a script."""
    parts = FORMULA.split(text)
    for number in range(1, len(parts), 2):
        formula = html.unescape(parts[number])
        display = "block" if formula.startswith("\\[") else "inline"
        parts[number] = convert(formula[2:-2].strip(), display=display)
    return "".join(parts)


def _section(paper: Paper, number: int, item: Item, key: bool) -> str:
    language, order = paper.language, paper.order(item)
    points = _word("points", language, points=item.question.minutes)
    shown = to_html(item.prompt(language)) + (code_html(item.code) if item.code else "")
    body = f"<p>{shown}</p>{picture_html(item, language)}{_choices(item, language, order)}"
    if key:
        answer = write_answer(item, order)
        if item.question.is_number or item.code:
            answer = answer_html(item, language, order)
        solution = to_html(item.solution(language))
        body += f"<p><strong>{say('answer', language)} {answer}</strong></p><p>{solution}</p>"
    else:
        label, unit = say("your_answer", language), to_html(item.unit(language))
        body += f"<p>{label}: <span class='line'></span> {unit}</p>"
    return with_mathml(
        f"<section><p class='points'>({points})</p><h2>{number}</h2>{body}</section>"
    )


def _choices(item: Item, language: str, order: list[int]) -> str:
    kind = item.question.kind
    if item.question.is_number or item.code:
        return f"<p><em>{say('choose_line', language)}</em></p>" if item.code else ""
    texts = {"ordering": item.items, "matching": item.rights}.get(kind, item.options)(language)
    rows = [f"<div>{LETTERS[p]}. {to_html(texts[n])}</div>" for p, n in enumerate(order)]
    if kind == "matching":
        lefts = "".join(
            f"<div>{n}. {to_html(text)}</div>" for n, text in enumerate(item.lefts(language), 1)
        )
        table = f"<table><tr><td>{lefts}</td><td>{''.join(rows)}</td></tr></table>"
        return f"<p><em>{say('match', language)}</em></p>{table}"
    note = {"several": "choose_several", "ordering": "put_in_order"}.get(kind, "choose_one")
    return f"<p><em>{say(note, language)}</em></p>{''.join(rows)}"


def _names(language: str) -> str:
    fields = (_word("name", language), _word("number", language))
    return "<p>" + " ".join(f"{field}: <span class='line'></span>" for field in fields) + "</p>"


def _word(name: str, language: str, **values: object) -> str:
    text = WORDS[name][{"en": 0, "zh": 1}[language]]
    return text.format(**values) if values else text


def write_pdf(page: str, path: Path) -> None:
    """Print a page of HTML to PDF with a browser that is installed.

    Raises:
        NoBrowser: there is none, or it did not write the file.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise NoBrowser(
            "no browser for PDF found (chromium, google-chrome or msedge); write HTML with "
            "--format html, open it in any browser and print it to PDF"
        )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "paper.html"
        source.write_text(page, encoding="utf-8")
        command = [
            browser, "--headless", "--disable-gpu", f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer", f"--print-to-pdf={path.resolve()}", source.as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses its own sandbox to root; the page is the course's own.
            command.insert(1, "--no-sandbox")
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PDF_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            raise NoBrowser(f"{browser} could not write the PDF: {error}") from error
    if not path.exists():
        raise NoBrowser(f"{browser} wrote no PDF")
