"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

from autograder.authoring.answers import mistake


@mistake(
    "pareto_front",
    caught_by="test_twins_are_kept_once",
    hint="equal points are kept twice",
)
def pareto_front__twins_kept_twice(points):
    return [
        a
        for a in points
        if not any(b[0] <= a[0] and b[1] >= a[1] and tuple(a) != tuple(b) for b in points)
    ]


@mistake(
    "pareto_front",
    caught_by="test_ties_in_one_number",
    hint="only points that are better in both numbers dominate: a tie in one is enough",
)
def pareto_front__ties_kept(points):
    front = []
    for a in points:
        if not any(b[0] < a[0] and b[1] > a[1] for b in points) and a not in front:
            front.append(a)
    return front


@mistake(
    "pareto_front",
    caught_by="test_ties_in_one_number",
    hint="twins remove each other, or points of the same size all go",
)
def pareto_front__same_size_last_wins(points):
    front, best = [], -1.0
    for size, right in sorted(points):
        if right > best:
            front.append((size, right))
            best = right
    return front


@mistake(
    "pareto_front",
    caught_by="test_twins_are_kept_once",
    hint="a point is compared with its own twin, and both are left out",
)
def pareto_front__twins_remove_each_other(points):
    front = []
    for i, a in enumerate(points):
        others = [b for j, b in enumerate(points) if j != i]
        if not any(b[0] <= a[0] and b[1] >= a[1] for b in others):
            front.append(tuple(a))
    return front


@mistake(
    "pareto_front",
    caught_by="test_a_simple_front",
    hint="larger sizes are taken for better ones",
)
def pareto_front__larger_is_better(points):
    front = []
    for a in dict.fromkeys(map(tuple, points)):
        if not any(b[0] >= a[0] and b[1] >= a[1] and tuple(b) != a for b in points):
            front.append(a)
    return front


@mistake(
    "pareto_front",
    caught_by="test_a_simple_front",
    hint="only the single best point is returned; a front is all that nothing dominates",
)
def pareto_front__only_the_best(points):
    return [max(points, key=lambda point: (point[1], -point[0]))] if points else []


@mistake(
    "pareto_front",
    caught_by="test_the_points_are_not_changed",
    hint="the list that was given is sorted in place: sort a copy",
    replay=False,
)
def pareto_front__sorts_in_place(points):
    points.sort(key=lambda point: (point[0], -point[1]))
    front = []
    for size, right in points:
        if not front or right > front[-1][1]:
            front.append((size, right))
    return front


@mistake(
    "pareto_front",
    caught_by="test_few_points",
    hint="the start value hides points: a point with accuracy 0 can lie on the front",
)
def pareto_front__starts_at_zero(points):
    front, best = [], 0.0
    for size, right in sorted(points, key=lambda point: (point[0], -point[1])):
        if right > best:
            front.append((size, right))
            best = right
    return front


@mistake(
    "pareto_front",
    caught_by="test_nan_is_rejected",
    hint="NaN compares as False with everything, so it slips through: look for it first",
)
def pareto_front__lets_nan_pass(points):
    front = []
    for size, right in sorted(map(tuple, points), key=lambda point: (point[0], -point[1])):
        if not front or right > front[-1][1]:
            front.append((size, right))
    return front
