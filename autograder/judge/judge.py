"""One submission in, one verdict out."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
import torch

from autograder.authoring.source import TopicSource, load_source
from autograder.judge.identity import identity, submission_seed
from autograder.judge.plugin import JUDGING, Judging
from autograder.judge.submission import (
    Submission,
    code_cells,
    read_submission,
    reference_submission,
)
from autograder.judge.verdict import CheckVerdict, ExerciseVerdict, Verdict
from autograder.sandbox.session import Session
from autograder.sandbox.zygote import Zygote
from autograder.settings import Limits, topic_folder

MOST_ATTEMPTS = 2
KILLED = "a process was killed, by the answers themselves or by the system, time and again"
NO_VERDICT = "the checks of this exercise gave no verdict; a person has to look"


class JudgeBroken(RuntimeError):
    """The judge itself failed, so there is no verdict; the text says how."""


def judge_submission(
    path: Path,
    topic: str,
    student: str = "",
    *,
    limits: Limits | None = None,
    unsafe: bool = False,
    seed: int | None = None,
) -> Verdict:
    """Judge one submitted notebook.

    Whatever the submission does, there is a verdict: points only where a check said so.

    Args:
        path: the submitted .ipynb; it may be missing or broken.
        topic: name of the topic.
        student: who handed it in, for the record.
        limits: what the submission may use.
        unsafe: run without a sandbox, for code the grader trusts.
        seed: seed of the checks' random inputs; by default made from the answers.

    Raises:
        SandboxUnavailable: there is no sandbox here and `unsafe` was not given.
        JudgeBroken: the sandbox does not start, or pytest cannot run the checks.
        ValueError: there is no such topic.
    """
    source = load_source(topic)
    return judge(read_submission(path, topic), source, student, limits, unsafe, seed)


def judge_reference(topic: str, *, seed: int | None = None, unsafe: bool = False) -> Verdict:
    """Judge the reference solutions, in the same way as any submission."""
    source = load_source(topic)
    return judge(reference_submission(source), source, "reference", unsafe=unsafe, seed=seed)


def judge(
    submission: Submission,
    source: TopicSource,
    student: str = "",
    limits: Limits | None = None,
    unsafe: bool = False,
    seed: int | None = None,
    *,
    only: str | None = None,
    checks: Collection[str] | None = None,
    zygote: Zygote | None = None,
) -> Verdict:
    """Judge a submission that has been read already; see `judge_submission`.

    Args:
        submission: what counts of the notebook.
        source: the topic's source.
        student: who handed it in, for the record.
        limits: what the submission may use.
        unsafe: run without a sandbox, for code the grader trusts.
        seed: seed of the checks' random inputs; by default made from the answers.
        only: run the checks of this exercise alone; the others then have no verdict.
        checks: run the checks of these names alone, and the gates.
        zygote: a sandbox to share among submissions that are all trusted.

    Raises:
        SandboxUnavailable: there is no sandbox here and `unsafe` was not given.
        JudgeBroken: the sandbox does not start, or pytest cannot run the checks.
    """
    start = time.monotonic()
    limits = limits or Limits()
    for _ in range(MOST_ATTEMPTS):
        judging = _open(submission, source, limits, unsafe, seed, zygote)
        judging.only = only
        judging.checks = checks
        problems = list(submission.problems)
        if submission.answers:
            with judging.session:
                _run_checks(judging)
            if judging.broken:
                raise JudgeBroken(judging.broken)
            problems += _session_problems(judging.session)
        # Once more where a process was killed, as when the machine ran out of memory: a submission
        # that does it itself will do it again.
        late = time.monotonic() - start > limits.submission_wall_seconds / MOST_ATTEMPTS
        if late or not judging.killed:
            break
    if judging.killed:
        judging.review.append(KILLED)
    exercises = [
        ExerciseVerdict.from_checks(
            exercise.name,
            exercise.points,
            checks := judging.outcomes.get(exercise.name, []),
            _exercise_message(submission, exercise.name, checks, judging.session),
        )
        for exercise in source.exercises
    ]
    silent = submission.answers and any(not exercise.checks for exercise in exercises)
    return Verdict(
        topic=source.topic,
        student=student,
        exercises=exercises,
        problems=problems + judging.review,
        needs_review=bool(submission.unreadable or judging.review or silent),
        mode=judging.session.mode,
        board=judging.board,
        identity=identity(source.topic, submission.content_hash, judging.seed),
        seconds=round(time.monotonic() - start, 2),
        peak_memory=judging.session.peak_memory,
    )


def open_judging(
    topic: str, path: Path | None, *, unsafe: bool = False, seed: int | None = None
) -> Judging:
    """Make ready to judge a file, or the reference where `path` is None."""
    source = load_source(topic)
    submission = reference_submission(source) if path is None else read_submission(path, topic)
    return _open(submission, source, Limits(), unsafe, seed)


def _open(
    submission: Submission,
    source: TopicSource,
    limits: Limits,
    unsafe: bool,
    seed: int | None,
    zygote: Zygote | None = None,
) -> Judging:
    # One thread: the same sums on every machine, and no threads that wait for each other.
    torch.set_num_threads(1)
    cells = code_cells(submission, source)
    session = Session(cells, limits, unsafe=unsafe, zygote=zygote)
    if seed is None:
        seed = submission_seed(submission.content_hash, source.topic)
    exercises = [exercise.name for exercise in source.exercises]
    return Judging(source.topic, session, cells, seed, limits, exercises, unsafe=unsafe)


class _Given:
    """Hands a judging to pytest."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[JUDGING] = self._judging


def _run_checks(judging: Judging) -> None:
    _pytest(judging.topic, (), [_Given(judging)])


def collect_checks(topic: str) -> None:
    """Import a topic's checks without running any.

    Raises:
        JudgeBroken: pytest cannot read them.
    """
    _pytest(topic, ("--collect-only",), [])


def _pytest(topic: str, options: Sequence[str], plugins: list[object]) -> None:
    folder = topic_folder(topic)
    # Modules are named by their path from here, and two topics may have files of the same name.
    root = folder.parent
    standing = ["-c", os.devnull, f"--rootdir={root}", "--import-mode=importlib", "-q"]
    # It keeps what is logged for a report that nobody reads, and every check pays for it.
    standing += ["-p", "no:logging"]
    # It collects garbage for half a second at the end, to find what this project does not do.
    standing += ["-p", "no:unraisableexception"]
    standing += ["-p", "no:cacheprovider", "--disable-plugin-autoload"]
    standing += ["-p", "autograder.judge.plugin"]
    report = io.StringIO()
    with contextlib.redirect_stdout(report), contextlib.redirect_stderr(report):
        code = pytest.main([*standing, *options, str(folder)], plugins=plugins)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise JudgeBroken(f"pytest could not run the checks: {report.getvalue()[-2000:]}")


def _session_problems(session: Session) -> list[str]:
    problems = [f"cell {name}: {text}" for name, text in session.cell_errors.items()]
    if session.needed:
        names = ", ".join(session.needed)
        problems.append(f"the whole notebook was run, because answers use {names}")
    return problems


def _exercise_message(
    submission: Submission, name: str, checks: list[CheckVerdict], session: Session
) -> str:
    if name not in submission.answers:
        return "no answer was found for this exercise"
    if name in session.cell_errors:
        return f"your answer's cell did not run: {session.cell_errors[name]}"
    return "" if checks else NO_VERDICT
