"""Hidden checks: kmeans_1d."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student, StudentError
from autograder.judge.toys import uniform
from autograder.topics.weight_clustering.toys import (
    expect_means,
    expect_nearest,
    gaussian,
    groups,
    read,
    sse,
)

STARTS = ("linear", "random", "density")
MANY = 1000


def expect_sorted(codebook: Tensor, what: str) -> None:
    """Expect a codebook in ascending order."""
    if bool((codebook.diff() < 0).any()):
        fail(f"{what}: the codebook is not sorted: {codebook.tolist()[:8]}")


@check("kmeans_1d", gate=True)
def test_finds_clear_groups(student: Student, rng: torch.Generator) -> None:
    centers = (-3.0, -1.0, 1.0, 3.0)
    values = groups(rng, *centers)
    codebook, codes = read(student.kmeans_1d(values, 4), values, 4, "four clear groups")
    nearest = (values[:, None] - torch.tensor(centers)).abs().argmin(1)
    means = torch.stack([values[nearest == j].mean() for j in range(4)])
    expect.close(codebook[codes], means[nearest], "four clear groups: codebook[codes]", atol=1e-3)


@check("kmeans_1d")
def test_codebook_is_sorted(student: Student, rng: torch.Generator) -> None:
    for init in STARTS:
        for k in (2, 5, 9):
            values = gaussian(rng, 300) - 1
            what = f"{init} start, k={k}"
            codebook, codes = read(student.kmeans_1d(values, k, init), values, k, what)
            expect_sorted(codebook, what)
            expect_nearest(values, codebook, codes, what)


@check("kmeans_1d", weight=2)
def test_it_converges(student: Student, rng: torch.Generator) -> None:
    for init in STARTS:
        k = uniform(rng, 9, 14)
        values = gaussian(rng)
        what = f"{init} start, k={k}, up to {MANY} steps"
        got = student.kmeans_1d(values, k, init, MANY)
        codebook, codes = read(got, values, k, what)
        expect_nearest(values, codebook, codes, what)
        expect_means(values, codebook, codes, what)


@check("kmeans_1d", weight=2)
def test_empty_clusters_stay_numbers(student: Student, rng: torch.Generator) -> None:
    for init in STARTS:
        values = groups(rng, 10.0, 90.0)
        what = f"two groups far apart, k=9, {init} start"
        codebook, codes = read(student.kmeans_1d(values, 9, init, MANY), values, 9, what)
        low, high = float(values.min()), float(values.max())
        if bool(((codebook < low - 1e-3) | (codebook > high + 1e-3)).any()):
            fail(
                f"{what}: a centroid lies outside the values, {low:.3g} .. {high:.3g}: "
                f"{codebook.tolist()}; what became of an empty cluster?"
            )
        expect_sorted(codebook, what)
        expect_nearest(values, codebook, codes, what)
        if init != "random" and float((values - codebook[codes]).abs().max()) > 1:
            fail(f"{what}: a value is far from its centroid; both groups need one")


@check("kmeans_1d", weight=2)
def test_more_centroids_than_distinct_values(student: Student, rng: torch.Generator) -> None:
    for distinct, k in ((1, 3), (3, 5), (7, 32), (1, 1)):
        # Steps differ, so that no start has its points on the values by chance.
        chosen = torch.randn(distinct, generator=rng).cumsum(0) * torch.arange(1, distinct + 1)
        values = chosen[torch.arange(40) % distinct]
        for init in STARTS:
            what = f"{distinct} distinct values, k={k}, {init} start"
            codebook, codes = read(student.kmeans_1d(values, k, init), values, k, what)
            expect.close(codebook[codes], values, f"{what}: codebook[codes]", atol=1e-6)
            found = len(codebook.unique())
            if found != len(chosen.unique()):
                fail(f"{what}: expected {distinct} distinct centroids, got {found}")
            expect_sorted(codebook, what)


@check("kmeans_1d", weight=2)
def test_where_the_centroids_start(student: Student, rng: torch.Generator) -> None:
    # Nine in ten values lie below 1, the others up to 100: after one step the start still shows.
    many, few = torch.rand(900, generator=rng), 1 + 99 * torch.rand(200, generator=rng)
    values = torch.cat([many, few, torch.linspace(1, 100, 100)])
    k = 16
    low = {}
    for init in STARTS:
        codebook, _ = read(student.kmeans_1d(values, k, init, 1), values, k, f"{init} start")
        low[init] = int((codebook < 1.5).sum())
    if low["linear"] > 3:
        fail(
            "linear start, one step: the centroids should be spread evenly over the range 0 .. 100;"
            f" {low['linear']} of {k} lie below 1.5"
        )
    if low["density"] < 9:
        fail(
            "density start, one step: three quarters of the values lie below 1, so quantiles put "
            f"most centroids there; got {low['density']} of {k}"
        )
    starts = [student.kmeans_1d(values, k, "random", 1)[0] for _ in range(3)]
    if all(torch.equal(starts[0], other) for other in starts[1:]):
        fail("random start: different global seeds gave the same codebook each time")
    for init in ("linear", "density"):
        first, second = (student.kmeans_1d(values, k, init, 1)[0] for _ in range(2))
        expect.close(first, second, f"{init} start, called twice: the codebook", atol=1e-6)


@check("kmeans_1d", weight=0.5)
def test_linear_is_the_default(student: Student, rng: torch.Generator) -> None:
    values = gaussian(rng, 400).exp()
    default, _ = read(student.kmeans_1d(values, 6), values, 6, "without init")
    linear, _ = read(student.kmeans_1d(values, 6, "linear", 100), values, 6, "linear start")
    expect.close(default, linear, "the codebook without init, as with 'linear'", atol=1e-5)


@check("kmeans_1d", weight=0.5)
def test_max_iterations_ends_it(student: Student, rng: torch.Generator) -> None:
    values = gaussian(rng)
    one = sse(values, *read(student.kmeans_1d(values, 12, "linear", 1), values, 12, "one step"))
    many = sse(values, *read(student.kmeans_1d(values, 12, "linear", MANY), values, 12, "many"))
    message = (
        f"max_iterations=1: expected a larger error than after {MANY} steps, {many:.4g}, got "
        f"{one:.4g}"
    )
    expect.true(one > 1.01 * many, message, "ignores_max_iterations")
    try:
        start, _ = read(student.kmeans_1d(values, 12, "linear", 0), values, 12, "no step")
    except StudentError as problem:
        if not problem.is_a("ValueError"):
            raise
        return  # at least one step is a way to read it
    gaps = start.diff()
    message = (
        f"max_iterations=0: expected the start, at equal distances, got the distances "
        f"{float(gaps.min()):.3g} .. {float(gaps.max()):.3g}; is there one step too many?"
    )
    expect.true(float(gaps.max()) < 1.01 * float(gaps.min()), message)


@check("kmeans_1d")
def test_dtype_and_arguments_are_kept(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.float64, torch.float32):
        values = gaussian(rng, 200).to(dtype)
        before = values.clone()
        got = student.kmeans_1d(values=values, k=5, init="density", max_iterations=50)
        codebook, _ = read(got, values, 5, f"{dtype} values")
        expect.unchanged(before, values, "values")
        if codebook.dtype != dtype:
            fail(f"the codebook keeps the dtype of the values, {dtype}; got {codebook.dtype}")


@check("kmeans_1d", weight=0.5)
def test_codes_have_the_shape_of_the_values(student: Student, rng: torch.Generator) -> None:
    values = groups(rng, -2.0, 0.0, 2.0).reshape(4, 5, 9)
    try:
        got = student.kmeans_1d(values, 3)
    except StudentError as problem:
        if problem.fatal or problem.is_a("NotImplementedError"):
            raise
        return  # one dimension only is a way to read the name
    codebook, codes = read(got, values, 3, "values of shape (4, 5, 9)")
    off = float((values - codebook[codes]).abs().max())
    expect.true(off < 0.2, f"values of shape (4, 5, 9): codebook[codes] is off by {off:.3g}")


@check("kmeans_1d", weight=0.5)
def test_kmeans_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    values = gaussian(rng, 30)
    for k in (0, -2):
        with expect.value_error(f"k = {k}"):
            student.kmeans_1d(values, k)
    with expect.value_error("init = 'best'"):
        student.kmeans_1d(values, 3, "best")
    with expect.value_error("max_iterations = -1"):
        student.kmeans_1d(values, 3, "linear", -1)
    values[uniform(rng, 0, 30)] = float("nan")
    with expect.value_error("a NaN among the values"):
        student.kmeans_1d(values, 3)


@check("kmeans_1d")
def test_a_real_layer(student: Student, course: Course, expected: SimpleNamespace) -> None:
    values = course.checkpoint("lenet").conv2.weight.detach().flatten()
    got = read(student.kmeans_1d(values, 8), values, 8, "conv2 of the LeNet, k=8")
    share = sse(values, *got) / float((values - values.mean()).double().square().sum())
    message = (
        f"conv2 of the LeNet, k=8: {share:.2%} of the variance is lost; expected at most "
        f"{expected.lost_variance.high:.2%}"
    )
    expect.true(share <= expected.lost_variance.high, message)
