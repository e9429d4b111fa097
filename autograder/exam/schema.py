r"""What a question of the exam practice must look like, and what a lecture's list of slides.

Texts are plain text with `code`, **bold**, LaTeX between \( and \), and <<name>> where a value
that a generator made goes. Nothing else is markup.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

KINDS = ("single", "several", "numeric", "ordering", "matching", "plot", "bug")
LANGUAGES = ("en", "zh")
CODE_LINES = 6
HIGHEST_DIFFICULTY = 3
PLACE = re.compile(r"<<(\w+)>>")
# A menu of choices shows plain text only.
MARKUP = re.compile(r"\\\(|`|\*\*")

Kind = Literal["single", "several", "numeric", "ordering", "matching", "plot", "bug"]
Words = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """A table that holds what is declared and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(Strict):
    """The same text in both languages."""

    en: Words
    zh: Words

    @field_validator("en", "zh")
    @classmethod
    def _is_tidy(cls, text: str) -> str:
        text = text.strip()
        if "$" in text:
            raise ValueError("a dollar sign would begin a formula; write \\( … \\)")
        if text.count("\\(") != text.count("\\)") or text.count("`") % 2:
            raise ValueError(f"a formula or code span is left open in {text!r}")
        return text

    @model_validator(mode="after")
    def _uses_the_same_values(self) -> Self:
        if set(PLACE.findall(self.en)) - set(PLACE.findall(self.zh)):
            missing = set(PLACE.findall(self.en)) - set(PLACE.findall(self.zh))
            raise ValueError(f"the Chinese text lacks <<{'>>, <<'.join(sorted(missing))}>>")
        return self


class Option(Text):
    """A choice; a wrong one says why it is wrong."""

    right: bool = False
    why: Text | None = None

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if not self.right and self.why is None:
            raise ValueError(f"option {self.en!r} is wrong and does not say why")
        return self


class Pair(Strict):
    """Two things that belong together."""

    left: Text
    right: Text


class Wrong(Strict):
    """A wrong number that people typically get, and what they did."""

    value: float | str
    why: Text


class Plot(Strict):
    """A picture: the name of a drawing in course_utils.exam.pictures, and its data."""

    drawing: str
    data: dict[str, Any]
    alt: Text


class Code(Strict):
    """Six lines of which one is wrong.

    `probe` is an expression that is true with the fix and false, or raises, without it.
    """

    lines: list[Words] = Field(min_length=CODE_LINES, max_length=CODE_LINES)
    wrong_line: int = Field(ge=1, le=CODE_LINES)
    fix: Words
    probe: Words
    # What each of the other lines does, in order: the reason why it is not the wrong one.
    whys: list[Text] = Field(min_length=CODE_LINES - 1, max_length=CODE_LINES - 1)


class Question(Strict):
    """One question, or one recipe for many when it names a generator."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]+$")
    slide: Words
    kind: Kind
    difficulty: int = Field(ge=1, le=HIGHEST_DIFFICULTY)
    minutes: int = Field(ge=1, le=10)
    generator: str = ""
    prompt: Text
    solution: Text
    options: list[Option] = []
    answer: float | list[float] | str | None = None
    decimals: int = Field(0, ge=0, le=6)
    tolerance: float | None = Field(None, ge=0)
    unit: Text | None = None
    wrong: list[Wrong] = []
    items: list[Text] = []
    pairs: list[Pair] = []
    extras: list[Text] = []
    plot: Plot | None = None
    code: Code | None = None

    @property
    def is_number(self) -> bool:
        """Tell whether the answer is one number or several."""
        return self.answer is not None

    @property
    def slack(self) -> float:
        """How far an answer may be off: the tolerance, or else one and a half of the last place."""
        if self.tolerance is not None:
            return self.tolerance
        return 1.5 * 10**-self.decimals if self.decimals else 0.0

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        has = {
            "options": bool(self.options),
            "answer": self.answer is not None,
            "items": bool(self.items),
            "pairs": bool(self.pairs),
            "code": self.code is not None,
            "plot": self.plot is not None,
        }
        needs = {
            "single": {"options"},
            "several": {"options"},
            "numeric": {"answer"},
            "ordering": {"items"},
            "matching": {"pairs"},
            "bug": {"code"},
            "plot": {"plot", "answer"} if self.is_number else {"plot", "options"},
        }[self.kind]
        if (found := {name for name, there in has.items() if there}) != needs:
            raise ValueError(f"{self.id}: {self.kind} needs {sorted(needs)}, has {sorted(found)}")
        if problem := self._problem():
            raise ValueError(f"{self.id}: {problem}")
        return self

    def _problem(self) -> str:
        right = sum(option.right for option in self.options)
        if self.options and not 3 <= len(self.options) <= 6:
            return "three to six options"
        if self.kind in ("single", "plot") and self.options and right != 1:
            return f"{right} right options instead of one"
        if self.kind == "several" and not 1 < right < len(self.options):
            return "several: at least two right options and one wrong one"
        if self.items and not 3 <= len(self.items) <= 6:
            return "ordering: three to six items"
        if self.pairs and not 3 <= len(self.pairs) <= 6:
            return "matching: three to six pairs"
        menus = [*self.items, *(text for p in self.pairs for text in (p.left, p.right))]
        for text in [*menus, *self.extras]:
            if MARKUP.search(text.en + text.zh):
                return f"no formula or code in a menu: {text.en!r}"
        if (self.wrong or self.unit) and not self.is_number:
            return "wrong values and a unit go with a number"
        if isinstance(self.answer, str) and not PLACE.fullmatch(self.answer):
            return "answer is a number, several numbers, or one <<name>>"
        return ""


class QuestionFile(Strict):
    """A file of questions; its name is the topic."""

    question: list[Question]


class LectureTopic(Strict):
    """A part of the lecture with its slides and its share of the exam in per cent."""

    name: str
    title: Text
    weight: int = Field(ge=1)
    slides: list[Words] = Field(min_length=1)


class Unasked(Strict):
    """A slide without questions, and why."""

    slide: str
    why: str


class Lecture(Strict):
    """The lecture's topics and slides."""

    topic: list[LectureTopic]
    without_questions: list[Unasked] = []

    @property
    def slides(self) -> dict[str, str]:
        """The topic of each slide that has questions, by the slide's title."""
        return {slide: topic.name for topic in self.topic for slide in topic.slides}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if (total := sum(topic.weight for topic in self.topic)) != 100:
            raise ValueError(f"the weights add up to {total}, not to 100")
        titles = [slide for topic in self.topic for slide in topic.slides]
        titles += [unasked.slide for unasked in self.without_questions]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return self
