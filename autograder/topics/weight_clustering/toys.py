"""Values to cluster, and what every right clustering has in common."""

from __future__ import annotations

import heapq
from typing import Any

import torch
from torch import Tensor, nn

from autograder.judge.checking import describe, expect, fail

Clusters = dict[str, tuple[Tensor, Tensor]]
HIDDEN_IMAGES = 1000


def groups(rng: torch.Generator, *centers: float, size: int = 60) -> Tensor:
    """Return values in narrow groups around the centres, in random order."""
    values = torch.cat([c + 0.1 * (torch.rand(size, generator=rng) - 0.5) for c in centers])
    return values[torch.randperm(len(values), generator=rng)]


def gaussian(rng: torch.Generator, count: int = 2000) -> Tensor:
    """Return values for which Lloyd's algorithm needs many steps."""
    return torch.randn(count, generator=rng)


def read(got: Any, values: Tensor, k: int, what: str) -> tuple[Tensor, Tensor]:
    """Expect (codebook, codes) of the right shapes and types; return both."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail(f"{what}: expected (codebook, codes), got {describe(got)}")
    codebook = expect.tensor(got[0], (k,), what=f"{what}: the codebook").detach()
    codes = expect.tensor(got[1], values.shape, what=f"{what}: the codes")
    if codes.dtype != torch.int64:
        fail(f"{what}: expected int64 codes, got {codes.dtype}")
    if not bool(codebook.isfinite().all()):
        fail(f"{what}: the codebook is not finite: {describe(codebook)}; was a cluster empty?")
    if not bool(((codes >= 0) & (codes < k)).all()):
        fail(f"{what}: expected codes in 0 .. {k - 1}, got {int(codes.min())} .. {codes.max()}")
    return codebook, codes


def expect_nearest(values: Tensor, codebook: Tensor, codes: Tensor, what: str) -> None:
    """Expect each code to be that of a nearest centroid, but for a hair."""
    values = values.detach()
    distances = (values.flatten()[:, None] - codebook).abs()
    own = (values - codebook[codes]).abs().flatten()
    if bool((own > distances.min(1).values + 2e-3 * values.std() + 1e-6).any()):
        fail(f"{what}: some codes are not those of the nearest centroid of the returned codebook")


def expect_means(values: Tensor, codebook: Tensor, codes: Tensor, what: str) -> None:
    """Expect each centroid to be the mean of its values, but for a hair: it has converged."""
    spread = float(values.detach().std())
    for code in codes.unique().tolist():
        mean = float(values.detach()[codes == code].mean())
        if abs(mean - float(codebook[code])) > 2e-3 * spread + 1e-6:
            fail(
                f"{what}: centroid {code} is {float(codebook[code]):.5g}, the mean of its values "
                f"{mean:.5g}: it has not converged"
            )


def sse(values: Tensor, codebook: Tensor, codes: Tensor) -> float:
    """Return the sum of squared errors."""
    return float((values.detach() - codebook[codes]).double().square().sum())


def random_clusters(model: nn.Module, k: int, rng: torch.Generator) -> Clusters:
    """Return codes and codebooks that have nothing to do with the model's weights.

    The codebooks are not sorted, just as after training.
    """
    return {
        name: (
            torch.randn(k, generator=rng),
            torch.randint(k, layer.weight.shape, generator=rng),
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


def tuned_weights(got: Any, clusters: Clusters, what: str) -> dict[str, Tensor]:
    """Return the weights by layer name that fine-tuning gave, whichever way it returns them.

    A dictionary of clusters or of codebooks, a model, or a tuple that holds one or both.
    """
    parts = list(got) if isinstance(got, tuple | list) else [got]
    parts = [part for part in parts if isinstance(part, dict | nn.Module)]
    if not parts:
        fail(f"{what}: expected the clusters with trained codebooks, got {describe(got)}")
    found = [
        _weights_of_model(part, clusters, what)
        if isinstance(part, nn.Module)
        else _weights_of_clusters(part, clusters, what)
        for part in parts
        if isinstance(part, nn.Module) or set(part) == set(clusters)
    ]
    if not found:
        fail(f"{what}: expected an entry for {sorted(clusters)}, got {[list(p) for p in parts]}")
    return found[0]


def _weights_of_clusters(part: dict, clusters: Clusters, what: str) -> dict[str, Tensor]:
    weights = {}
    for name, (codebook, codes) in clusters.items():
        entry = part[name]
        if isinstance(entry, Tensor):
            entry = (entry, codes)
        tuned, kept = read(entry, codes, len(codebook), f"{what}, layer {name}")
        if not torch.equal(kept, codes):
            fail(f"{what}, layer {name}: the codes changed; only the centroids learn")
        weights[name] = tuned[kept]
    return weights


def _weights_of_model(part: nn.Module, clusters: Clusters, what: str) -> dict[str, Tensor]:
    weights = {}
    for name, (codebook, codes) in clusters.items():
        weight = part.get_submodule(name).weight.detach()
        expect.tensor(weight, codes.shape, what=f"{what}, weight of layer {name}")
        for code in range(len(codebook)):
            members = weight[codes == code]
            if len(members) and float(members.max() - members.min()) > 1e-5:
                fail(f"{what}, layer {name}: weights with the code {code} are no longer equal")
        weights[name] = weight
    return weights


def fewest_bits(counts: list[int]) -> int:
    """Return the bits of an optimal prefix code: the sum of all joined counts."""
    heap, total = list(counts), 0
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total
