"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("centroid_gradient")
def centroid_gradient__one_hot(weight_gradient, codes, k):
    if k < 1:
        raise ValueError("k")
    members = F.one_hot(codes.flatten(), k).to(weight_gradient.dtype)  # (n, k)
    return weight_gradient.flatten() @ members


@alternative("centroid_gradient")
def centroid_gradient__loop(weight_gradient, codes, k):
    if k <= 0:
        raise ValueError("k must be positive")
    return torch.stack([weight_gradient[codes == j].sum() for j in range(k)])


@alternative("centroid_gradient")
def centroid_gradient__by_autograd(weight_gradient, codes, k):
    if k < 1:
        raise ValueError("k")
    codebook = torch.zeros(k, dtype=weight_gradient.dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(codebook[codes], codebook, weight_gradient)
    return gradient


@alternative("finetune_codebooks")
def finetune_codebooks__functional_call(model, clusters, loader, epochs, lr):
    if epochs < 0 or not lr > 0:
        raise ValueError("epochs or lr")
    network = copy.deepcopy(model).train()
    names = dict(network.named_modules())
    for name in clusters:
        if name not in names:
            raise ValueError(f"no layer {name}")
    books = {n: c.detach().clone().requires_grad_() for n, (c, _) in clusters.items()}
    optimizer = torch.optim.SGD(list(books.values()), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for images, labels in loader:
            weights = {f"{n}.weight": books[n][clusters[n][1]] for n in books}
            loss = F.cross_entropy(torch.func.functional_call(network, weights, (images,)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {n: (books[n].detach(), clusters[n][1]) for n in books}


@alternative("finetune_codebooks")
def finetune_codebooks__returns_the_model(model, clusters, loader, epochs, lr):
    if epochs < 0:
        raise ValueError("epochs")
    if lr <= 0:
        raise ValueError("lr")
    network = apply_codebooks(model, clusters).train()
    others = [p for n, p in network.named_parameters() if n.removesuffix(".weight") not in clusters]
    optimizer = torch.optim.Adam(others, lr=lr)  # biases learn too
    for _ in range(epochs):
        for images, labels in loader:
            network.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
            with torch.no_grad():
                for name, (codebook, codes) in clusters.items():
                    weight = network.get_submodule(name).weight
                    step = lr * centroid_gradient(weight.grad, codes, len(codebook))
                    weight -= step[codes]
    return network.eval()


@alternative("finetune_codebooks")
def finetune_codebooks__plain_sgd_and_both(model, clusters, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = {name: (book.clone(), codes.clone()) for name, (book, codes) in clusters.items()}
    network = apply_codebooks(model, tuned)
    for _ in range(epochs):
        for images, labels in loader:
            network.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            for name, (book, codes) in tuned.items():
                gradient = network.get_submodule(name).weight.grad
                book -= lr * centroid_gradient(gradient, codes, len(book))
            network.load_state_dict(apply_codebooks(network, tuned).state_dict())
    return apply_codebooks(model, tuned), tuned


@alternative("finetune_codebooks")
def finetune_codebooks__parametrized(model, clusters, loader, epochs, lr):
    from torch.nn.utils import parametrize

    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")

    class Shared(nn.Module):
        def __init__(self, codebook, codes):
            super().__init__()
            self.start, self.codes = codebook.clone(), codes

        def forward(self, codebook):
            return codebook[self.codes]

        def right_inverse(self, weight):
            return self.start

    network = copy.deepcopy(model)
    layers = dict(network.named_modules())
    if set(clusters) - set(layers):
        raise ValueError("clusters")
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for name, (codebook, codes) in clusters.items():
        parametrize.register_parametrization(layers[name], "weight", Shared(codebook, codes))
        layers[name].parametrizations.weight.original.requires_grad_(True)
    train(network, loader, epochs, lr, progress=False)
    return {
        name: (layers[name].parametrizations.weight.original.detach(), codes)
        for name, (_, codes) in clusters.items()
    }


@alternative("cluster_loss")
def cluster_loss__distance_matrix(weights, codebook):
    distances = (weights.reshape(-1, 1) - codebook.reshape(1, -1)) ** 2
    return distances.min(dim=1)[0].sum()


@alternative("cluster_loss")
def cluster_loss__nearest_first(weights, codebook):
    if codebook.numel() == 0:
        raise ValueError("codebook is empty")
    with torch.no_grad():
        nearest = codebook[(weights.unsqueeze(-1) - codebook).abs().argmin(-1)]
    return F.mse_loss(weights, nearest, reduction="sum")


@alternative("quantize_codebook")
def quantize_codebook__tensor_scale(codebook, bits):
    if bits < 2 or bits > 16:
        raise ValueError("bits")
    if torch.isnan(codebook).any():
        raise ValueError("codebook")
    high = 2 ** (bits - 1) - 1
    largest = codebook.abs().max()
    if largest == 0:
        return codebook.clone()
    return torch.round(codebook * (high / largest)) * (largest / high)


@alternative("quantize_codebook")
def quantize_codebook__nearest_grid_point(codebook, bits):
    if not 2 <= bits <= 16:
        raise ValueError("bits")
    if bool((codebook != codebook).any()):
        raise ValueError("codebook")
    high = 2 ** (bits - 1) - 1
    scale = float(codebook.abs().max()) / high
    if scale == 0.0:
        scale = 1.0
    codes = (codebook / scale).round().clamp(-high - 1, high).to(torch.int32)
    return codes.to(codebook.dtype) * scale


@alternative("quantize_codebook")
def quantize_codebook__rounds_in_float64(codebook, bits):
    if bits not in range(2, 17):
        raise ValueError("bits")
    if any(math.isnan(centroid) for centroid in codebook.tolist()):
        raise ValueError("codebook")
    scale = float(codebook.abs().max()) / (2 ** (bits - 1) - 1)
    if scale == 0:
        return torch.zeros_like(codebook)
    rounded = [round(centroid / scale) * scale for centroid in codebook.tolist()]
    return torch.tensor(rounded, dtype=codebook.dtype)
