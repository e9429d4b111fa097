"""What to practise next: spaced repetition by FSRS, new questions, and weak topics.

FSRS: Free Spaced Repetition Scheduler, https://github.com/open-spaced-repetition/py-fsrs. A
question is a card; a generated one comes with other numbers each time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from fsrs import Card, Rating, Scheduler

from course_utils.exam.history import History
from course_utils.exam.items import Bank, Item, Question
from course_utils.storage import read_json, write_json

HALF_RIGHT = 0.5
RIGHT = 0.999
# A topic without answers counts as this weak: it is practised before one that went well.
UNKNOWN_SCORE = 0.4


def rating_of(score: float) -> Rating:
    """Return what an answer means for the schedule: right, partly right, or to be learnt again."""
    if score >= RIGHT:
        return Rating.Good
    return Rating.Hard if score >= HALF_RIGHT else Rating.Again


class Deck:
    """One card for each question that was answered, kept in a file."""

    def __init__(self, path: Path, fuzz: bool = True) -> None:
        self.path = path
        self.scheduler = Scheduler(enable_fuzzing=fuzz)
        stored: dict[str, Any] = read_json(path, {})
        self.cards: dict[str, Card] = {}
        for name, card in stored.items():
            self.cards[name] = Card.from_dict(card)

    def review(self, question: str, score: float, now: datetime | None = None) -> datetime:
        """Note an answer, and return when the question is due again."""
        now = now or datetime.now(UTC)
        card = self.cards.get(question) or Card(card_id=len(self.cards) + 1)
        card, _ = self.scheduler.review_card(card, rating_of(score), now)
        self.cards[question] = card
        write_json(self.path, {name: card.to_dict() for name, card in self.cards.items()})
        return card.due

    def due(self, now: datetime | None = None) -> list[str]:
        """Return the questions that are due, the longest due first."""
        now = now or datetime.now(UTC)
        due = [(card.due, name) for name, card in self.cards.items() if card.due <= now]
        return [name for _, name in sorted(due)]


def weak_topics(bank: Bank, history: History) -> list[str]:
    """Return the topics, the weakest first; a topic without answers counts as rather weak."""
    scores = history.scores(bank.topics)
    return sorted(bank.topics, key=lambda topic: scores.get(topic, (UNKNOWN_SCORE, 0))[0])


def next_item(
    bank: Bank,
    history: History,
    deck: Deck,
    topic: str = "",
    rng: Random | None = None,
    now: datetime | None = None,
) -> Item:
    """Return what to practise next.

    Due questions come first. Then come questions never asked, easy ones first; in weakness
    practice those of the weakest topics. When all were asked, the one that is due soonest comes.

    Args:
        bank: all questions.
        history: what was answered.
        deck: the cards.
        topic: name of a topic; empty for all, by weakness.
        rng: chooses among equals, and the numbers.
        now: the time, for tests.
    """
    rng = rng or Random()
    allowed = {question.id: question for question in bank.of_topic(topic)}
    due = [name for name in deck.due(now) if name in allowed]
    if due:
        return _with_new_numbers(bank, history, allowed[due[0]], rng)
    new = [question for question in allowed.values() if question.id not in deck.cards]
    if new:
        order = weak_topics(bank, history)
        ranks = {name: place for place, name in enumerate(order)}
        # The last question asked says which topic was just practised: take turns among weak ones.
        recent = [entry.topic for entry in history.entries[-2:]]
        tired = {name: recent.count(name) for name in order}
        best = min(new, key=lambda q: _rank(q, ranks, tired, rng))
        return _with_new_numbers(bank, history, best, rng)
    soonest = min(allowed, key=lambda name: deck.cards[name].due)
    return _with_new_numbers(bank, history, allowed[soonest], rng)


def _rank(
    question: Question, ranks: dict[str, int], tired: dict[str, int], rng: Random
) -> tuple[float, int, float]:
    place = ranks[question.topic] + 2 * tired[question.topic]
    return (place, question.difficulty, rng.random())


def _with_new_numbers(bank: Bank, history: History, question: Question, rng: Random) -> Item:
    last = history.last(question.id)
    variant = rng.randrange(question.variants)
    if last is not None and variant == last.variant % question.variants:
        variant += 1
    return bank.item(question.id, variant)
