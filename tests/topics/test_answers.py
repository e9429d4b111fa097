"""The checks as a classifier: every known mistake is rejected and named, every right answer passes.

All of this code is the project's own, so the answers of a topic share one sandbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from autograder.authoring.answers import load_alternatives, load_mistakes
from autograder.authoring.source import load_source
from autograder.judge.known_answers import judge_answer, misjudged
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.zygote import Zygote
from autograder.settings import topic_names

pytestmark = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")

FEWEST_MISTAKES = 4
FEWEST_ALTERNATIVES = 2


def answers_of(load) -> list:
    return [
        pytest.param(
            topic,
            answer,
            id=f"{topic}-{answer.full_name}",
            marks=[pytest.mark.slow] if answer.slow else [],
        )
        for topic in topic_names()
        for answer in load(topic)
    ]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    opened = Zygote()
    yield opened
    opened.close()


@pytest.mark.parametrize(("topic", "mistake"), answers_of(load_mistakes))
def test_a_mistake_is_rejected_and_named(topic, mistake, zygote):
    assert misjudged(mistake, judge_answer(topic, mistake, zygote)) == ""


@pytest.mark.parametrize(("topic", "alternative"), answers_of(load_alternatives))
def test_a_different_right_answer_is_accepted(topic, alternative, zygote):
    assert misjudged(alternative, judge_answer(topic, alternative, zygote)) == ""


@pytest.mark.parametrize("topic", topic_names())
def test_every_exercise_has_enough_of_both(topic):
    exercises = {exercise.name for exercise in load_source(topic).exercises}
    mistakes = Counter(answer.exercise for answer in load_mistakes(topic))
    alternatives = Counter(answer.exercise for answer in load_alternatives(topic))
    assert {name for name in exercises if mistakes[name] < FEWEST_MISTAKES} == set()
    assert {name for name in exercises if alternatives[name] < FEWEST_ALTERNATIVES} == set()
