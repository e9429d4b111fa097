"""History and spaced repetition: what comes next, and what outlives a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from course_utils.exam.history import Entry, History, weighted_mean
from course_utils.exam.items import Bank
from course_utils.exam.scheduling import Deck, next_item, weak_topics
from course_utils.storage import read_json, write_json

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def entry(question: str, topic: str, score: float, variant: int = 0) -> Entry:
    return Entry(NOW.isoformat(), question, variant, topic, score, "practice")


def test_a_wrong_answer_comes_back_sooner_than_a_right_one(tmp_path: Path) -> None:
    deck = Deck(tmp_path / "cards.json", fuzz=False)
    gaps = {score: deck.review(f"q{score}", score, NOW) - NOW for score in (0.0, 0.6, 1.0)}
    assert gaps[0.0] < gaps[0.6] < gaps[1.0]
    assert gaps[0.0] <= timedelta(minutes=5)
    for _ in range(3):
        due = deck.review("q1.0", 1.0, deck.cards["q1.0"].due)
    assert due - NOW > timedelta(days=3)


def test_the_deck_is_kept(tmp_path: Path) -> None:
    first = Deck(tmp_path / "cards.json", fuzz=False)
    first.review("a", 0.0, NOW)
    first.review("b", 1.0, NOW)
    again = Deck(tmp_path / "cards.json", fuzz=False)
    assert again.cards == first.cards
    assert again.due(NOW) == []
    assert again.due(NOW + timedelta(minutes=2)) == ["a"]


def test_what_is_due_comes_first_and_with_other_numbers(bank: Bank, tmp_path: Path) -> None:
    history, deck = History(tmp_path / "history.jsonl"), Deck(tmp_path / "cards.json")
    history.add(entry("temperature_two", "knowledge_distillation", 0.0, 5))
    deck.review("temperature_two", 0.0, NOW)
    later = NOW + timedelta(hours=1)
    for seed in range(300):
        item = next_item(bank, history, deck, rng=Random(seed), now=later)
        assert item.question.id == "temperature_two"
        assert item.variant != 5
    other = next_item(bank, history, deck, "network_pruning", Random(1), later)
    assert other.question.topic == "network_pruning"


def test_weak_topics_are_practised_first(bank: Bank, tmp_path: Path) -> None:
    history, deck = History(tmp_path / "history.jsonl"), Deck(tmp_path / "cards.json")
    for topic in bank.topics:
        name = bank.of_topic(topic)[0].id
        score = 0.1 if topic == "weight_clustering" else 0.9
        history.add(entry(name, topic, score))
        deck.review(name, 1.0, NOW)
    assert weak_topics(bank, history)[0] == "weight_clustering"
    assert next_item(bank, history, deck, rng=Random(2), now=NOW).question.topic == (
        "weight_clustering"
    )


def test_new_questions_come_easy_ones_first_until_all_were_asked(
    bank: Bank, tmp_path: Path
) -> None:
    history, deck = History(tmp_path / "h"), Deck(tmp_path / "cards.json", fuzz=False)
    topic = "quantization_aware_training"
    asked = []
    for _ in range(len(bank.of_topic(topic)) + 1):
        item = next_item(bank, history, deck, topic, Random(1), NOW)
        asked.append(item.question)
        deck.review(item.question.id, 1.0, NOW)
    difficulties = [question.difficulty for question in asked[:-1]]
    assert difficulties == sorted(difficulties)
    assert len({question.id for question in asked[:-1]}) == len(bank.of_topic(topic))


def test_history_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.add(entry("a", "t", 1.0), entry("b", "t", 0.0))
    path.write_text(path.read_text(encoding="utf-8") + '{"when": "2026', encoding="utf-8")
    again = History(path)
    assert again.entries == history.entries
    again.add(entry("c", "t", 0.5))
    assert [one.question for one in History(path).entries] == ["a", "b", "c"]


def test_later_answers_count_more() -> None:
    assert weighted_mean([0.0] * 10 + [1.0] * 10) == pytest.approx(2 / 3)
    assert weighted_mean([1.0]) == 1.0
    assert weighted_mean([1.0, 0.0]) < 0.5


def test_a_broken_file_is_put_aside_and_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "cards.json"
    path.write_text("{ broken", encoding="utf-8")
    assert read_json(path, {}) == {}
    assert (tmp_path / "cards.broken").read_text(encoding="utf-8") == "{ broken"
    write_json(path, {"a": 1})
    assert read_json(path, {}) == {"a": 1}


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"not": object()})
    assert read_json(path, None) == [1]
    assert list(tmp_path.iterdir()) == [path]
