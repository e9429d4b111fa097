"""Writes a paper as Moodle XML.

Structure: https://docs.moodle.org/en/Moodle_XML_format; the ordering type follows what Moodle 4.4
and later export themselves. Several numbers in a row become a cloze question with a gap each.
"""

from __future__ import annotations

import base64
from xml.etree import ElementTree as Tree

from autograder.exam.paper import Paper
from course_utils.exam.items import Item
from course_utils.exam.pictures import picture
from course_utils.exam.render import code_html, to_html

COURSE = "$course$/top/Network compression"
PICTURE = "picture.png"


def moodle_xml(paper: Paper) -> str:
    """Return the paper as Moodle XML, a category for each topic."""
    quiz = Tree.Element("quiz")
    topic = ""
    for item in paper.items:
        if item.question.topic != topic:
            topic = item.question.topic
            category = Tree.SubElement(quiz, "question", type="category")
            _text(Tree.SubElement(category, "category"), f"{COURSE}/{topic}")
        _question(quiz, item, paper.language)
    Tree.indent(quiz)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Tree.tostring(quiz, "unicode") + "\n"


def moodle_type(item: Item) -> str:
    """Return the name of Moodle's question type for an item."""
    if item.question.is_number:
        return "cloze" if isinstance(item.key, list) else "numerical"
    return {"ordering": "ordering", "matching": "matching"}.get(item.question.kind, "multichoice")


def _question(quiz: Tree.Element, item: Item, language: str) -> None:
    kind = moodle_type(item)
    question = Tree.SubElement(quiz, "question", type=kind)
    _text(Tree.SubElement(question, "name"), item.question.id)
    _prompt(question, item, language)
    _html(question, "generalfeedback", to_html(item.solution(language)))
    Tree.SubElement(question, "penalty").text = "0"
    Tree.SubElement(question, "hidden").text = "0"
    Tree.SubElement(question, "idnumber").text = f"{item.question.id}-{item.variant}"
    if kind != "cloze":
        Tree.SubElement(question, "defaultgrade").text = str(item.question.minutes)
    write = {
        "numerical": _numerical,
        "ordering": _ordering,
        "matching": _matching,
        "multichoice": _multichoice,
    }
    if kind in write:
        write[kind](question, item, language)


def _prompt(question: Tree.Element, item: Item, language: str) -> None:
    shown = to_html(item.prompt(language))
    if item.code:
        shown += code_html(item.code)
    plot = item.plot
    if plot is not None:
        alt = item.text(plot["alt"], language).replace('"', "&quot;")
        shown += f'<p><img src="@@PLUGINFILE@@/{PICTURE}" alt="{alt}"></p>'
    if isinstance(item.key, list) and item.question.is_number:
        grade = item.question.minutes
        gaps = [f"{{{grade}:NUMERICAL:={key:.10g}:{item.tolerance:g}}}" for key in item.key]
        shown += f"<p>{', '.join(gaps)}</p>"
    if unit := item.unit(language):
        shown += f"<p>[{to_html(unit)}]</p>"
    body = _html(question, "questiontext", f"<div>{shown}</div>")
    if plot is not None:
        file = Tree.SubElement(body, "file", name=PICTURE, path="/", encoding="base64")
        file.text = base64.b64encode(picture(plot["drawing"], plot["data"])).decode()


def _numerical(question: Tree.Element, item: Item, language: str) -> None:
    numbers = [(item.key, 100.0, ""), *((v, 0.0, why) for v, why in item.wrong_numbers(language))]
    for value, fraction, why in numbers:
        answer = _answer(question, f"{value:.10g}", fraction, why, "moodle_auto_format")
        Tree.SubElement(answer, "tolerance").text = f"{item.tolerance:g}"
    # 0: units are not marked; 3: they are not asked for.
    Tree.SubElement(question, "unitgradingtype").text = "0"
    Tree.SubElement(question, "showunits").text = "3"


def _multichoice(question: Tree.Element, item: Item, language: str) -> None:
    several = item.question.kind == "several"
    Tree.SubElement(question, "single").text = "false" if several else "true"
    Tree.SubElement(question, "shuffleanswers").text = "false" if item.code else "true"
    Tree.SubElement(question, "answernumbering").text = "none" if item.code else "ABCD"
    for number, option in enumerate(item.options(language)):
        why = item.why(number, language)
        _answer(question, to_html(option), fraction_of(item, number), why, "html")


def fraction_of(item: Item, option: int) -> float:
    """Return the per cent that a choice gives; a wrong one of several takes as much away."""
    if item.question.kind != "several":
        return 100.0 if option == item.key else 0.0
    share = 100 / len(item.key)
    return share if option in item.key else -share


def _ordering(question: Tree.Element, item: Item, language: str) -> None:
    settings = {
        "layouttype": "VERTICAL",
        "selecttype": "ALL",
        "selectcount": "0",
        "gradingtype": "RELATIVE_NEXT_EXCLUDE_LAST",
        "showgrading": "SHOW",
        "numberingstyle": "none",
    }
    for name, value in settings.items():
        Tree.SubElement(question, name).text = value
    for place, step in enumerate(item.items(language), 1):
        _answer(question, to_html(step), float(place), "", "html")


def _matching(question: Tree.Element, item: Item, language: str) -> None:
    Tree.SubElement(question, "shuffleanswers").text = "true"
    lefts, rights = item.lefts(language), item.rights(language)
    # A partner that fits nothing has an empty question.
    for left, right in zip([*lefts, *[""] * (len(rights) - len(lefts))], rights, strict=True):
        pair = Tree.SubElement(question, "subquestion", format="html")
        Tree.SubElement(pair, "text").text = to_html(left)
        _text(Tree.SubElement(pair, "answer"), right)


def _answer(
    question: Tree.Element, text: str, fraction: float, why: str, form: str
) -> Tree.Element:
    shown = f"{fraction:.5f}".rstrip("0").rstrip(".")
    answer = Tree.SubElement(question, "answer", fraction=shown, format=form)
    Tree.SubElement(answer, "text").text = text
    _html(answer, "feedback", to_html(why))
    return answer


def _html(parent: Tree.Element, name: str, text: str) -> Tree.Element:
    element = Tree.SubElement(parent, name, format="html")
    Tree.SubElement(element, "text").text = text
    return element


def _text(parent: Tree.Element, text: str) -> None:
    Tree.SubElement(parent, "text").text = text
