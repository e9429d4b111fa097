"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- magnitude_mask


@alternative("magnitude_mask")
def magnitude_mask__by_topk(weight, sparsity):
    if not 0 <= sparsity < 1:
        raise ValueError("sparsity")
    if torch.isnan(weight).any():
        raise ValueError("weight")
    total = weight.numel()
    kept = total - round(sparsity * total)
    mask = torch.zeros(total, dtype=torch.bool)
    mask[weight.detach().abs().reshape(-1).topk(kept).indices] = True
    return mask.view(weight.shape)


@alternative("magnitude_mask")
def magnitude_mask__in_python(weight, sparsity):
    values = weight.detach().flatten().tolist()
    if not 0.0 <= sparsity < 1.0 or any(value != value for value in values):
        raise ValueError("sparsity must lie in [0, 1) and weight must not hold NaN")
    order = sorted(range(len(values)), key=lambda place: abs(values[place]))
    pruned = set(order[: round(sparsity * len(values))])
    kept = [place not in pruned for place in range(len(values))]
    return torch.tensor(kept, dtype=torch.bool).reshape(weight.shape)


@alternative("magnitude_mask")
def magnitude_mask__threshold_and_ties(weight, sparsity):
    if not (sparsity >= 0 and sparsity < 1) or bool((weight != weight).any()):
        raise ValueError("impossible")
    magnitudes = weight.detach().abs().flatten()
    count = round(sparsity * magnitudes.numel())
    if count == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    threshold = magnitudes.kthvalue(count).values
    pruned = magnitudes < threshold
    # The last of the equal ones go, until the number is right.
    equal = (magnitudes == threshold).nonzero().flatten()
    pruned[equal[len(equal) - (count - int(pruned.sum())) :]] = True
    return (~pruned).reshape(weight.shape)


@alternative("magnitude_mask")
def magnitude_mask__by_numpy(weight, sparsity):
    import numpy as np

    array = np.abs(weight.detach().numpy())
    if np.isnan(array).any() or np.isnan(sparsity) or sparsity < 0 or sparsity >= 1:
        raise ValueError("impossible")
    mask = np.ones(array.size, dtype=bool)
    mask[np.argsort(array, axis=None, kind="stable")[: round(sparsity * array.size)]] = False
    return torch.from_numpy(mask.reshape(array.shape))


# ---------------------------------------------------------------- prune_weights


@alternative("prune_weights")
def prune_weights__by_torch(model, sparsity, scope="layer"):
    from torch.nn.utils import prune

    if not 0 <= sparsity < 1 or scope not in {"layer", "global"}:
        raise ValueError("sparsity or scope")
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    if any(layer.weight.isnan().any() for layer in layers.values()):
        raise ValueError("model")
    if scope == "global":
        total = sum(layer.weight.numel() for layer in layers.values())
        prune.global_unstructured(
            [(layer, "weight") for layer in layers.values()],
            pruning_method=prune.L1Unstructured,
            amount=round(sparsity * total),
        )
    masks = {}
    for name, layer in layers.items():
        if scope == "layer":
            amount = round(sparsity * layer.weight.numel())
            prune.l1_unstructured(layer, "weight", amount=amount)
        masks[f"{name}.weight"] = layer.weight_mask.bool()
        prune.remove(layer, "weight")
    return masks


@alternative("prune_weights")
def prune_weights__sorted_triples(model, sparsity, scope="layer"):
    if not 0 <= sparsity < 1:
        raise ValueError("sparsity")
    if scope not in ("layer", "global"):
        raise ValueError("scope")
    masks, everything = {}, []
    for name, layer in model.named_modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            continue
        flat = layer.weight.detach().flatten()
        if flat.isnan().any():
            raise ValueError("model")
        triples = [(abs(value), name, place) for place, value in enumerate(flat.tolist())]
        masks[name] = torch.ones(flat.numel(), dtype=torch.bool)
        if scope == "layer":
            triples = sorted(triples)[: round(sparsity * len(triples))]
        everything += triples
    if scope == "global":
        everything = sorted(everything)[: round(sparsity * len(everything))]
    for _, name, place in everything:
        masks[name][place] = False
    shaped = {}
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight
        shaped[name + ".weight"] = mask.reshape(weight.shape)
        weight.data[~shaped[name + ".weight"]] = 0.0
    return shaped


@alternative("prune_weights")
def prune_weights__new_parameters(model, sparsity, scope="layer"):
    if scope != "layer" and scope != "global":
        raise ValueError(scope)
    weights = {}
    for path, parameter in reversed(list(model.named_parameters())):
        owner = model.get_submodule(path.rpartition(".")[0])
        if path.endswith("weight") and type(owner) in (nn.Conv2d, nn.Linear):
            weights[path] = parameter.detach().clone()
    flat = torch.cat([weight.reshape(-1) for weight in weights.values()])
    over_all, start, masks = magnitude_mask(flat, sparsity), 0, {}
    for path, weight in weights.items():
        part = over_all[start : start + weight.numel()].reshape(weight.shape)
        start += weight.numel()
        masks[path] = part if scope == "global" else magnitude_mask(weight, sparsity)
        owner = model.get_submodule(path.rpartition(".")[0])
        owner.weight = nn.Parameter(torch.where(masks[path], weight, torch.zeros_like(weight)))
    return masks
