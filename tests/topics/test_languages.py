"""Each topic in two languages: no text cell without its twin, no message without translation."""

import json
import re

import pytest

from autograder import settings
from autograder.authoring import messages as spoken
from autograder.authoring.build import plan_is_stale
from autograder.authoring.messages import catalogue, needed_messages, topic_messages
from autograder.authoring.source import LANGUAGES, load_source

TOPICS = settings.topic_names()
CHINESE = "zh-TW"
# What is the same in any language: code, formulas, links.
SAME = re.compile(r"`[^`]+`|\$\$.+?\$\$|\$[^$]+\$|https?://[^\s)>]+", re.DOTALL)
CHINESE_SIGN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("topic", TOPICS)
def test_every_text_cell_has_its_twins(topic: str) -> None:
    for cell in load_source(topic).cells:
        twins = dict(cell.twins)
        assert cell.is_code or sorted(twins) == sorted(LANGUAGES[1:]), f"line {cell.line}"
        if cell.is_code:
            continue
        assert CHINESE_SIGN.search(twins[CHINESE]), f"line {cell.line}: no Chinese"
        heads = [re.findall(r"^#+(?= )", text, re.M) for text in (cell.source, twins[CHINESE])]
        assert heads[0] == heads[1], f"line {cell.line}: other headings"
        assert twins[CHINESE].count("<details") == cell.source.count("<details"), cell.line


def _same_parts(text: str) -> set[str]:
    # A block may hold words of either language.
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {" ".join(part.split()) for part in SAME.findall(text)}


@pytest.mark.parametrize("topic", TOPICS)
def test_twins_name_the_same_code(topic: str) -> None:
    for cell in load_source(topic).cells:
        if not cell.is_code:
            english, chinese = map(_same_parts, (cell.source, dict(cell.twins)[CHINESE]))
            assert english == chinese, f"line {cell.line}: {sorted(english ^ chinese)}"


@pytest.mark.parametrize("topic", TOPICS)
def test_every_message_has_its_translation(topic: str) -> None:
    assert spoken.problems(topic_messages(topic)) == []


def test_the_judge_s_own_messages_have_their_translations() -> None:
    assert spoken.problems(spoken.own_messages()) == []


def test_frames_are_those_of_the_judge() -> None:
    text = "".join(path.read_text() for path in (settings.PACKAGE / "judge").glob("*.py"))
    for frame in spoken.FRAMES:
        fixed = max(spoken.PLACE.split(frame), key=len).strip()
        assert fixed in text, frame


@pytest.mark.parametrize("topic", TOPICS)
def test_files_of_messages_hold_nothing_that_nobody_says(topic: str) -> None:
    import tomllib

    content = tomllib.loads((settings.topic_folder(topic) / spoken.FILE).read_text())
    written = [(kind, entry["en"]) for kind, entries in content.items() for entry in entries]
    assert written == [(m.kind, m.english) for m in needed_messages(topic)]


@pytest.mark.parametrize("topic", TOPICS)
def test_each_message_is_found_by_its_own_template(topic: str) -> None:
    """Filled with odd values, a message still comes out in Chinese, with every value in it."""
    known = catalogue(topic, CHINESE)
    for message in topic_messages(topic):
        text = message.english
        values = {place: f"<{number}>" for number, place in enumerate(message.places)}
        for place, value in values.items():
            text = text.replace(place, value)
        translated = known.translate(text)
        assert translated != text or not CHINESE_SIGN.search(
            message.template(CHINESE).translation
        ), text
        assert all(value in translated for value in values.values()), text


def test_students_get_only_what_visible_checks_say() -> None:
    for topic in TOPICS:
        file = settings.MESSAGES / f"{topic}.json"
        shipped = {entry["en"] for entry in json.loads(file.read_text(encoding="utf-8"))}
        visible = {m.english for m in needed_messages(topic) if m.kind == "visible"}
        assert shipped == visible | {spoken.STUB_MESSAGE}


def test_the_plan_of_the_progress_panel_is_fresh() -> None:
    assert not plan_is_stale()
