"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autograder.authoring.answers import mistake


@mistake(
    "cluster_weights",
    caught_by="test_each_layer_has_its_own_codebook",
    hint="one codebook for all layers: cluster each layer by itself",
)
def cluster_weights__shared(model, k):
    require(k >= 1, "k must be at least 1")
    layers = {
        name: layer.weight.detach()
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    everything = torch.cat([weight.flatten() for weight in layers.values()])
    codebook, codes = kmeans_1d(everything, k)
    parts = codes.split([weight.numel() for weight in layers.values()])
    return {
        name: (codebook, part.reshape(layers[name].shape))
        for name, part in zip(layers, parts, strict=True)
    }


@mistake(
    "cluster_weights",
    caught_by="test_every_layer_is_clustered",
    hint="the codes were flattened: they have the shape of the weight",
)
def cluster_weights__shape_lost(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach().flatten(), k)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@mistake(
    "cluster_weights",
    caught_by="test_every_layer_is_clustered",
    hint="only linear layers are clustered; conv layers have weights too",
)
def cluster_weights__linear_only(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach(), k)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    }


@mistake(
    "cluster_weights",
    caught_by="test_every_layer_is_clustered",
    hint="the names are those of parameters: use the layer's name, without '.weight'",
)
def cluster_weights__parameter_names(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        f"{name}.weight": kmeans_1d(layer.weight.detach(), k)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@mistake(
    "cluster_weights",
    caught_by="test_deep_inside_and_other_kinds",
    hint="everything with a weight is clustered, batch normalisation too",
)
def cluster_weights__norm_layers_too(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach(), k)
        for name, layer in model.named_modules()
        if isinstance(getattr(layer, "weight", None), torch.Tensor)
    }


@mistake(
    "cluster_weights",
    caught_by="test_deep_inside_and_other_kinds",
    hint="only direct children are seen: named_modules() goes deeper than named_children()",
)
def cluster_weights__children_only(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach(), k)
        for name, layer in model.named_children()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@mistake(
    "cluster_weights",
    caught_by="test_clustering_leaves_the_model",
    hint="the weights of the model were replaced: only apply_codebooks does that, on a copy",
)
def cluster_weights__changes_the_model(model, k):
    require(k >= 1, "k must be at least 1")
    clusters = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            codebook, codes = kmeans_1d(layer.weight.detach(), k)
            layer.weight.data = codebook[codes]
            clusters[name] = (codebook, codes)
    return clusters


@mistake(
    "cluster_weights",
    caught_by="test_each_layer_has_its_own_codebook",
    hint="the magnitudes were clustered, so the sign is lost",
)
def cluster_weights__magnitudes(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach().abs(), k)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@mistake(
    "cluster_weights",
    caught_by="test_a_layer_with_few_distinct_weights",
    hint="k was lowered for a small layer: its codebook must still have length k",
)
def cluster_weights__smaller_k(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach(), min(k, layer.weight.numel()))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@mistake(
    "apply_codebooks",
    caught_by="test_it_is_a_copy_in_eval_mode",
    hint="the given model itself is changed: work on a deep copy",
)
def apply_codebooks__changes_the_model(model, clusters):
    layers = dict(model.named_modules())
    for name, (codebook, codes) in clusters.items():
        require(name in layers, f"clusters: no layer {name!r}")
        with torch.no_grad():
            layers[name].weight.copy_(codebook[codes])
    return model.eval()


@mistake(
    "apply_codebooks",
    caught_by="test_it_is_a_copy_in_eval_mode",
    hint="the copy keeps the mode of the given model: return it in eval mode",
)
def apply_codebooks__mode_kept(model, clusters):
    clustered = copy.deepcopy(model)
    layers = dict(clustered.named_modules())
    for name, (codebook, codes) in clusters.items():
        require(name in layers, f"clusters: no layer {name!r}")
        layers[name].weight.data = codebook[codes]
    return clustered


@mistake(
    "apply_codebooks",
    caught_by="test_weights_come_from_the_codebook",
    hint="the codes themselves were put in as weights: look them up in the codebook",
)
def apply_codebooks__codes_as_weights(model, clusters):
    clustered = copy.deepcopy(model).eval()
    layers = dict(clustered.named_modules())
    for name, (_, codes) in clusters.items():
        require(name in layers, f"clusters: no layer {name!r}")
        layers[name].weight.data = codes.float()
    return clustered


@mistake(
    "apply_codebooks",
    caught_by="test_conv_layers_keep_their_shape",
    hint="the weight was flattened to two dimensions: conv weights have four",
)
def apply_codebooks__shape_lost(model, clusters):
    clustered = copy.deepcopy(model).eval()
    layers = dict(clustered.named_modules())
    for name, (codebook, codes) in clusters.items():
        require(name in layers, f"clusters: no layer {name!r}")
        layers[name].weight.data = codebook[codes.flatten(1)]
    return clustered


@mistake(
    "apply_codebooks",
    caught_by="test_everything_else_stays",
    hint="the weights that are not in clusters were set to zero: leave those layers alone",
)
def apply_codebooks__others_zero(model, clusters):
    clustered = copy.deepcopy(model).eval()
    layers = dict(clustered.named_modules())
    require(set(clusters) <= set(layers), "clusters: unknown layer")
    for name, layer in layers.items():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            codebook, codes = clusters.get(name, (torch.zeros(1), layer.weight.long() * 0))
            layer.weight.data = codebook[codes]
    return clustered


@mistake(
    "apply_codebooks",
    caught_by="test_everything_else_stays",
    hint="the bias was quantized or lost: only weights come from the codebook",
)
def apply_codebooks__bias_lost(model, clusters):
    clustered = copy.deepcopy(model).eval()
    layers = dict(clustered.named_modules())
    for name, (codebook, codes) in clusters.items():
        require(name in layers, f"clusters: no layer {name!r}")
        layers[name].weight.data = codebook[codes]
        layers[name].bias.data = codebook[(layers[name].bias[:, None] - codebook).abs().argmin(1)]
    return clustered


@mistake(
    "apply_codebooks",
    caught_by="test_unknown_layers_are_rejected",
    hint="a name that the model does not have is passed over in silence",
)
def apply_codebooks__unknown_passes(model, clusters):
    clustered = copy.deepcopy(model).eval()
    for name, layer in clustered.named_modules():
        if name in clusters:
            codebook, codes = clusters[name]
            layer.weight.data = codebook[codes]
    return clustered


@mistake(
    "cluster_weights",
    caught_by="test_clustering_keeps_the_dtype",
    hint="the codebook is float64 for every model: keep the dtype of the weight",
)
def cluster_weights__always_float64(model, k):
    require(k >= 1, "k must be at least 1")
    return {
        name: kmeans_1d(layer.weight.detach().double(), k)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@mistake(
    "apply_codebooks",
    caught_by="test_weights_come_from_the_codebook",
    hint="the codebook is sorted first, but the codes belong to its own order",
)
def apply_codebooks__sorts_the_codebook(model, clusters):
    clustered = copy.deepcopy(model).eval()
    layers = dict(clustered.named_modules())
    for name, (codebook, codes) in clusters.items():
        require(name in layers, f"clusters: no layer called {name!r}")
        layers[name].weight.data = codebook.sort().values[codes]
    return clustered
