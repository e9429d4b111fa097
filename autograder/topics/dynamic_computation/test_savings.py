"""Hidden checks: expected_macs and choose_threshold."""

from __future__ import annotations

import itertools

import torch

from autograder.judge.by_reference import as_left
from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student, StudentError
from autograder.topics.dynamic_computation.toys import lists_or_tensors

NAN = float("nan")

# ---------------------------------------------------------------- expected_macs


def right_macs(counts: list[int], macs: list[float]) -> float:
    """Return the mean MACs of a sample."""
    paid = itertools.accumulate(macs)
    return sum(n * cost for n, cost in zip(counts, paid, strict=True)) / sum(counts)


def expect_macs(student: Student, counts: list[int], macs: list[float]) -> None:
    """Expect the right mean."""
    got = lists_or_tensors(student.expected_macs, counts, macs)
    what = f"exit_counts {counts}, macs_per_block {macs}"
    expect.close(got, right_macs(counts, macs), what, atol=1e-6, rtol=1e-5)


@check("expected_macs", gate=True)
def test_macs_cumulate(student: Student) -> None:
    expect_macs(student, [3, 1], [100, 400])
    expect_macs(student, [1, 1], [10, 30])


@check("expected_macs", weight=3)
def test_mean_over_several_exits(student: Student) -> None:
    for counts, macs in (
        ([5, 3, 2], [10, 20, 40]),
        ([2, 0, 5, 1], [7, 100, 3, 11]),
        ([1200, 7000, 1800], [288_000, 1_607_200, 405_000]),  # beyond int32
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]),
    ):
        expect_macs(student, counts, macs)


@check("expected_macs", weight=2)
def test_all_leave_at_one_exit(student: Student) -> None:
    for counts in ([9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 1]):
        expect_macs(student, counts, [17, 230, 41])
    expect_macs(student, [6], [35])


@check("expected_macs")
def test_mean_is_not_rounded(student: Student) -> None:
    expect_macs(student, [2, 1], [10, 1])
    expect_macs(student, [1, 6], [0.5, 0.25])


@check("expected_macs")
def test_macs_by_keyword_leave_their_arguments(student: Student) -> None:
    arguments = {"exit_counts": [4, 2, 1], "macs_per_block": [3, 5, 8]}
    try:
        got = student.expected_macs(**arguments)
    except StudentError as error:
        if not (error.is_a("TypeError") or error.is_a("AttributeError")):
            raise
        tensors = {name: torch.tensor(value) for name, value in arguments.items()}
        got = student.expected_macs(**tensors)
    expect.close(got, right_macs([4, 2, 1], [3, 5, 8]), "by keyword", atol=1e-5)
    left = {name: as_left(value) for name, value in arguments.items()}
    expect.equal(left["exit_counts"], [4, 2, 1], "exit_counts afterwards")
    expect.equal(left["macs_per_block"], [3, 5, 8], "macs_per_block afterwards")
    before = torch.tensor([4, 2, 1]), torch.tensor([3.0, 5.0, 8.0])
    after = tuple(values.clone() for values in before)
    try:
        student.expected_macs(*after)
    except StudentError as error:
        if error.fatal:
            raise
        return  # written for lists, which is enough
    expect.unchanged(before, after, "(exit_counts, macs_per_block)")


@check("expected_macs")
def test_macs_reject_impossible_arguments(student: Student) -> None:
    for counts, macs in (
        ([1, 2], [5]),
        ([1], [5, 6]),
        ([0, 0], [5, 6]),
        ([3, -1], [5, 6]),
        ([4, 4, 4], [1, 2]),
    ):
        with expect.value_error(f"exit_counts {counts}, macs_per_block {macs}"):
            lists_or_tensors(student.expected_macs, counts, macs)


# ---------------------------------------------------------------- choose_threshold


def expect_threshold(
    student: Student, confidences: list[float], correct: list[int], target: float, what: str = ""
) -> None:
    """Expect a threshold at which just the right samples leave."""
    sure, right = torch.tensor(confidences), torch.tensor(correct, dtype=torch.bool)
    levels = sorted(set(confidences))
    share = {t: sum(r for c, r in zip(confidences, correct, strict=True) if c >= t) for t in levels}
    best = min(t for t in levels if share[t] >= target * sum(c >= t for c in confidences))
    below = max((t for t in levels if t < best), default=-1e9)
    got = expect.number(student.choose_threshold(sure, right, target), "the threshold")
    if not below + 1e-6 < got <= best + 1e-6:
        leaves = sorted((c for c in confidences if c >= best), reverse=True)
        fail(
            f"{what or 'confidences'} {confidences}, correct {correct}, target {target}: expected "
            f"{best} (those with {leaves} leave), got {got:.4f}"
        )


@check("choose_threshold", gate=True)
def test_smallest_threshold_that_reaches_the_target(student: Student) -> None:
    expect_threshold(student, [0.95, 0.8, 0.6, 0.4], [1, 1, 0, 0], 1.0)
    expect_threshold(student, [0.4, 0.95, 0.6, 0.8], [0, 1, 1, 1], 0.9)


@check("choose_threshold", weight=2)
def test_accuracy_may_fall_and_rise_again(student: Student) -> None:
    expect_threshold(student, [0.9, 0.8, 0.6, 0.4], [1, 0, 1, 1], 0.75)
    expect_threshold(student, [0.35, 0.9, 0.75, 0.5, 0.6], [0, 0, 1, 1, 1], 0.7)
    expect_threshold(student, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0, 0, 1, 1, 0, 1], 0.65)


@check("choose_threshold", weight=2)
def test_accuracy_of_those_who_leave(student: Student) -> None:
    expect_threshold(student, [0.9, 0.85, 0.5, 0.4, 0.3, 0.2], [1, 1, 0, 0, 0, 0], 0.9)
    expect_threshold(student, [0.9, 0.85, 0.5, 0.4, 0.3, 0.2], [1, 1, 1, 0, 0, 0], 0.6)
    expect_threshold(student, [0.25, 0.7, 0.95], [0, 0, 1], 0.9)


@check("choose_threshold")
def test_target_that_is_just_reached(student: Student) -> None:
    expect_threshold(student, [0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 1, 0, 0], 0.75)
    expect_threshold(student, [0.9, 0.8, 0.7], [1, 0, 0], 0.5)


@check("choose_threshold", weight=2)
def test_equal_confidences_leave_together(student: Student) -> None:
    for tied in itertools.permutations([1, 0, 1]):
        expect_threshold(student, [0.9, 0.5, 0.5, 0.5, 0.2], [1, *tied, 0], 1.0, "ties:")
        expect_threshold(student, [0.9, 0.5, 0.5, 0.5, 0.2], [1, *tied, 0], 0.75, "ties:")


@check("choose_threshold")
def test_confidences_close_together(student: Student) -> None:
    close = [0.999, 0.997, 0.995, 0.993, 0.991]
    expect_threshold(student, close, [1, 1, 1, 0, 0], 1.0)
    expect_threshold(student, close, [1, 1, 0, 0, 0], 0.6)
    expect_threshold(student, [0.52, 0.5, 0.48, 0.46], [1, 0, 0, 0], 0.9)


@check("choose_threshold")
def test_everybody_may_leave(student: Student) -> None:
    expect_threshold(student, [0.9, 0.3, 0.6], [1, 1, 1], 1.0)
    expect_threshold(student, [0.45], [1], 0.8)
    expect_threshold(student, [0.9, 0.3, 0.6, 0.2], [1, 0, 1, 1], 0.5)


@check("choose_threshold")
def test_target_that_nothing_reaches(student: Student) -> None:
    sure = torch.tensor([0.9, 0.7, 0.4])
    for correct, target in (([0, 0, 0], 0.5), ([0, 1, 1], 0.7), ([0, 1, 0], 0.9)):
        with expect.value_error(f"correct {correct}, target {target}: no threshold reaches it"):
            student.choose_threshold(sure, torch.tensor(correct, dtype=torch.bool), target)


@check("choose_threshold", weight=0.5)
def test_threshold_by_keyword(student: Student) -> None:
    sure, right = torch.tensor([0.9, 0.7, 0.4]), torch.tensor([True, True, False])
    before = (sure.clone(), right.clone())
    got = student.choose_threshold(confidences=sure, correct=right, target_accuracy=1.0)
    got = expect.number(got, "the threshold", 0.4001, 0.7001)
    expect.unchanged(before, (sure, right), "(confidences, correct)")


@check("choose_threshold", weight=0.5)
def test_threshold_rejects_impossible_arguments(student: Student) -> None:
    sure, right = torch.tensor([0.9, 0.7, 0.4]), torch.tensor([True, True, True])
    for target in (-0.1, 1.1, 95):
        with expect.value_error(f"target_accuracy = {target}"):
            student.choose_threshold(sure, right, target)
    for some in (2, 3):
        with expect.value_error(f"{some} confidences, {5 - some} answers"):
            student.choose_threshold(sure[:some], right[: 5 - some], 0.5)
    with expect.value_error("no samples"):
        student.choose_threshold(sure[:0], right[:0], 0.5)
    with expect.value_error("confidences with NaN"):
        student.choose_threshold(torch.tensor([0.9, NAN, 0.4]), right, 0.5)
