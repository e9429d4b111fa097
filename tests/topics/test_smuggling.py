"""The byte challenge cannot be won by carrying weights past the blob."""

from __future__ import annotations

import pytest

from autograder.authoring.source import load_source
from autograder.judge.judge import judge
from autograder.judge.submission import reference_submission
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.topics.combining_techniques.smuggling import pairs

pytestmark = [
    pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox"),
    pytest.mark.slow,
]
TOPIC = "combining_techniques"


@pytest.mark.parametrize("trick", sorted(pairs()))
def test_smuggled_weights_earn_no_tier(trick):
    source = load_source(TOPIC)
    submission = reference_submission(source)
    submission.answers.update(pairs()[trick])
    verdict = judge(submission, source, only="compress")
    checks = verdict.exercise("compress").checks
    tiers = [check for check in checks if check.name.startswith("test_tier")]
    assert len(tiers) == 4
    assert not [check.name for check in tiers if check.passed]
    assert verdict.board == {}
