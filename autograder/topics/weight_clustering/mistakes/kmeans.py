"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import torch

from autograder.authoring.answers import mistake


@mistake(
    "kmeans_1d",
    caught_by="test_empty_clusters_stay_numbers",
    hint="the mean of an empty cluster is NaN: let its centroid stay where it is",
)
def kmeans_1d__empty_is_nan(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = torch.bucketize(flat, borders(codebook))
        moved = torch.stack([flat[codes == j].mean() for j in range(k)])
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_empty_clusters_stay_numbers",
    hint="an empty cluster gets the centroid 0, a sum of nothing divided by 1",
)
def kmeans_1d__empty_is_zero(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = (sums / counts.clamp(min=1)).sort().values
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_empty_clusters_stay_numbers",
    hint="empty clusters are dropped: the codebook must have length k",
)
def kmeans_1d__empty_is_dropped(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    codebook = codebook[torch.bincount(torch.bucketize(flat, borders(codebook)), minlength=k) > 0]
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_it_converges",
    hint="a fixed small number of steps: go on until nothing moves, or max_iterations is reached",
)
def kmeans_1d__ten_steps(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(min(max_iterations, 10)):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_it_converges",
    hint="it stops after the first step",
)
def kmeans_1d__stops_after_one_step(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        codebook = moved
        break
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_max_iterations_ends_it",
    hint="max_iterations is not used",
)
def kmeans_1d__ignores_max_iterations(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(100000):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_codebook_is_sorted",
    hint="the codes are those from before the centroids were sorted: assign once more",
)
def kmeans_1d__codes_before_the_last_update(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]]
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = (flat[:, None] - codebook).abs().argmin(1)
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook.sort().values, codes.reshape(values.shape)


@mistake(
    "kmeans_1d",
    caught_by="test_codebook_is_sorted",
    hint="the codebook is not sorted",
)
def kmeans_1d__not_sorted(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]]
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = (flat[:, None] - codebook).abs().argmin(1)
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, (values[..., None] - codebook).abs().argmin(-1)


@mistake(
    "kmeans_1d",
    caught_by="test_codebook_is_sorted",
    hint="the codebook is sorted the wrong way round: ascending",
)
def kmeans_1d__descending(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook.flip(0), k - 1 - torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_more_centroids_than_distinct_values",
    hint="k above the number of distinct values: the codebook must still have length k",
)
def kmeans_1d__shorter_codebook(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        return distinct, torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_max_iterations_ends_it",
    hint="one Lloyd step too many: with max_iterations=0 the start itself comes back",
)
def kmeans_1d__one_step_too_many(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randperm(len(flat))[:k]].sort().values
    else:
        codebook = flat.sort().values[((torch.arange(k) + 0.5) / k * len(flat)).long()]
    for _ in range(max_iterations + 1):
        codes = torch.bucketize(flat, borders(codebook))
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros(k, dtype=flat.dtype).index_add(0, codes, flat)
        moved = torch.where(counts > 0, sums / counts, codebook)
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))
