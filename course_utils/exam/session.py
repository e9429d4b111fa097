"""A mock exam: chosen by the exam's weights, timed, paused and resumed, kept after every answer.

Time runs only while the exam is open: what lies between the last tick before a kernel stops and
the resume afterwards does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from course_utils.exam.items import Bank, Item, Question
from course_utils.exam.marking import Mark, mark
from course_utils.storage import read_json, write_json

EXAM_MINUTES = 120
# Part of the time is for reading and for looking everything over once more.
SHARE_TO_FILL = 0.9
# A jump of the clock beyond this was a sleeping machine, not a thinking student.
LONGEST_TICK = 120.0
VERSION = 1

Clock = Callable[[], float]


@dataclass
class State:
    """Everything about a mock exam that is kept in its file.

    Attributes:
        seed: chose the questions, and the order of their options.
        minutes: length of the exam.
        questions: (name, variant) in the exam's order.
        answers: by position, as text keys so that JSON keeps them.
        position: the question that is shown.
        elapsed: seconds used.
        paused: whether the time stands still.
        finished: whether the exam is over.
        counted: whether its answers are in the history.
    """

    seed: str
    minutes: int
    questions: list[tuple[str, int]]
    answers: dict[str, Any] = field(default_factory=dict)
    position: int = 0
    elapsed: float = 0.0
    paused: bool = False
    finished: bool = False
    counted: bool = False
    version: int = VERSION


def choose_questions(bank: Bank, minutes: int, seed: str) -> list[tuple[str, int]]:
    """Choose questions whose minutes fill the exam, shared out by the topics' weights.

    Args:
        bank: all questions.
        minutes: length of the exam, 5 or more.
        seed: the same seed chooses the same questions.

    Raises:
        ValueError: the exam is too short.
    """
    if minutes < 5:
        raise ValueError(f"minutes must be 5 or more, got {minutes}")
    rng = Random(f"exam/{seed}")
    target = minutes * SHARE_TO_FILL
    pools = {topic: _shuffled(bank.of_topic(topic), rng) for topic in bank.topics}
    used = dict.fromkeys(pools, 0.0)
    chosen: list[Question] = []
    while any(pools.values()):
        left = target - sum(used.values())
        open_topics = [t for t, pool in pools.items() if any(q.minutes <= left for q in pool)]
        if not open_topics:
            break
        # The topic that is farthest behind its share comes next.
        topic = max(open_topics, key=lambda t: bank.topics[t]["weight"] / 100 * target - used[t])
        question = _best(pools[topic], chosen, left)
        pools[topic].remove(question)
        chosen.append(question)
        used[topic] += question.minutes
    chosen.sort(key=lambda question: list(bank.topics).index(question.topic))
    return [(question.id, rng.randrange(question.variants)) for question in chosen]


def _shuffled(questions: list[Question], rng: Random) -> list[Question]:
    rng.shuffle(questions)
    return questions


def _best(pool: list[Question], chosen: list[Question], left: float) -> Question:
    """Take a question whose slide and kind were asked least so far."""
    slides = [question.slide for question in chosen]
    kinds = [question.kind for question in chosen]
    fitting = [question for question in pool if question.minutes <= left]
    return min(fitting, key=lambda q: (slides.count(q.slide), kinds.count(q.kind)))


class MockExam:
    """A mock exam under way, or over."""

    def __init__(
        self, bank: Bank, state: State, path: Path | None = None, clock: Clock = time.monotonic
    ) -> None:
        self.bank = bank
        self.state = state
        self.path = path
        self._clock = clock
        self._ticked = clock()

    @classmethod
    def start(
        cls, bank: Bank, minutes: int, seed: str, path: Path, clock: Clock = time.monotonic
    ) -> MockExam:
        """Begin a new exam, in place of one that may be in the file."""
        exam = cls(bank, State(seed, minutes, choose_questions(bank, minutes, seed)), path, clock)
        exam.save()
        return exam

    @classmethod
    def resume(cls, bank: Bank, path: Path, clock: Clock = time.monotonic) -> MockExam | None:
        """Return the exam that is in the file, paused; None without one.

        An exam of another version, or with a question that is gone, cannot go on.
        """
        data = read_json(path, None)
        try:
            state = State(**data)
            state.questions = [(str(name), int(variant)) for name, variant in state.questions]
        except (TypeError, ValueError):
            return None
        known = all(name in bank.questions for name, _ in state.questions)
        if state.version != VERSION or not known or not state.questions:
            return None
        state.paused = not state.finished
        return cls(bank, state, path, clock)

    @property
    def items(self) -> list[Item]:
        """The questions, in the exam's order."""
        return [self.bank.item(name, variant) for name, variant in self.state.questions]

    @property
    def item(self) -> Item:
        """The question that is shown."""
        return self.bank.item(*self.state.questions[self.state.position])

    @property
    def answer(self) -> Any:
        """The answer to the question that is shown; None without one."""
        return self.state.answers.get(str(self.state.position))

    @property
    def seconds_left(self) -> float:
        """How much time is left; 0 when it is up."""
        return max(self.state.minutes * 60 - self.state.elapsed, 0.0)

    def tick(self) -> bool:
        """Let the time pass that went by; return whether the exam is over."""
        now = self._clock()
        passed, self._ticked = now - self._ticked, now
        if not self.state.paused and not self.state.finished:
            self.state.elapsed += min(max(passed, 0.0), LONGEST_TICK)
            if self.seconds_left == 0.0:
                self.finish()
        return self.state.finished

    def give(self, answer: Any) -> None:
        """Keep the answer to the question that is shown. Nothing is said about it.

        Raises:
            RuntimeError: the exam is over, or paused.
        """
        if self.tick() or self.state.paused:
            raise RuntimeError("the exam is over" if self.state.finished else "it is paused")
        self.state.answers[str(self.state.position)] = answer
        self.save()

    def go_to(self, position: int) -> None:
        """Show another question; positions beyond the ends are the ends."""
        self.tick()
        self.state.position = min(max(position, 0), len(self.state.questions) - 1)
        self.save()

    def pause(self) -> None:
        """Stop the time."""
        self.tick()
        self.state.paused = True
        self.save()

    def go_on(self) -> None:
        """Let the time run again."""
        self.tick()
        self.state.paused = False
        self.save()

    def finish(self) -> None:
        """End the exam; from now on it can be marked."""
        self.state.finished = True
        self.state.paused = False
        self.save()

    def save(self) -> None:
        """Write the state to its file."""
        if self.path is not None:
            write_json(self.path, asdict(self.state))

    def marks(self, language: str = "en") -> list[Mark]:
        """Return the mark of every question.

        Raises:
            RuntimeError: the exam is not over; no answer is shown before.
        """
        if not self.state.finished:
            raise RuntimeError("the exam is not over yet")
        answers = self.state.answers
        return [mark(item, answers.get(str(n)), language) for n, item in enumerate(self.items)]

    def result(self) -> Result:
        """Return the points, in all and by topic; a question is worth its minutes."""
        earned: dict[str, float] = {}
        most: dict[str, float] = {}
        for item, one in zip(self.items, self.marks(), strict=True):
            topic, points = item.question.topic, item.question.minutes
            earned[topic] = earned.get(topic, 0.0) + one.score * points
            most[topic] = most.get(topic, 0.0) + points
        counts = [item.question.topic for item in self.items]
        scores = {topic: (earned[topic] / most[topic], counts.count(topic)) for topic in most}
        return Result(sum(earned.values()), sum(most.values()), scores)


@dataclass(frozen=True)
class Result:
    """What a mock exam came to.

    Attributes:
        points: earned.
        most: that could be earned.
        topics: by topic: share of its points, and number of its questions.
    """

    points: float
    most: float
    topics: dict[str, tuple[float, int]]

    @property
    def percent(self) -> float:
        """The mark, from 0 to 100."""
        return 100 * self.points / self.most
