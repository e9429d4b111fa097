"""Hidden checks: pareto_front."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import uniform

Point = tuple[float, float]


def dominated(point: Point, points: list[Point]) -> bool:
    """Tell whether another point is at least as good in both, and better in one."""
    return any(q != point and q[0] <= point[0] and q[1] >= point[1] for q in points)


def front(student: Student, points: list[Any]) -> list[Point]:
    """Return the student's front as a sorted list of pairs, or fail."""
    got = student.pareto_front(points)
    if isinstance(got, torch.Tensor):
        got = got.tolist()
    if not isinstance(got, list | tuple | set | frozenset):
        fail(f"expected a list of (size, accuracy) pairs, got {describe(got)}")
    pairs = []
    for pair in got:
        values = pair.tolist() if isinstance(pair, torch.Tensor) else pair
        if not isinstance(values, list | tuple) or len(values) != 2:
            fail(f"expected pairs (size, accuracy), got the element {describe(pair)}")
        pairs.append(tuple(expect.number(x, "an element of the front") for x in values))
    return sorted(pairs)


def expect_front(student: Student, points: list[Point], what: str) -> None:
    """Expect the front of these points, in any order, twins once."""
    got = front(student, points)
    wanted = sorted({(float(s), float(a)) for s, a in points if not dominated((s, a), points)})
    if got == wanted:
        return
    if missing := [point for point in wanted if point not in got]:
        fail(f"{what}: {missing[0]} is dominated by no other point and is missing; got {got}")
    if strange := [point for point in got if point not in wanted]:
        fail(f"{what}: {strange[0]} does not belong to the front {wanted}; got {got}")
    fail(f"{what}: expected every point once, got {got}", "twins_kept_twice")


@check("pareto_front", gate=True)
def test_a_simple_front(student: Student) -> None:
    points = [(100.0, 0.91), (50.0, 0.9), (80.0, 0.85), (20.0, 0.7), (60.0, 0.6)]
    expect_front(student, points, "five points, two of them dominated")


@check("pareto_front", weight=3)
def test_random_points(student: Student, rng: torch.Generator) -> None:
    for count in (3, 20, 60):
        sizes = torch.rand(count, generator=rng).tolist()
        rights = torch.rand(count, generator=rng).tolist()
        expect_front(student, list(zip(sizes, rights, strict=True)), f"{count} random points")


@check("pareto_front", weight=3)
def test_ties_in_one_number(student: Student) -> None:
    expect_front(student, [(5, 0.8), (5, 0.9), (5, 0.7)], "three points of the same size")
    expect_front(student, [(7, 0.8), (5, 0.8), (9, 0.8)], "three points of the same accuracy")
    points = [(5, 0.7), (5, 0.8), (6, 0.8), (7, 0.9), (7, 0.85), (8, 0.9)]
    expect_front(student, points, "ties in size and in accuracy")


@check("pareto_front", weight=2)
def test_twins_are_kept_once(student: Student) -> None:
    expect_front(student, [(5, 0.8), (5, 0.8)], "twins")
    points = [(9, 0.9), (5, 0.8), (9, 0.9), (5, 0.8), (5, 0.8), (12, 0.5), (12, 0.5)]
    expect_front(student, points, "twins on the front, and dominated ones")


@check("pareto_front", weight=2)
def test_small_numbers_on_a_lattice(student: Student, rng: torch.Generator) -> None:
    for _ in range(4):
        points = [(uniform(rng, 1, 7), uniform(rng, 0, 7) / 8) for _ in range(25)]
        expect_front(student, points, "25 points with many ties and twins")


@check("pareto_front")
def test_few_points(student: Student) -> None:
    expect.true(front(student, []) == [], "no points: expected an empty list")
    expect_front(student, [(3, 0.25)], "a single point")
    expect_front(student, [(0, 0.0), (1_725_032, 1.0)], "two points, both on the front")


@check("pareto_front")
def test_nan_is_rejected(student: Student) -> None:
    points = [(5, 0.8), (7, 0.9), (9, 0.7)]
    for wrong in ((math.nan, 0.85), (6, math.nan)):
        with expect.value_error(f"points with {wrong}, which cannot be compared"):
            student.pareto_front([*points, wrong])


@check("pareto_front")
def test_the_points_are_not_changed(student: Student) -> None:
    points = [(9, 0.9), (5, 0.8), (9, 0.9), (7, 0.7)]
    before = copy.deepcopy(points)
    student.pareto_front(points=points)
    expect.unchanged(before, points, "points", "sorts_in_place")
