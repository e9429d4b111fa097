"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from autograder.authoring.answers import alternative


@alternative("kmeans_1d")
def kmeans_1d__distance_matrix(values, k, init="linear", max_iterations=100):
    if k < 1 or max_iterations < 0:
        raise ValueError("k and max_iterations")
    if torch.isnan(values).any():
        raise ValueError("values hold NaN")
    flat = values.detach().reshape(-1)
    distinct, inverse = torch.unique(flat, return_inverse=True)
    if distinct.numel() <= k:
        pad = distinct[:1].repeat(k - distinct.numel())
        return torch.cat([pad, distinct]), (inverse + len(pad)).reshape(values.shape)
    if init == "linear":
        step = (distinct[-1] - distinct[0]) / k
        codebook = distinct[0] + step * (torch.arange(k) + 0.5)  # middles of equal bins
    elif init == "random":
        codebook = distinct[torch.randperm(len(distinct))[:k]]
    elif init == "density":
        codebook = torch.quantile(flat, torch.linspace(0, 1, k, dtype=flat.dtype))
    else:
        raise ValueError(f"unknown init {init}")
    codebook = codebook.to(flat.dtype)
    for _ in range(max_iterations):
        codes = (flat.unsqueeze(1) - codebook).abs().argmin(1)
        old = codebook.clone()
        for j in range(k):
            members = flat[codes == j]
            if len(members):
                codebook[j] = members.mean()
        if torch.allclose(old, codebook, rtol=0, atol=1e-7):
            break
    codebook = codebook.sort().values
    return codebook, (flat.unsqueeze(1) - codebook).abs().argmin(1).reshape(values.shape)


@alternative("kmeans_1d")
def kmeans_1d__moves_empty_centroids(values, k, init="linear", max_iterations=100):
    if init not in {"linear", "random", "density"}:
        raise ValueError("init")
    if k <= 0:
        raise ValueError("k")
    if max_iterations < 0:
        raise ValueError("max_iterations")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("values")
    x = values.detach().flatten().numpy().astype(np.float64)
    distinct = np.unique(x)
    if len(distinct) <= k:
        book = np.sort(np.concatenate([distinct, np.repeat(distinct[0], k - len(distinct))]))
    else:
        if init == "linear":
            book = np.linspace(x.min(), x.max(), k)
        elif init == "random":
            book = np.sort(distinct[torch.randperm(len(distinct)).numpy()[:k]])
        else:
            book = np.quantile(x, (np.arange(k) + 1) / (k + 1))
        for _ in range(max_iterations):
            codes = np.abs(x[:, None] - book[None]).argmin(1)
            new = book.copy()
            for j in range(k):
                if (codes == j).any():
                    new[j] = x[codes == j].mean()
                else:  # to the value that is worst off
                    new[j] = x[np.abs(x - book[codes]).argmax()]
            new = np.sort(new)
            if np.abs(new - book).max() < 1e-9:
                break
            book = new
    book = torch.from_numpy(book).to(values.dtype)
    codes = (values.detach()[..., None] - book).abs().argmin(-1)
    return book, codes


@alternative("kmeans_1d")
def kmeans_1d__one_dimension_only(values, k, init="linear", max_iterations=100):
    if values.dim() != 1:
        raise ValueError("values must have one dimension")
    if k < 1:
        raise ValueError("k")
    if max_iterations < 1:
        raise ValueError("max_iterations")
    if values.isnan().any():
        raise ValueError("values")
    distinct = values.unique()
    n = len(distinct)
    if init == "linear":
        centers = torch.linspace(0, 1, k, dtype=values.dtype) * (distinct[-1] - distinct[0])
        centers = centers + distinct[0]
    elif init == "random":  # evenly at random within the range
        centers = torch.rand(k, dtype=values.dtype) * (distinct[-1] - distinct[0]) + distinct[0]
        centers = centers.sort().values
    elif init == "density":
        centers = values.sort().values[torch.linspace(0, len(values) - 1, k).long()]
    else:
        raise ValueError("init")
    if n <= k:
        centers = torch.cat([distinct, distinct[-1].repeat(k - n)])
    codes = None
    for _ in range(max_iterations):
        new = torch.argmin((values.reshape(-1, 1) - centers.reshape(1, -1)).abs(), dim=1)
        if codes is not None and torch.equal(new, codes):
            break
        codes = new
        total = torch.zeros(k, dtype=values.dtype).scatter_add(0, codes, values)
        count = torch.zeros(k, dtype=values.dtype).scatter_add(0, codes, torch.ones_like(values))
        if n > k:
            centers = torch.where(count > 0, total / count.clamp(min=1), centers)
    centers, order = centers.sort()
    place = torch.empty(k, dtype=torch.int64)
    place[order] = torch.arange(k)
    return centers, place[codes]


@alternative("cluster_weights")
def cluster_weights__density_start(model, k):
    if k <= 0:
        raise ValueError("k must be positive")
    result = {}
    with torch.no_grad():
        for name, module in model.named_modules():
            if type(module) in (nn.Linear, nn.Conv2d):
                codebook, codes = kmeans_1d(module.weight.flatten(), k, "density", 300)
                result[name] = (codebook, codes.view_as(module.weight))
    return result


@alternative("cluster_weights")
def cluster_weights__by_parameter(model, k):
    if k < 1:
        raise ValueError("k")
    found = {}
    for path, parameter in model.named_parameters():
        owner, _, leaf = path.rpartition(".")
        layer = model.get_submodule(owner)
        if leaf == "weight" and isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight = parameter.detach().clone()
            found[owner] = kmeans_1d(weight, k, init="random")
    return found


@alternative("apply_codebooks")
def apply_codebooks__state_dict(model, clusters):
    clustered = copy.deepcopy(model)
    state = clustered.state_dict()
    for name, (codebook, codes) in clusters.items():
        if f"{name}.weight" not in state:
            raise ValueError(f"no layer {name}")
        state[f"{name}.weight"] = codebook[codes.long()]
    clustered.load_state_dict(state)
    return clustered.eval()


@alternative("apply_codebooks")
def apply_codebooks__new_parameters(model, clusters):
    known = {name for name, _ in model.named_modules()}
    if not set(clusters) <= known:
        raise ValueError("clusters names a layer that is not there")
    clustered = copy.deepcopy(model)
    clustered.train(False)
    for name, (codebook, codes) in clusters.items():
        looked_up = torch.gather(codebook.detach(), 0, codes.flatten()).reshape(codes.shape)
        clustered.get_submodule(name).weight = nn.Parameter(looked_up)
    return clustered
