"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import torch

from autograder.authoring.answers import mistake


@mistake(
    "kmeans_1d",
    caught_by="test_more_centroids_than_distinct_values",
    hint="the codebook is filled up with zeros, which are not among the values",
)
def kmeans_1d__padded_with_zeros(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        codebook = torch.cat([distinct, distinct.new_zeros(k - len(distinct))]).sort().values
        return codebook, torch.searchsorted(codebook, values)
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
    caught_by="test_more_centroids_than_distinct_values",
    hint="k above the number of distinct values: every value must be a centroid of its own",
)
def kmeans_1d__few_values_not_exact(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    flat = values.flatten()
    if init == "linear":
        codebook = torch.linspace(flat.min().item(), flat.max().item(), k, dtype=flat.dtype)
    elif init == "random":
        codebook = flat[torch.randint(len(flat), (k,))].sort().values
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
    caught_by="test_where_the_centroids_start",
    hint="density starts like linear: take quantiles",
)
def kmeans_1d__density_is_linear(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init in ("linear", "density"):
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
    caught_by="test_where_the_centroids_start",
    hint="linear starts at quantiles: it means equal steps from the smallest to the largest value",
)
def kmeans_1d__linear_is_density(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    if init == "random":
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
    caught_by="test_where_the_centroids_start",
    hint="random always draws the same values: use the global seed and do not set it",
)
def kmeans_1d__random_is_fixed(values, k, init="linear", max_iterations=100):
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
        codebook = (
            flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))[:k]]
            .sort()
            .values
        )
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
    caught_by="test_dtype_and_arguments_are_kept",
    hint="the codebook does not keep the dtype of the values",
)
def kmeans_1d__float_output(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten().float()
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
    caught_by="test_dtype_and_arguments_are_kept",
    hint="the values were sorted in place",
)
def kmeans_1d__sorts_the_values(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    require(not values.isnan().any(), "values must not hold NaN")
    distinct = values.unique()
    if len(distinct) <= k:
        fill = distinct[-1:].expand(k - len(distinct))
        return torch.cat([distinct, fill]), torch.searchsorted(distinct, values)
    flat = values.flatten()
    flat.copy_(flat.sort().values)
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
    caught_by="test_it_converges",
    hint="the centroid is the median of its values: k-means takes the mean",
)
def kmeans_1d__median(values, k, init="linear", max_iterations=100):
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
        moved = torch.stack(
            [flat[codes == j].median() if (codes == j).any() else codebook[j] for j in range(k)]
        )
        if torch.equal(moved, codebook):
            break
        codebook = moved
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_kmeans_rejects_impossible_arguments",
    hint="NaN among the values is not rejected",
)
def kmeans_1d__nan_passes(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
    require(init in ("linear", "random", "density"), "init")
    values = values.nan_to_num()
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
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_kmeans_rejects_impossible_arguments",
    hint="an unknown init is not rejected",
)
def kmeans_1d__any_init(values, k, init="linear", max_iterations=100):
    require(k >= 1, "k must be at least 1")
    require(max_iterations >= 0, "max_iterations must not be negative")
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
    return codebook, torch.bucketize(values, borders(codebook))


@mistake(
    "kmeans_1d",
    caught_by="test_codes_have_the_shape_of_the_values",
    hint="the codes lost the shape of the values",
)
def kmeans_1d__flat_codes(values, k, init="linear", max_iterations=100):
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
    return codebook, torch.bucketize(flat, borders(codebook))
