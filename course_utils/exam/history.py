"""What was answered so far: one line of JSON for each answer, and scores made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

# An answer counts half as much as one that came this many answers later in its topic.
HALF_LIFE = 10


@dataclass(frozen=True)
class Entry:
    """One answer.

    Attributes:
        when: time with its zone, in ISO format.
        question: name of the question.
        variant: number of its set of numbers.
        topic: the question's topic.
        score: share of the points, from 0 to 1.
        mode: "practice" or "mock".
    """

    when: str
    question: str
    variant: int
    topic: str
    score: float
    mode: str

    @property
    def time(self) -> datetime:
        """The time of the answer."""
        return datetime.fromisoformat(self.when)


class History:
    """All answers, in a file to which one line is added at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = list(_read(path))

    def add(self, *entries: Entry) -> None:
        """Keep answers, in memory and in the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in entries)
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            # After a crash in the middle of a line, begin a new one.
            file.write("\n" + lines if torn and self.path.stat().st_size else lines)
        self.entries += entries

    def scores(self, topics: Iterable[str]) -> dict[str, tuple[float, int]]:
        """Return each topic's score, later answers counting more, and its number of answers.

        Topics without an answer are left out.
        """
        found = {}
        for topic in topics:
            shares = [entry.score for entry in self.entries if entry.topic == topic]
            if shares:
                found[topic] = (weighted_mean(shares), len(shares))
        return found

    def last(self, question: str) -> Entry | None:
        """Return the latest answer to a question; None if there is none."""
        return next((e for e in reversed(self.entries) if e.question == question), None)

    def times_asked(self, question: str) -> int:
        """Return how often a question was answered."""
        return sum(entry.question == question for entry in self.entries)


def weighted_mean(scores: list[float]) -> float:
    """Return the mean of scores in the order of time, later ones counting more."""
    weights = [0.5 ** ((len(scores) - 1 - n) / HALF_LIFE) for n in range(len(scores))]
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)


def _read(path: Path) -> Iterable[Entry]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            # A line that a crash cut off; the others are whole.
            continue
