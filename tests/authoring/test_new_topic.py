"""A new topic builds, grades and passes the tests of every topic, before anything is changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder import settings
from autograder.authoring import messages as spoken
from autograder.authoring.answers import load_alternatives, load_mistakes
from autograder.authoring.build import build_topic, stale
from autograder.authoring.new_topic import make_topic
from autograder.authoring.source import LANGUAGES, load_source
from autograder.judge.judge import judge
from autograder.judge.submission import reference_submission, untouched_submission
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.zygote import Zygote

TOPIC = "low_rank"
EXERCISE = f"{TOPIC}_zeros"


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setattr(settings, "TOPICS", tmp_path / "topics")
    monkeypatch.setattr(settings, "MESSAGES", tmp_path / "messages")
    make_topic(TOPIC)
    return TOPIC


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    if problem := sandbox_problem():
        pytest.skip(problem)
    opened = Zygote()
    yield opened
    opened.close()


def test_it_builds_in_all_languages(topic: str) -> None:
    source = load_source(topic)
    assert (source.number, source.title, source.languages) == (1, "Low rank", LANGUAGES)
    assert all(cell.is_code or dict(cell.twins) for cell in source.cells)
    assert len(build_topic(topic)) == 4
    assert stale(topic) == []
    assert spoken.problems(spoken.topic_messages(topic)) == []


def test_it_grades(topic: str, zygote: Zygote) -> None:
    source = load_source(topic)
    whole = judge(reference_submission(source), source, zygote=zygote)
    assert whole.points == whole.max_points == 4, whole
    assert judge(untouched_submission(source), source, zygote=zygote).points == 0
    mistakes, alternatives = load_mistakes(topic), load_alternatives(topic)
    assert len(mistakes) >= 4
    assert len(alternatives) >= 2
    for answer in [*mistakes, *alternatives]:
        submission = reference_submission(source)
        submission.answers[EXERCISE] = answer.source
        verdict = judge(submission, source, zygote=zygote)
        checks = {check.name: check for check in verdict.exercise(EXERCISE).checks}
        if answer in alternatives:
            assert verdict.points == verdict.max_points, answer.name
        else:
            assert not checks[answer.caught_by].passed, answer.name
            assert answer.hint in checks[answer.caught_by].message


def test_the_second_topic_gets_the_next_number(topic: str) -> None:
    make_topic("other", "Another title")
    source = load_source("other")
    assert (source.number, source.title) == (2, "Another title")


@pytest.mark.parametrize(
    ("name", "number", "complaint"),
    [
        ("Low rank", 0, "small letters"),
        ("../evil", 0, "small letters"),
        (TOPIC, 0, "already"),
        ("other", 1, "low_rank is notebook 1"),
    ],
)
def test_bad_names_are_refused(topic: str, name: str, number: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_topic(name, number=number)
