"""The messages that students read, taken from the code that says them, with their translations.

`messages.toml` in a topic's folder holds them: what visible checks say, what hidden checks say,
and the hints of known mistakes. The English text stands in the code; the file repeats it as a key.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from autograder import settings
from autograder.authoring.answers import load_mistakes
from autograder.authoring.source import ENGLISH, LANGUAGES, load_source
from course_utils.language import Catalogue, Template

FILE = "messages.toml"
OWN_FILE = settings.PACKAGE / "judge" / FILE
KINDS = ("visible", "hidden", "hints")
# Functions of the judge whose text reaches the student; those of a topic are found by the names
# of their parameters.
SPEAKING = {"what", "message"}
JUDGE_FILES = ("checking.py", "explain.py", "by_reference.py", "student.py", "judge.py")
STUB_MESSAGE = "{name}: not implemented yet"
# Frames that the judge puts together in `explain.py` and, the last one, in `checking.py`.
FRAMES = (
    "not implemented yet",
    "your code raised {error}",
    "It looks like this mistake: {hints}",
    "or this: {hint}",
    "at {place}: {change}",
)
PLACE = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Message:
    """A message with places, as `Template`, and the kind of code that says it."""

    kind: str
    english: str
    places: tuple[str, ...] = ()
    translations: tuple[tuple[str, str], ...] = ()

    def template(self, language: str) -> Template:
        """Return the pair for a catalogue; without a translation it is empty."""
        return Template(self.english, self.places, dict(self.translations).get(language, ""))


def needed_messages(topic: str) -> list[Message]:
    """Return every message of the topic, in the order of the code, each once for its kind."""
    folder = settings.topic_folder(topic)
    visible = [cell.source for cell in load_source(topic).of_kind("check")]
    own = [*sorted(folder.glob("test_*.py")), *sorted(folder.glob("toys.py"))]
    hidden = [path.read_text(encoding="utf-8") for path in own]
    found = [
        *_messages("visible", visible),
        *_messages("hidden", hidden),
        *(Message("hints", mistake.hint) for mistake in load_mistakes(topic)),
    ]
    return list(dict.fromkeys(found))


def judge_messages() -> list[Message]:
    """Return what the judge itself says, whatever the topic."""
    folder = settings.PACKAGE / "judge"
    texts = [(folder / name).read_text(encoding="utf-8") for name in JUDGE_FILES]
    frames = [
        Message("judge", text, tuple(PLACE.findall(text))) for text in (STUB_MESSAGE, *FRAMES)
    ]
    return list(dict.fromkeys([*frames, *_messages("judge", texts, returned=True)]))


def load_messages(path: Path, needed: list[Message]) -> list[Message]:
    """Return the needed messages with the translations that stand in a file.

    Raises:
        ValueError: the file cannot be read, or an entry has no English text.
    """
    known: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    if path.is_file():
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            for kind, entries in content.items():
                for entry in entries:
                    english = entry.pop(ENGLISH)
                    known[kind, english] = tuple(entry.items())
        except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: {error}") from None
    return [
        replace(message, translations=known.get((message.kind, message.english), ()))
        for message in needed
    ]


def own_messages() -> list[Message]:
    """Return the judge's own messages with their translations."""
    return load_messages(OWN_FILE, judge_messages())


def topic_messages(topic: str) -> list[Message]:
    """Return the topic's messages with their translations."""
    return load_messages(settings.topic_folder(topic) / FILE, needed_messages(topic))


def update_messages(path: Path, needed: list[Message]) -> list[str]:
    """Write the file anew: new messages come in empty, those that nobody says go.

    Returns:
        One line for each translation that is missing or lacks a place.
    """
    messages = load_messages(path, needed)
    path.write_text(_as_toml(messages), encoding="utf-8")
    return problems(messages)


def update_topic(topic: str) -> list[str]:
    """Write the messages of a topic anew; see `update_messages`."""
    return update_messages(settings.topic_folder(topic) / FILE, needed_messages(topic))


def problems(messages: list[Message]) -> list[str]:
    """Return one line for each translation that is missing or lacks a place."""
    lines = []
    for message in messages:
        texts = dict(message.translations)
        for language in LANGUAGES:
            text = texts.get(language, "")
            if language == ENGLISH:
                continue
            if not text.strip():
                lines.append(f"{message.kind}: no {language} for {message.english!r}")
            lost = [place for place in message.places if place not in text]
            if text.strip() and lost:
                lost_places = ", ".join(lost)
                lines.append(f"{message.kind}: {language} lacks {lost_places}: {text!r}")
    return lines


def catalogue_entries(messages: list[Message]) -> list[dict[str, object]]:
    """Return messages as the plain records that `course_utils.language` reads."""
    return [
        {ENGLISH: m.english, "places": list(m.places), **dict(m.translations)} for m in messages
    ]


@lru_cache(maxsize=32)
def catalogue(topic: str, language: str) -> Catalogue:
    """Return all messages of a topic, the judge's too, for a feedback page."""
    return Catalogue(m.template(language) for m in [*topic_messages(topic), *own_messages()])


def _as_toml(messages: list[Message]) -> str:
    parts = []
    for message in messages:
        texts = {ENGLISH: message.english}
        given = dict(message.translations)
        texts |= {language: given.get(language, "") for language in LANGUAGES[1:]}
        lines = [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in texts.items()]
        parts.append("\n".join([f"[[{message.kind}]]", *lines, ""]))
    return "\n".join(parts)


def _messages(kind: str, texts: list[str], returned: bool = False) -> Iterator[Message]:
    """Yield what the code says; `returned` adds the texts that its functions return."""
    trees = [ast.parse(text) for text in texts]
    checking = ast.parse((settings.PACKAGE / "judge" / "checking.py").read_text(encoding="utf-8"))
    toys = ast.parse((settings.PACKAGE / "judge" / "toys.py").read_text(encoding="utf-8"))
    speakers = dict(_speakers([checking, toys, *trees]))
    for tree in trees:
        for node in ast.walk(tree):
            spoken_here = list(_spoken(node, speakers))
            if returned and isinstance(node, ast.Return) and node.value:
                spoken_here.append(node.value)
            for spoken in spoken_here:
                for english, places in _templates(spoken):
                    if any(letter.isalpha() for letter in _literal(english, places)):
                        yield Message(kind, english, places)


def _literal(english: str, places: tuple[str, ...]) -> str:
    for place in places:
        english = english.replace(place, "", 1)
    return english


def _speakers(trees: list[ast.Module]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield functions with parameters that students read, and the places of these."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = [a.arg for a in node.args.args if a.arg != "self"]
                yield node.name, {name: names.index(name) for name in names if name in SPEAKING}
            elif isinstance(node, ast.ClassDef):
                yield node.name, {"message": 0} if _is_error(node) else {}
    yield "AssertionError", {"message": 0}


def _is_error(node: ast.ClassDef) -> bool:
    return any(
        isinstance(base, ast.Name) and base.id.endswith(("Error", "Failure")) for base in node.bases
    )


def _spoken(node: ast.AST, speakers: dict[str, dict[str, int]]) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assert) and node.msg:
        yield node.msg
    elif isinstance(node, ast.For):
        yield from _looped(node)
    elif isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if names & SPEAKING:
            yield node.value
    elif isinstance(node, ast.Call):
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        for parameter, place in speakers.get(name, {}).items():
            if place < len(node.args):
                yield node.args[place]
            yield from (k.value for k in node.keywords if k.arg == parameter)


def _looped(loop: ast.For) -> Iterator[ast.expr]:
    """Yield what a loop's variable is in turn, where students read it: `for what in (...)`."""
    target, rows = loop.target, loop.iter
    if isinstance(rows, ast.Call) and getattr(rows.func, "id", "") == "enumerate":
        assert isinstance(target, ast.Tuple)
        target, rows = target.elts[1], rows.args[0]
    names = [getattr(part, "id", "") for part in getattr(target, "elts", [target])]
    for place in (place for place, name in enumerate(names) if name in SPEAKING):
        for row in getattr(rows, "elts", ()):
            yield row.elts[place] if isinstance(row, ast.Tuple) and len(names) > 1 else row


def _templates(node: ast.expr) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each text that an expression of literals can be, with its places."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, ()
    elif isinstance(node, ast.JoinedStr):
        text, places = "", []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                places.append("{" + ast.unparse(part.value) + "}")
                text += places[-1]
            elif isinstance(part, ast.Constant):
                text += str(part.value)
        yield text, tuple(places)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left, left_places in _templates(node.left):
            for right, right_places in _templates(node.right):
                yield left + right, (*left_places, *right_places)
    elif isinstance(node, ast.IfExp):
        yield from _templates(node.body)
        yield from _templates(node.orelse)
