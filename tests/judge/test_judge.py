"""From a submission to points: gates, partial credit, named mistakes, and cells that misbehave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autograder import settings
from autograder.authoring.source import load_source
from autograder.judge.judge import judge, judge_submission
from autograder.judge.submission import (
    AddedCell,
    Submission,
    reference_submission,
    untouched_submission,
)
from autograder.judge.verdict import Verdict
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.session import Session
from autograder.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")

SAMPLE = "sample_topic"


@pytest.fixture(autouse=True)
def sample_course(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sample topic be the only one."""
    monkeypatch.setattr(settings, "TOPICS", Path(__file__).parent)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    opened = Zygote()
    yield opened
    opened.close()


def submission(*added: AddedCell, **answers: str) -> Submission:
    made = reference_submission(load_source(SAMPLE))
    made.answers |= answers
    made.added += added
    return made


def points(verdict: Verdict) -> dict[str, float]:
    return {exercise.name: exercise.points for exercise in verdict.exercises}


def judged(made: Submission, zygote: Zygote) -> Verdict:
    return judge(made, load_source(SAMPLE), zygote=zygote)


def test_the_reference_gets_all_points(zygote):
    verdict = judged(submission(), zygote)
    assert points(verdict) == {"halve": 3, "quarter": 2}
    assert not verdict.needs_review
    assert verdict.problems == []


def test_an_untouched_notebook_gets_none_and_says_why(zygote):
    verdict = judged(untouched_submission(load_source(SAMPLE)), zygote)
    assert points(verdict) == {"halve": 0, "quarter": 0}
    gate = verdict.exercise("halve").checks[0]
    assert gate.message == "not implemented yet"
    assert not verdict.needs_review


def test_a_failed_check_costs_its_share(zygote):
    verdict = judged(submission(halve="def halve(x):\n    return x / 2"), zygote)
    assert points(verdict) == {"halve": 2, "quarter": 2}


def test_a_failed_gate_costs_the_exercise_and_its_other_checks_are_not_run(zygote):
    verdict = judged(submission(halve="def halve(x):\n    return 2 * x"), zygote)
    exercise = verdict.exercise("halve")
    assert exercise.points == 0
    assert [check.passed for check in exercise.checks] == [False, False, False]
    assert "doubles instead of halving" in exercise.checks[0].message
    assert exercise.checks[0].mistake == "doubled"
    assert "not run" in exercise.checks[1].message


def test_a_mistake_that_the_check_names_has_its_hint(zygote):
    verdict = judged(submission(halve="def halve(x):\n    return x.div_(2)"), zygote)
    assert "changes x itself" in "".join(c.message for c in verdict.exercise("halve").checks)


@pytest.mark.parametrize(
    "answer",
    [
        "import os; os._exit(0)",
        "while True: pass",
        "def quarter(x):\n    import os\n    os._exit(0)",
        "def quarter(x):\n    return 'x / 4'",
        "def quarter(x):\n    return None",
        "def quarter(x:",
        "quarter = 3",
        "print('points: 2/2')",
        "def quarter(x):\n    class Always:\n        def __eq__(self, other): return True\n"
        "    return Always()",
        "import torch\ntorch.allclose = lambda *a, **k: True\ndef quarter(x):\n    return x",
        "import sys\nsys.modules['pytest'] = None\nraise SystemExit(0)",
        "def quarter(x):\n    return x / 4 * float('nan')",
        "def quarter(x):\n    raise BaseException('\\x1b[31m<script>')",
    ],
)
def test_an_answer_that_earns_nothing_costs_only_itself(answer, zygote):
    verdict = judged(submission(quarter=answer), zygote)
    assert points(verdict) == {"halve": 3, "quarter": 0}
    assert "\x1b" not in verdict.model_dump_json()


def test_a_missing_answer_is_said(zygote):
    made = submission()
    del made.answers["quarter"]
    verdict = judged(made, zygote)
    assert points(verdict) == {"halve": 3, "quarter": 0}
    assert "no answer" in verdict.exercise("quarter").message


def test_an_answer_may_use_a_cell_of_its_own(zygote):
    added = AddedCell("TWO = 2\ndef two():\n    return TWO", after="define-1")
    verdict = judged(submission(added, halve="def halve(x):\n    return x / two()"), zygote)
    assert verdict.exercise("halve").points == 2
    assert verdict.mode == "definitions"


def test_an_answer_that_needs_an_experiment_has_the_whole_notebook_run(zygote):
    answer = "def quarter(x):\n    return halve(x) / helper_value"
    verdict = judged(submission(quarter=answer), zygote)
    assert points(verdict) == {"halve": 3, "quarter": 2}
    assert verdict.mode == "whole notebook"
    assert any("helper_value" in problem for problem in verdict.problems)


def decided(verdict: Verdict) -> object:
    """The verdict without what a clock or a memory gauge says."""
    data = verdict.model_dump(exclude={"seconds": True, "peak_memory": True})
    for exercise in data["exercises"]:
        for check in exercise["checks"]:
            del check["seconds"]
    return data


def test_the_courses_data_is_not_there_elsewhere(zygote):
    peeks = """
def quarter(x):
    from pathlib import Path
    import course_utils.data
    here = Path(course_utils.data.__file__).parents[1] / "data"
    return x / 4 if here.exists() else x
"""
    verdict = judged(submission(quarter=peeks), zygote)
    failed = [check.name for check in verdict.exercise("quarter").checks if not check.passed]
    assert failed == ["test_quarters_elsewhere"]


def test_code_counts_and_goes_on_the_board(zygote):
    small = judged(submission(), zygote).board["code bytes"]
    weights = ", ".join(str(i * 7919 % 1000) for i in range(500))
    cell = AddedCell(source=f"WEIGHTS = [{weights}]", after="quarter")
    large = judged(submission(cell), zygote).board["code bytes"]
    assert 0 < small < 300
    assert large > small + 500


def test_the_same_submission_gets_the_same_verdict(zygote):
    made = submission(halve="def halve(x):\n    return x / 2 + 1e-3")
    first, second = judged(made, zygote), judged(made, zygote)
    assert decided(first) == decided(second)
    assert first.identity["submission"] == made.content_hash
    assert first.identity["seed"] != judged(submission(), zygote).identity["seed"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", json.dumps({"cells": "x"}), "\x00" * 9])
def test_a_broken_file_gets_no_points_and_a_review(content, tmp_path):
    path = tmp_path / "8_sample_topic.ipynb"
    if content is not None:
        path.write_text(content)
    verdict = judge_submission(path, SAMPLE, "ada")
    assert points(verdict) == {"halve": 0, "quarter": 0}
    assert verdict.needs_review
    assert verdict.problems


@pytest.mark.parametrize("victim", [0, -1])
def test_a_process_that_somebody_else_kills_costs_no_points(victim, zygote, monkeypatch):
    killed: list[int] = []
    ask = Session.ask

    def kill_once(self, *arguments):
        if not killed:
            killed.append(sorted(self._zygote.processes())[victim])
            psutil.Process(killed[0]).kill()
        return ask(self, *arguments)

    monkeypatch.setattr(Session, "ask", kill_once)
    assert points(judged(submission(), zygote)) == {"halve": 3, "quarter": 2}
    assert killed


def test_an_answer_that_always_kills_itself_earns_nothing(zygote):
    answer = "def halve(x):\n    import os\n    os.kill(os.getpid(), 9)\n"
    verdict = judged(submission(halve=answer), zygote)
    assert points(verdict) == {"halve": 0, "quarter": 0}
    assert "too much time or memory" in verdict.exercise("halve").checks[0].message


def test_a_comparison_that_fails_costs_only_its_check(zygote, monkeypatch):
    def broken(*_: object) -> list[object]:
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr("autograder.judge.explain._recognise", broken)
    verdict = judged(submission(quarter="def quarter(x):\n    return 10**4000"), zygote)
    assert points(verdict) == {"halve": 3, "quarter": 0}


def test_the_seed_in_the_sandbox_does_not_give_the_inputs_away(zygote):
    guesses = """
def quarter(x):
    for number in range(torch.initial_seed() - 9, torch.initial_seed() + 9):
        generator = torch.Generator().manual_seed(number)
        if torch.equal(torch.randn(3, generator=generator), x):
            return x / 4
    raise ValueError("not to be guessed")
"""
    verdict = judged(submission(quarter=guesses), zygote)
    assert "not to be guessed" in verdict.exercise("quarter").checks[0].message
