"""Measures how steady the judge and the speed meter are while another core is kept busy."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import nbformat
from rich.console import Console
from tqdm import tqdm

from autograder.authoring.answers import load_alternatives, load_mistakes
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.classroom.batch import Outcome
from autograder.classroom.jobs import Job, judge_in_own_process
from autograder.judge.known_answers import judge_answer, misjudged
from autograder.judge.verdict import Verdict
from autograder.sandbox.zygote import Zygote
from course_utils.data import load_images
from course_utils.models import LeNet
from course_utils.speed import compare_model_speed

SAME = "no measurable difference"
METER_LIMIT = 0.99


def run_steady(
    topic: str, runs: int, answer_runs: int, meter_runs: int, workers: int, console: Console
) -> bool:
    """Judge reference, untouched notebook and known answers often, compare a net with itself.

    Each time, the checks draw other inputs.

    Returns:
        True when the reference always got all points, the untouched notebook none, all mistakes
        were caught and named, all other right answers accepted, and the meter found no
        difference in at least 99 of 100 comparisons.
    """
    steady = True
    with busy_cores():
        if runs:
            steady &= _submissions(topic, runs, workers, console)
        if answer_runs:
            steady &= _known_answers(topic, answer_runs, console)
        if meter_runs:
            steady &= _meter(meter_runs, console)
    return steady


def _submissions(topic: str, runs: int, workers: int, console: Console) -> bool:
    steady = True
    answers = {exercise.name: exercise.solution for exercise in load_source(topic).exercises}
    for title, given, share in (("reference", answers, 1.0), ("untouched", {}, 0.0)):
        outcomes = _judge_often(topic, title, given, runs, workers)
        verdicts = [outcome.verdict for outcome in outcomes]
        wrong = [v for v in verdicts if v.points != share * v.max_points]
        seconds = [outcome.seconds for outcome in outcomes]
        console.print(
            f"{title}: {share:.0%} in {runs - len(wrong)} of {runs} runs; "
            f"median {median(seconds):.1f} s, longest {max(seconds):.1f} s",
            highlight=False,
        )
        for verdict in wrong:
            console.print(f"  {_odd_checks(verdict, share)}", highlight=False, markup=False)
        steady &= not wrong
    return steady


def _known_answers(topic: str, runs: int, console: Console) -> bool:
    steady = True
    for title, load in (("mistakes", load_mistakes), ("right answers", load_alternatives)):
        cases = [(a, seed) for a in load(topic) if not a.slow for seed in range(runs)]
        odd = []
        with contextlib.closing(Zygote()) as zygote:
            for answer, seed in tqdm(cases, title):
                complaint = misjudged(answer, judge_answer(topic, answer, zygote, seed))
                if complaint:
                    odd.append(f"{answer.full_name}, seed {seed}: {complaint}")
        right = len(cases) - len(odd)
        console.print(f"{title}: {right} of {len(cases)} judged as they should", highlight=False)
        for line in odd:
            console.print(f"  {line}", highlight=False, markup=False)
        steady &= not odd
    return steady


def _meter(runs: int, console: Console) -> bool:
    model = LeNet().eval()
    images = load_images("test")[0][:64]
    found = Counter(compare_model_speed(model, model, images).verdict for _ in range(runs))
    console.print(f"a net against itself: {dict(found)}")
    return found[SAME] >= METER_LIMIT * runs


def _odd_checks(verdict: Verdict, share: float) -> str:
    """Return the checks that did not do as all others."""
    odd = [
        f"{check.name}: {check.message}"
        for exercise in verdict.exercises
        for check in exercise.checks
        if check.passed != bool(share)
    ]
    return f"{verdict.points} of {verdict.max_points} points: {'; '.join(odd)}"


@contextlib.contextmanager
def busy_cores(processes: int = 1) -> Iterator[None]:
    """Have so many other processes compute without end."""
    context = multiprocessing.get_context("spawn")
    spinning = [context.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


def _judge_often(
    topic: str, title: str, answers: dict[str, str], runs: int, workers: int
) -> Sequence[Outcome]:
    names = [exercise.name for exercise in load_source(topic).exercises]
    with tempfile.TemporaryDirectory(prefix="autograder-") as folder:

        def judge_once(run: int) -> Outcome:
            # The checks' random inputs hang on the answers: a note in one makes them others.
            noted = {name: f"{answer}\n# run {run}" for name, answer in answers.items()}
            path = Path(folder) / f"{title}_{run}.ipynb"
            notebook = complete_notebook(topic, {name: noted.get(name) for name in names})
            nbformat.write(notebook, path)
            started = time.perf_counter()
            text = judge_in_own_process(Job(title, topic, path))
            seconds = time.perf_counter() - started
            return Outcome(title, Verdict.model_validate_json(text), seconds=seconds)

        # Each judge is a process of its own; the threads only wait for them.
        with ThreadPoolExecutor(workers) as pool:
            return list(tqdm(pool.map(judge_once, range(runs)), title, runs))
