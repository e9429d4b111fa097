"""Known answers of a topic as the judge sees them: is a mistake caught and named, a right one not?

All of this code is the project's own, so many answers may share one sandbox.
"""

from __future__ import annotations

from autograder.authoring.answers import Answer, Mistake
from autograder.authoring.source import load_source
from autograder.judge.judge import judge
from autograder.judge.submission import reference_submission
from autograder.judge.verdict import ExerciseVerdict
from autograder.sandbox.session import DEFINITIONS
from autograder.sandbox.zygote import Zygote


def judge_answer(
    topic: str, answer: Answer, zygote: Zygote, seed: int | None = None
) -> ExerciseVerdict:
    """Judge the reference with one known answer in the place of its own.

    Of a mistake only the check that must catch it is run, after the gates: what the others say
    would take most of the time and decide nothing.

    Args:
        topic: name of the topic.
        answer: the known answer.
        zygote: the sandbox to share.
        seed: seed of the checks' random inputs; by default made from the answers.
    """
    source = load_source(topic)
    submission = reference_submission(source)
    submission.answers[answer.exercise] = answer.source
    checks = [answer.caught_by] if isinstance(answer, Mistake) else None
    verdict = judge(
        submission, source, only=answer.exercise, checks=checks, zygote=zygote, seed=seed
    )
    if verdict.mode != DEFINITIONS:
        raise ValueError(f"{answer.full_name}: uses what experiments define: {verdict.problems}")
    return verdict.exercise(answer.exercise)


def misjudged(answer: Answer, verdict: ExerciseVerdict) -> str:
    """Say what is wrong with the verdict on a known answer; empty when it is just."""
    failed = {check.name: check.message for check in verdict.checks if not check.passed}
    said = "; ".join(f"{name}: {message}" for name, message in failed.items())
    if not isinstance(answer, Mistake):
        return said and f"a right answer is rejected: {said}"
    if answer.caught_by not in failed:
        return f"{answer.caught_by} did not catch the mistake; {said or 'nothing did'}"
    if verdict.points >= verdict.max_points:
        return f"the mistake is caught and costs nothing: {said}"
    if not any(answer.hint in message for message in failed.values()):
        return f"the mistake is caught and not named: {said}"
    return ""
