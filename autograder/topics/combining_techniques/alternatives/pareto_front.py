"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative


@alternative("pareto_front")
def pareto_front__every_pair(points):
    if any(math.isnan(number) for point in points for number in point):
        raise ValueError("points must not hold NaN")
    different = set(map(tuple, points))
    return [
        a for a in different if not any(b != a and b[0] <= a[0] and b[1] >= a[1] for b in different)
    ]


@alternative("pareto_front")
def pareto_front__best_first(points):
    require(not torch.tensor(points).isnan().any(), "points: NaN cannot be compared")
    front = []
    for point in sorted({(-right, size) for size, right in points}):
        if not front or point[1] < front[-1][0]:
            front.append((point[1], -point[0]))
    return front


@alternative("pareto_front")
def pareto_front__lists(points):
    kept = []
    for size, right in points:
        if size != size or right != right:
            raise ValueError(f"points: NaN in {(size, right)}")
        if any(s <= size and a >= right for s, a in kept):
            continue
        kept = [[s, a] for s, a in kept if not (size <= s and right >= a)]
        kept.append([size, right])
    return kept
