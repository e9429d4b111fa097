"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import torch

from autograder.authoring.answers import mistake


@mistake(
    "cluster_loss",
    caught_by="test_sum_of_squared_distances",
    hint="this is the mean over the weights: the lecture's loss is a sum",
)
def cluster_loss__mean(weights, codebook):
    return (weights.flatten()[:, None] - codebook).square().min(1).values.mean()


@mistake(
    "cluster_loss",
    caught_by="test_sum_of_squared_distances",
    hint="the distances are absolute: square them",
)
def cluster_loss__absolute(weights, codebook):
    return (weights.flatten()[:, None] - codebook).abs().min(1).values.sum()


@mistake(
    "cluster_loss",
    caught_by="test_sum_of_squared_distances",
    hint="the root was taken: the lecture's loss is the plain sum of squares",
)
def cluster_loss__root(weights, codebook):
    return (weights.flatten()[:, None] - codebook).square().min(1).values.sum().sqrt()


@mistake(
    "cluster_loss",
    caught_by="test_sum_of_squared_distances",
    hint="the distances to all centroids are added: only the nearest one counts",
)
def cluster_loss__all_centroids(weights, codebook):
    return (weights.flatten()[:, None] - codebook).square().sum()


@mistake(
    "cluster_loss",
    caught_by="test_sum_of_squared_distances",
    hint="the minimum goes over the weights instead of over the centroids",
)
def cluster_loss__wrong_axis(weights, codebook):
    return (weights.flatten()[:, None] - codebook).square().min(0).values.sum()


@mistake(
    "cluster_loss",
    caught_by="test_gradient_reaches_the_weights",
    hint="the loss is cut off from the weights by detach or no_grad: no gradient",
)
def cluster_loss__no_gradient(weights, codebook):
    return (weights.detach().flatten()[:, None] - codebook).square().min(1).values.sum()


@mistake(
    "cluster_loss",
    caught_by="test_gradient_reaches_the_weights",
    hint="the result is a Python number, which has no gradient",
)
def cluster_loss__python_number(weights, codebook):
    return float((weights.flatten()[:, None] - codebook).square().min(1).values.sum())


@mistake(
    "cluster_loss",
    caught_by="test_codebook_in_any_order",
    hint="the codebook is taken to be sorted: sort a copy first",
)
def cluster_loss__needs_order(weights, codebook):
    nearest = codebook[torch.bucketize(weights.detach(), borders(codebook))]
    return (weights - nearest).square().sum()


@mistake(
    "cluster_loss",
    caught_by="test_gradient_reaches_the_weights",
    hint="half of the squares: the gradient must be 2 (w - c)",
)
def cluster_loss__half(weights, codebook):
    return (weights.flatten()[:, None] - codebook).square().min(1).values.sum() / 2


@mistake(
    "quantize_codebook",
    caught_by="test_values_lie_on_the_grid",
    hint="these are the whole numbers: multiply by the scale again",
)
def quantize_codebook__codes_returned(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.abs().max().item() / (2 ** (bits - 1) - 1) or 1.0
    return torch.round(codebook / scale)


@mistake(
    "quantize_codebook",
    caught_by="test_values_lie_on_the_grid",
    hint="the scale divides by 2^(bits - 1): the largest code is 2^(bits - 1) - 1",
)
def quantize_codebook__off_by_one(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.abs().max().item() / 2 ** (bits - 1) or 1.0
    high = 2 ** (bits - 1) - 1
    return torch.round(codebook / scale).clamp(-high - 1, high) * scale


@mistake(
    "quantize_codebook",
    caught_by="test_values_lie_on_the_grid",
    hint="the grid has 2^bits - 1 steps on one side: one bit is the sign",
)
def quantize_codebook__sign_forgotten(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.abs().max().item() / (2**bits - 1) or 1.0
    return torch.round(codebook / scale) * scale


@mistake(
    "quantize_codebook",
    caught_by="test_one_sided_codebooks",
    hint="the scale uses the largest value, not the largest magnitude",
)
def quantize_codebook__max_without_abs(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    high = 2 ** (bits - 1) - 1
    scale = codebook.max().item() / high or 1.0
    return torch.round(codebook / scale).clamp(-high - 1, high) * scale


@mistake(
    "quantize_codebook",
    caught_by="test_values_lie_on_the_grid",
    hint="an asymmetric grid from minimum to maximum: the symmetric one is asked for",
)
def quantize_codebook__asymmetric(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    low = codebook.min().item()
    scale = (codebook.max().item() - low) / (2**bits - 1) or 1.0
    return torch.round((codebook - low) / scale) * scale + low


@mistake(
    "quantize_codebook",
    caught_by="test_values_lie_on_the_grid",
    hint="the values are cut off instead of rounded",
)
def quantize_codebook__truncates(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.abs().max().item() / (2 ** (bits - 1) - 1) or 1.0
    return (codebook / scale).trunc() * scale


@mistake(
    "quantize_codebook",
    caught_by="test_halves_and_zeros",
    hint="a codebook of zeros gives NaN (0 / 0): take the scale 1",
)
def quantize_codebook__zeros_give_nan(codebook, bits):
    require(2 <= bits <= 16, "bits must lie in 2 .. 16")
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.abs().max() / (2 ** (bits - 1) - 1)
    return torch.round(codebook / scale) * scale


@mistake(
    "quantize_codebook",
    caught_by="test_quantizing_rejects_impossible_arguments",
    hint="bits outside 2 .. 16 are not rejected",
)
def quantize_codebook__any_bits(codebook, bits):
    require(not codebook.isnan().any(), "codebook must not hold NaN")
    scale = codebook.abs().max().item() / max(2.0 ** (bits - 1) - 1, 1) or 1.0
    return torch.round(codebook / scale) * scale


@mistake(
    "cluster_loss",
    caught_by="test_weights_of_any_shape",
    hint="the given codebook is sorted in place: sort a copy",
)
def cluster_loss__sorts_in_place(weights, codebook):
    require(codebook.numel() > 0, "codebook must not be empty")
    codebook[:] = codebook.sort().values
    nearest = codebook[torch.bucketize(weights.detach(), borders(codebook))]
    return (weights - nearest).square().sum()
