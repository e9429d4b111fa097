"""Known wrong and known right answers: the files in `mistakes/` and `alternatives/` of a topic.

    @mistake("apoz", caught_by="test_counts_zeros", hint="counts what is not zero")
    def apoz__nonzeros(activations): ...

The part of the name after `__` names the mistake. The source text with that part removed is what
would stand in the answer cell. Only this text is used, so helpers go inside the function.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from autograder import settings
from autograder.authoring.reference import load_reference, run_text
from autograder.authoring.source import load_source

Definition = TypeVar("Definition", bound=Callable[..., Any])
SEPARATOR = "__"
RECORD = "__answer__"
DECLARATIONS = ("mistake(", "alternative(")


@dataclass(frozen=True)
class Answer:
    """An answer that a student could give.

    Attributes:
        exercise: name of the exercise that it answers.
        name: what distinguishes it, the part after `__`.
        source: text for the answer cell.
        slow: judging it takes long; `make test-all` does it, `make test` does not.
    """

    exercise: str
    name: str
    source: str
    slow: bool = field(default=False, kw_only=True)

    @property
    def full_name(self) -> str:
        """Name in the file: exercise, two underscores, name."""
        return f"{self.exercise}{SEPARATOR}{self.name}"


@dataclass(frozen=True)
class Mistake(Answer):
    """A wrong answer that students really give.

    Attributes:
        hint: what is wrong, for the student.
        caught_by: name of the check that must fail.
        replay: the judge may run it to recognise the mistake; False where that takes long.
    """

    hint: str
    caught_by: str
    replay: bool = field(default=True)


@dataclass(frozen=True)
class Alternative(Answer):
    """A right answer that differs from the reference; every check must accept it."""


def mistake(
    exercise: str, *, caught_by: str, hint: str, replay: bool = True, slow: bool = False
) -> Callable[[Definition], Definition]:
    """Declare a function or class to be a typical wrong answer; see `Mistake`."""
    details = {"hint": hint, "caught_by": caught_by, "replay": replay, "slow": slow}
    return _declare(Mistake, exercise, details)


def alternative(exercise: str, *, slow: bool = False) -> Callable[[Definition], Definition]:
    """Declare a function or class to be a different right answer; see `Alternative`."""
    return _declare(Alternative, exercise, {"slow": slow})


def _declare(
    kind: type[Answer], exercise: str, details: dict[str, Any]
) -> Callable[[Definition], Definition]:
    def decorate(definition: Definition) -> Definition:
        setattr(definition, RECORD, (kind, exercise, details))
        return definition

    return decorate


def load_mistakes(topic: str) -> list[Mistake]:
    """Return the topic's mistakes file by file; none without files.

    Raises:
        ValueError: a name does not begin with an exercise's name, or comes twice.
    """
    return [answer for answer in _load(topic, "mistakes") if isinstance(answer, Mistake)]


def load_alternatives(topic: str) -> list[Alternative]:
    """Return the topic's alternatives file by file; none without files.

    Raises:
        ValueError: a name does not begin with an exercise's name, or comes twice.
    """
    return [a for a in _load(topic, "alternatives") if isinstance(a, Alternative)]


def as_function(answer: Answer, topic: str) -> Any:
    """Return the function or class of an answer.

    It is run in a copy of the reference's namespace, so it sees the define cells' names and the
    reference solutions of the other exercises.

    Raises:
        Exception: whatever running the definition raises.
    """
    namespace = dict(vars(load_reference(topic)))
    run_text(answer.source, f"<{topic}: {answer.full_name}>", namespace)
    return namespace[answer.exercise]


def _load(topic: str, kind: str) -> list[Answer]:
    answers: list[Answer] = []
    for path in sorted((settings.topic_folder(topic) / kind).glob("*.py")):
        for answer in _read(topic, path, path.stat().st_mtime_ns):
            if any(answer.full_name == known.full_name for known in answers):
                raise ValueError(f"{topic}/{kind}/{path.name}: {answer.full_name} is there twice")
            answers.append(answer)
    return answers


@lru_cache(maxsize=128)
def _read(topic: str, path: Path, _changed: int) -> tuple[Answer, ...]:
    text = path.read_text(encoding="utf-8")
    # The file's own imports may be few: names of the define cells are there already.
    namespace = {**vars(load_reference(topic)), "__name__": f"{path.stem}_of_{topic}"}
    run_text(text, str(path), namespace)
    exercises = {exercise.name for exercise in load_source(topic).exercises}
    answers: list[Answer] = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        record = vars(namespace[node.name]).get(RECORD)
        if record is None:
            continue
        kind, exercise, details = record
        place = f"{topic}/{path.parent.name}/{path.name}, line {node.lineno}: {node.name}"
        name = node.name.removeprefix(f"{exercise}{SEPARATOR}")
        if exercise not in exercises:
            raise ValueError(f"{place} answers {exercise!r}, which is no exercise of the topic")
        if name in (node.name, ""):
            raise ValueError(f"{place} must be called {exercise}{SEPARATOR}…")
        source = re.sub(rf"\b{re.escape(node.name)}\b", exercise, _source_text(text, node))
        answers.append(kind(exercise=exercise, name=name, source=source, **details))
    return tuple(answers)


def _source_text(text: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return the definition's text, with its decorators except the declaration itself."""
    decorators = [
        ast.get_source_segment(text, decorator) or "" for decorator in node.decorator_list
    ]
    kept = [f"@{part}" for part in decorators if not part.startswith(DECLARATIONS)]
    return "\n".join([*kept, ast.get_source_segment(text, node) or ""])
