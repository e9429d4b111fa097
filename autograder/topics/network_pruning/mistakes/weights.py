"""Wrong answers that students really give, each with the check that must reject it."""

from __future__ import annotations

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- magnitude_mask


@mistake(
    "magnitude_mask",
    caught_by="test_keeps_the_largest_magnitudes",
    hint="signed values are compared, so large negative weights are pruned: use weight.abs()",
)
def magnitude_mask__signed(weight, sparsity):
    order = weight.flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(sparsity * weight.numel())]] = False
    return keep.reshape(weight.shape)


@mistake(
    "magnitude_mask",
    caught_by="test_keeps_the_largest_magnitudes",
    hint="the mask is inverted: True means keep",
)
def magnitude_mask__inverted(weight, sparsity):
    order = weight.abs().flatten().argsort()
    prune = torch.zeros(weight.numel(), dtype=torch.bool)
    prune[order[: round(sparsity * weight.numel())]] = True
    return prune.reshape(weight.shape)


@mistake(
    "magnitude_mask",
    caught_by="test_prunes_exactly_that_many_at_ties",
    hint="a threshold prunes all weights of equal magnitude or none: use ranks (argsort)",
)
def magnitude_mask__threshold(weight, sparsity):
    count = round(sparsity * weight.numel())
    if count == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    return weight.abs() > weight.abs().flatten().kthvalue(count).values


@mistake(
    "magnitude_mask",
    caught_by="test_keeps_the_largest_magnitudes",
    hint="off by one: the weight at the threshold itself is kept (>= in place of >)",
)
def magnitude_mask__keeps_the_threshold(weight, sparsity):
    count = round(sparsity * weight.numel())
    if count == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    return weight.abs() >= weight.abs().flatten().kthvalue(count).values


@mistake(
    "magnitude_mask",
    caught_by="test_rounds_as_python_does",
    hint="int() cuts off: the number of pruned weights is round(sparsity * numel)",
)
def magnitude_mask__truncates(weight, sparsity):
    order = weight.abs().flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: int(sparsity * weight.numel())]] = False
    return keep.reshape(weight.shape)


@mistake(
    "magnitude_mask",
    caught_by="test_rounds_as_python_does",
    hint="halves are rounded up; Python's round goes to the even neighbour",
)
def magnitude_mask__rounds_half_up(weight, sparsity):
    order = weight.abs().flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: int(sparsity * weight.numel() + 0.5)]] = False
    return keep.reshape(weight.shape)


@mistake(
    "magnitude_mask",
    caught_by="test_sparsity_zero_and_near_one",
    hint="weights that are 0 already are pruned even at sparsity 0: count ranks, not zeros",
)
def magnitude_mask__always_prunes_zeros(weight, sparsity):
    order = weight.abs().flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(sparsity * weight.numel())]] = False
    return keep.reshape(weight.shape) & (weight != 0)


@mistake(
    "magnitude_mask",
    caught_by="test_mask_leaves_the_weight_alone",
    hint="the weight is changed in place: abs_() and other names with _ at the end do that",
)
def magnitude_mask__in_place(weight, sparsity):
    order = weight.abs_().flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(sparsity * weight.numel())]] = False
    return keep.reshape(weight.shape)


@mistake(
    "magnitude_mask",
    caught_by="test_mask_of_extreme_values",
    hint="squares overflow and vanish for very large and very small weights: use abs()",
)
def magnitude_mask__squares(weight, sparsity):
    order = (weight**2).flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(sparsity * weight.numel())]] = False
    return keep.reshape(weight.shape)


@mistake(
    "magnitude_mask",
    caught_by="test_mask_rejects_impossible_arguments",
    hint="impossible arguments are not rejected: sparsity lies in [0, 1), NaN raises a ValueError",
)
def magnitude_mask__rejects_nothing(weight, sparsity):
    order = weight.abs().flatten().argsort()
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(sparsity * weight.numel())]] = False
    return keep.reshape(weight.shape)


# ---------------------------------------------------------------- prune_weights


@mistake(
    "prune_weights",
    caught_by="test_every_layer_is_pruned_by_itself",
    hint="biases are pruned too: only weights of conv and linear layers are",
)
def prune_weights__biases(model, sparsity, scope="layer"):
    parameters = {
        f"{name}.{kind}": parameter
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
        for kind, parameter in layer.named_parameters()
    }
    masks = {name: magnitude_mask(p.detach(), sparsity) for name, p in parameters.items()}
    if scope == "global":
        flat = torch.cat([p.detach().flatten() for p in parameters.values()])
        parts = magnitude_mask(flat, sparsity).split([p.numel() for p in parameters.values()])
        shaped = zip(parameters.items(), parts, strict=True)
        masks = {name: part.reshape(p.shape) for (name, p), part in shaped}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.mul_(masks[name])
    return masks


@mistake(
    "prune_weights",
    caught_by="test_every_layer_is_pruned_by_itself",
    hint="norm layers are pruned too: everything called weight is taken",
)
def prune_weights__norm_layers(model, sparsity, scope="layer"):
    weights = {name: p for name, p in model.named_parameters() if name.endswith("weight")}
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in weights.items()}
    if scope == "global":
        flat = torch.cat([p.detach().flatten() for p in weights.values()])
        parts = magnitude_mask(flat, sparsity).split([p.numel() for p in weights.values()])
        shaped = zip(weights.items(), parts, strict=True)
        masks = {name: part.reshape(p.shape) for (name, p), part in shaped}
    with torch.no_grad():
        for name, weight in weights.items():
            weight.mul_(masks[name])
    return masks


@mistake(
    "prune_weights",
    caught_by="test_global_compares_all_layers",
    hint='scope="global" prunes every layer by itself',
)
def prune_weights__never_global(model, sparsity, scope="layer"):
    masks = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            masks[f"{name}.weight"] = magnitude_mask(layer.weight.detach(), sparsity)
            layer.weight.data *= masks[f"{name}.weight"]
    return masks


@mistake(
    "prune_weights",
    caught_by="test_every_layer_is_pruned_by_itself",
    hint='layer and global are confused: "layer" compares the weights of all layers',
)
def prune_weights__scopes_swapped(model, sparsity, scope="layer"):
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in layers.items()}
    if scope == "layer":
        flat = torch.cat([weight.detach().flatten() for weight in layers.values()])
        parts = magnitude_mask(flat, sparsity).split([w.numel() for w in layers.values()])
        shaped = zip(layers.items(), parts, strict=True)
        masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    for name, weight in layers.items():
        weight.data *= masks[name]
    return masks


@mistake(
    "prune_weights",
    caught_by="test_scope_is_layer_by_default",
    hint='the default scope is "layer"',
)
def prune_weights__global_by_default(model, sparsity, scope="global"):
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in layers.items()}
    if scope == "global":
        flat = torch.cat([weight.detach().flatten() for weight in layers.values()])
        parts = magnitude_mask(flat, sparsity).split([w.numel() for w in layers.values()])
        shaped = zip(layers.items(), parts, strict=True)
        masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    for name, weight in layers.items():
        weight.data *= masks[name]
    return masks


@mistake(
    "prune_weights",
    caught_by="test_every_layer_is_pruned_by_itself",
    hint="the masks are returned, but the model's weights are not changed",
)
def prune_weights__not_in_place(model, sparsity, scope="layer"):
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in layers.items()}
    if scope == "global":
        flat = torch.cat([weight.detach().flatten() for weight in layers.values()])
        parts = magnitude_mask(flat, sparsity).split([w.numel() for w in layers.values()])
        shaped = zip(layers.items(), parts, strict=True)
        masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    return masks


@mistake(
    "prune_weights",
    caught_by="test_every_layer_is_pruned_by_itself",
    hint='masks are named by layer ("conv1"); they are named by parameter ("conv1.weight")',
)
def prune_weights__names_of_layers(model, sparsity, scope="layer"):
    layers = {
        name: layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in layers.items()}
    if scope == "global":
        flat = torch.cat([weight.detach().flatten() for weight in layers.values()])
        parts = magnitude_mask(flat, sparsity).split([w.numel() for w in layers.values()])
        shaped = zip(layers.items(), parts, strict=True)
        masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    for name, weight in layers.items():
        weight.data *= masks[name]
    return masks


@mistake(
    "prune_weights",
    caught_by="test_pruning_counts_at_ties_and_zeros",
    hint="one global threshold prunes all equal weights or none: use ranks over all layers",
)
def prune_weights__global_threshold(model, sparsity, scope="layer"):
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    flat = torch.cat([weight.detach().abs().flatten() for weight in layers.values()])
    count = round(sparsity * len(flat))
    threshold = flat.sort().values[count - 1] if count else -1.0
    masks = {}
    for name, weight in layers.items():
        by_layer = magnitude_mask(weight.detach(), sparsity)
        masks[name] = by_layer if scope == "layer" else weight.detach().abs() > threshold
        weight.data *= masks[name]
    return masks


@mistake(
    "prune_weights",
    caught_by="test_pruning_counts_at_ties_and_zeros",
    hint="masks are read from the zeros of the pruned weights, so old zeros count as pruned",
)
def prune_weights__masks_from_zeros(model, sparsity, scope="layer"):
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in layers.items()}
    if scope == "global":
        flat = torch.cat([weight.detach().flatten() for weight in layers.values()])
        parts = magnitude_mask(flat, sparsity).split([w.numel() for w in layers.values()])
        shaped = zip(layers.items(), parts, strict=True)
        masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    for name, weight in layers.items():
        weight.data *= masks[name]
    return {name: weight.detach() != 0 for name, weight in layers.items()}


@mistake(
    "prune_weights",
    caught_by="test_pruning_rejects_impossible_arguments",
    hint="an unknown scope is taken for one of the two: it must raise a ValueError",
)
def prune_weights__any_scope(model, sparsity, scope="layer"):
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    masks = {name: magnitude_mask(weight.detach(), sparsity) for name, weight in layers.items()}
    if scope == "global":
        flat = torch.cat([weight.detach().flatten() for weight in layers.values()])
        parts = magnitude_mask(flat, sparsity).split([w.numel() for w in layers.values()])
        shaped = zip(layers.items(), parts, strict=True)
        masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    for name, weight in layers.items():
        weight.data *= masks[name]
    return masks


@mistake(
    "prune_weights",
    caught_by="test_pruning_rejects_impossible_arguments",
    hint="sparsity 1 or a model with NaN is accepted: both must raise a ValueError",
)
def prune_weights__takes_one_and_nan(model, sparsity, scope="layer"):
    if not 0 <= sparsity <= 1 or scope not in ("layer", "global"):
        raise ValueError("sparsity or scope")
    layers = {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }
    flats = [weight.detach().abs().flatten() for weight in layers.values()]
    masks = {}
    for flat in [torch.cat(flats)] if scope == "global" else flats:
        keep = torch.ones(len(flat), dtype=torch.bool)
        keep[flat.argsort()[: round(sparsity * len(flat))]] = False
        masks[len(masks)] = keep
    parts = torch.cat(list(masks.values())).split([w.numel() for w in layers.values()])
    shaped = zip(layers.items(), parts, strict=True)
    masks = {name: part.reshape(weight.shape) for (name, weight), part in shaped}
    for name, weight in layers.items():
        weight.data *= masks[name]
    return masks
