"""The glossary's words are those that the notebooks and the exam practice use."""

from __future__ import annotations

import re
from functools import lru_cache

from autograder import settings
from autograder.authoring.source import SOURCE_FILE
from autograder.exam.bank import FOLDER, LECTURE, load_lecture

GLOSSARY = settings.REPOSITORY / "docs" / "glossary.md"
HEADER = ["term", "中文", "meaning", "意思", "notebook"]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
IN_BRACKETS = re.compile(r"\s*\(.*\)")
NUMBER = re.compile(r"^#   number: (\d+)$", re.MULTILINE)
COMMENT = re.compile(r"\s*\n#?\s*")
EXAM = "exam"
OR = "、"


@lru_cache(maxsize=1)
def tables() -> dict[str, list[list[str]]]:
    """Return the rows below each heading, without the two lines on top."""
    found: dict[str, list[list[str]]] = {}
    for part in GLOSSARY.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, *lines = part.splitlines()
        cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
        table = [[cell.strip() for cell in row] for row in cells]
        assert table[0] == HEADER, heading
        found[heading] = table[2:]
    return found


def rows() -> list[list[str]]:
    """Return the rows of all tables."""
    return [row for table in tables().values() for row in table]


@lru_cache(maxsize=1)
def texts() -> dict[str, str]:
    """Return what each notebook says, by its number, and what the exam practice says."""
    found = {}
    for path in settings.TOPICS.glob(f"*/{SOURCE_FILE}"):
        text = path.read_text(encoding="utf-8")
        number = NUMBER.search(text)
        assert number, path
        # A term may stand on two lines.
        found[number[1]] = COMMENT.sub(" ", text).casefold()
    questions = [path.read_text(encoding="utf-8") for path in [*FOLDER.glob("*.toml"), LECTURE]]
    return found | {EXAM: "\n".join(questions).casefold()}


def test_each_topic_of_the_lecture_has_a_table() -> None:
    topics = load_lecture().topic
    assert list(tables()) == [f"{topic.title.en} ({topic.title.zh})" for topic in topics]


def test_rows_are_complete() -> None:
    for row in rows():
        assert len(row) == len(HEADER), row
        assert all(row), row
        _, chinese, english, meaning, notebook = row
        assert CHINESE.search(chinese), row
        assert not CHINESE.search(english), row
        assert CHINESE.search(meaning), row
        assert english.endswith("."), row
        assert meaning.endswith("。"), row
        assert notebook in texts(), row


def test_no_term_is_there_twice() -> None:
    english = [row[0].casefold() for row in rows()]
    chinese = [word.casefold() for row in rows() for word in row[1].split(OR)]
    for terms in (english, chinese):
        assert sorted(set(terms)) == sorted(terms)


def test_the_course_uses_every_chinese_term() -> None:
    said = "\n".join(texts().values())
    words = [word for row in rows() for word in row[1].split(OR)]
    assert [word for word in words if word.casefold() not in said] == []


def test_the_notebook_that_is_named_uses_the_term() -> None:
    for term, chinese, _, _, notebook in rows():
        words = [IN_BRACKETS.sub("", term), *chinese.split(OR)]
        assert any(word.casefold() in texts()[notebook] for word in words), term
