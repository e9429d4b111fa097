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


# ---------------------------------------------------------------- finetune_pruned


@mistake(
    "finetune_pruned",
    caught_by="test_zeros_stay_zero",
    hint="the masks are applied once, before the training, and the zeros come back",
    replay=False,
)
def finetune_pruned__zeros_come_back(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    return train(tuned, loader, epochs, lr)


@mistake(
    "finetune_pruned",
    caught_by="test_masks_are_applied_first",
    hint="the masks are applied after the steps only: without a step the model is not pruned",
    replay=False,
)
def finetune_pruned__masks_not_applied_first(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    return train(tuned, loader, epochs, lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_zeros_are_held_during_training",
    hint="the pruned weights learn all the time and are cut at the end: mask after every step",
    replay=False,
)
def finetune_pruned__masked_only_at_the_end(model, masks, loader, epochs, lr):
    tuned = train(copy.deepcopy(model), loader, epochs, lr)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    return tuned


@mistake(
    "finetune_pruned",
    caught_by="test_finetuned_model_is_in_eval_mode",
    hint="the model comes back in train mode: end with model.eval()",
    replay=False,
)
def finetune_pruned__left_in_train_mode(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    hold()
    return train(tuned, loader, epochs, lr, after_step=hold).train()


@mistake(
    "finetune_pruned",
    caught_by="test_finetuning_leaves_the_callers_model",
    hint="the caller's model is trained: work on copy.deepcopy(model)",
    replay=False,
)
def finetune_pruned__changes_the_callers_model(model, masks, loader, epochs, lr):

    def hold():
        for name, mask in masks.items():
            model.get_parameter(name).data *= mask

    hold()
    return train(model, loader, epochs, lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_the_pruned_model_learns",
    hint="the model that is returned was never trained",
    replay=False,
)
def finetune_pruned__does_not_train(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model).eval()
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    train(copy.deepcopy(tuned), loader, epochs, lr)
    return tuned


@mistake(
    "finetune_pruned",
    caught_by="test_the_pruned_model_learns",
    hint="the pruned layers are frozen, and only biases and norm layers learn",
    replay=False,
)
def finetune_pruned__kept_weights_frozen(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
        tuned.get_parameter(name).requires_grad_(False)
    tuned = train(tuned, loader, epochs, lr)
    for name in masks:
        tuned.get_parameter(name).requires_grad_(True)
    return tuned


@mistake(
    "finetune_pruned",
    caught_by="test_only_the_masked_layers_are_held",
    hint="every zero of the model is held, also where its mask says keep",
    replay=False,
)
def finetune_pruned__holds_every_zero(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    zeros = {name: parameter.detach() == 0 for name, parameter in tuned.named_parameters()}

    def hold():
        for name, parameter in tuned.named_parameters():
            parameter.data[zeros[name]] = 0

    return train(tuned, loader, epochs, lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_epochs_and_learning_rate_count",
    hint="only one epoch is trained, whatever `epochs` says",
    replay=False,
)
def finetune_pruned__trains_one_epoch_only(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    hold()
    return train(tuned, loader, min(epochs, 1), lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_epochs_and_learning_rate_count",
    hint="`lr` is not used",
    replay=False,
)
def finetune_pruned__ignores_the_learning_rate(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    hold()
    return train(tuned, loader, epochs, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_finetuning_rejects_impossible_arguments",
    hint="masks with unknown names are skipped in silence: they must raise a ValueError",
)
def finetune_pruned__skips_unknown_names(model, masks, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model)

    def hold():
        for name, parameter in tuned.named_parameters():
            if name in masks:
                parameter.data *= masks[name]

    hold()
    return train(tuned, loader, epochs, lr, after_step=hold)


# ---------------------------------------------------------------- sensitivity_scan


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="layers stay pruned: every measurement must start from the whole model",
)
def sensitivity_scan__layers_stay_pruned(model, loader, sparsities):
    trial, result = copy.deepcopy(model), {}
    for name, layer in trial.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                prune_weights(nn.Sequential(layer), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="a layer stays pruned from one sparsity to the next",
)
def sensitivity_scan__restored_too_late(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            trial, result[name] = copy.deepcopy(model), []
            for sparsity in sparsities:
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_follows_the_order_of_sparsities",
    hint="the sparsities are sorted: the accuracies must be in the order given",
)
def sensitivity_scan__sorted(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sorted(sparsities):
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_leaves_the_model_alone",
    hint="the caller's model stays pruned: work on a copy",
)
def sensitivity_scan__changes_the_model(model, loader, sparsities):
    whole, result = copy.deepcopy(model.state_dict()), {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                model.load_state_dict(whole)
                prune_weights(nn.Sequential(layer), sparsity)
                result[name].append(accuracy(model, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_leaves_the_model_alone",
    hint="model.eval() is called on the caller's model, so its modes change: use a copy",
)
def sensitivity_scan__sets_eval_mode(model, loader, sparsities):
    model.eval()
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="the keys are names of parameters; they are names of layers, without .weight",
)
def sensitivity_scan__names_of_parameters(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[f"{name}.weight"] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[f"{name}.weight"].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_every_image_counts_the_same",
    hint="the mean of the batches' accuracies counts the images of a small last batch too much",
)
def sensitivity_scan__mean_of_batches(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model).eval()
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                parts = [(trial(x).argmax(1) == y).float().mean().item() for x, y in loader]
                result[name].append(sum(parts) / len(parts))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="accuracies in percent: they are fractions in [0, 1]",
)
def sensitivity_scan__percent(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(100 * accuracy(trial, loader))
    return result


# ---------------------------------------------------------------- dense_to_csr


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="the last row pointer is missing: there are rows + 1 of them",
)
def dense_to_csr__no_last_pointer(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    return matrix[rows, columns], columns, counts.cumsum(0) - counts


@mistake(
    "dense_to_csr",
    caught_by="test_csr_with_empty_rows",
    hint="empty rows have no pointer: an empty row repeats the pointer before it",
)
def dense_to_csr__skips_empty_rows(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = rows.unique_consecutive(return_counts=True)[1]
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="counts of the rows in place of pointers: add them up (cumsum)",
)
def dense_to_csr__counts(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="row indices in place of row pointers: that is COO",
)
def dense_to_csr__coo(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    return matrix[rows, columns], columns, rows


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="the matrix is read column by column: that is CSC",
)
def dense_to_csr__csc(matrix):
    columns, rows = matrix.T.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=0)
    return matrix[rows, columns], rows, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="negative values are left out: everything that is not 0 is stored",
)
def dense_to_csr__positive_only(matrix):
    rows, columns = (matrix > 0).nonzero(as_tuple=True)
    counts = (matrix > 0).sum(dim=1)
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_an_all_zero_matrix",
    hint="an all-zero matrix gives float indices: an empty list has no integer dtype of its own",
)
def dense_to_csr__empty_lists(matrix):
    values, columns, pointers = [], [], [0]
    for row in matrix.tolist():
        for column, value in enumerate(row):
            if value != 0:
                values.append(value)
                columns.append(column)
        pointers.append(len(values))
    values = torch.tensor(values, dtype=matrix.dtype)
    return values, torch.tensor(columns), torch.tensor(pointers)


@mistake(
    "dense_to_csr",
    caught_by="test_csr_keeps_dtype_and_every_nonzero",
    hint="the values lose the matrix's dtype",
)
def dense_to_csr__float_values(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    pointers = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return matrix[rows, columns].float(), columns, pointers


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="int32 indices: index tensors are int64",
)
def dense_to_csr__int32(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    pointers = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return matrix[rows, columns], columns.int(), pointers.int()


# ---------------------------------------------------------------- csr_matvec


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="values meet the elements of x in their order: each needs x[column_indices]",
)
def csr_matvec__ignores_columns(values, column_indices, row_pointers, x):
    out = values.new_zeros(len(row_pointers) - 1)
    for row in range(len(out)):
        for place in range(int(row_pointers[row]), int(row_pointers[row + 1])):
            out[row] += values[place] * x[place % len(x)]
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_with_empty_rows",
    hint="empty rows are left out: they give a 0",
)
def csr_matvec__drops_empty_rows(values, column_indices, row_pointers, x):
    products = (values * x[column_indices]).split(row_pointers.diff().tolist())
    return torch.stack([part.sum() for part in products if len(part)])


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="the result has the length of x: it has one element for each row",
)
def csr_matvec__length_of_x(values, column_indices, row_pointers, x):
    out = torch.zeros_like(x)
    for row in range(min(len(row_pointers) - 1, len(x))):
        part = slice(int(row_pointers[row]), int(row_pointers[row + 1]))
        out[row] = (values[part] * x[column_indices[part]]).sum()
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="the last row is left out: there are len(row_pointers) - 1 rows",
)
def csr_matvec__misses_last_row(values, column_indices, row_pointers, x):
    out = values.new_zeros(len(row_pointers) - 1)
    for row in range(len(row_pointers) - 2):
        part = slice(int(row_pointers[row]), int(row_pointers[row + 1]))
        out[row] = (values[part] * x[column_indices[part]]).sum()
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="an element of each row is missing or counted twice: row r ends before pointer r + 1",
)
def csr_matvec__ends_too_early(values, column_indices, row_pointers, x):
    out = values.new_zeros(len(row_pointers) - 1)
    for row in range(len(out)):
        part = slice(int(row_pointers[row]), max(int(row_pointers[row + 1]) - 1, 0))
        out[row] = (values[part] * x[column_indices[part]]).sum()
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_keeps_the_dtype",
    hint="the result is always float32: torch.zeros needs the dtype of the values",
)
def csr_matvec__float32(values, column_indices, row_pointers, x):
    rows = torch.arange(len(row_pointers) - 1).repeat_interleave(row_pointers.diff())
    products = (values * x[column_indices]).float()
    return torch.zeros(len(row_pointers) - 1).index_add(0, rows, products)


@mistake(
    "csr_matvec",
    caught_by="test_product_rejects_what_is_no_vector",
    hint="x with two dimensions is not rejected: csr_matvec takes a vector",
)
def csr_matvec__takes_anything(values, column_indices, row_pointers, x):
    x = x.flatten()
    rows = torch.arange(len(row_pointers) - 1).repeat_interleave(row_pointers.diff())
    products = values * x[column_indices]
    return products.new_zeros(len(row_pointers) - 1).index_add(0, rows, products)


# ---------------------------------------------------------------- storage_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="the pointers of csr and csc are forgotten",
)
def storage_bytes__no_pointers(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    indices = {"dense": 0, "csr": nonzeros, "csc": nonzeros, "coo": 2 * nonzeros}[layout]
    return (rows * columns if layout == "dense" else nonzeros) * value_bytes + indices * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="csr and csc are swapped: csr has a pointer for each row",
)
def storage_bytes__swapped(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": columns + 1, "csc": rows + 1, "coo": nonzeros}[layout]
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="one pointer is missing: there are rows + 1 (csr) or columns + 1 (csc)",
)
def storage_bytes__one_pointer_short(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows, "csc": columns, "coo": nonzeros}[layout]
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="coo stores a row and a column index for each value, not one",
)
def storage_bytes__coo_one_index(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout]
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_values_and_indices",
    hint="value_bytes and index_bytes are not used, or one in place of the other",
)
def storage_bytes__four_bytes_each(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": nonzeros}[layout]
    return (2 * nonzeros + pointers) * value_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="the dense layout stores the zeros, too",
)
def storage_bytes__dense_nonzeros(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    indices = {"csr": nonzeros + rows + 1, "csc": nonzeros + columns + 1, "coo": 2 * nonzeros}
    return nonzeros * value_bytes + indices.get(layout, 0) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_reject_impossible_arguments",
    hint="impossible sizes are not rejected: unknown layouts, negative sizes, too many nonzeros",
)
def storage_bytes__rejects_nothing(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows + 1, "csc": columns + 1}.get(layout, nonzeros)
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


# ---------------------------------------------------------------- break_even_sparsity


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_of_every_layout",
    hint="the density is returned, not the sparsity: sparsity = 1 - density",
)
def break_even_sparsity__density(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    return (rows * columns * value_bytes - pointers) / each / (rows * columns)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_of_every_layout",
    hint="the pointers are forgotten",
)
def break_even_sparsity__no_pointers(rows, columns, layout, value_bytes=4, index_bytes=4):
    return 1 - value_bytes / (value_bytes + index_bytes * (2 if layout == "coo" else 1))


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_of_every_layout",
    hint="csr and csc are swapped on a matrix that is not square",
)
def break_even_sparsity__swapped(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csc": rows + 1, "csr": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    return 1 - (rows * columns * value_bytes - pointers) / each / (rows * columns)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_is_not_rounded",
    hint="the number of nonzeros is rounded: the solution is real-valued",
)
def break_even_sparsity__whole_nonzeros(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    return 1 - (rows * columns * value_bytes - pointers) // each / (rows * columns)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_that_does_not_exist",
    hint="where no sparsity in [0, 1] is a solution: a ValueError, not a clamped number",
)
def break_even_sparsity__clamped(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    sparsity = 1 - (rows * columns * value_bytes - pointers) / each / (rows * columns)
    return min(max(sparsity, 0.0), 1.0)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_rejects_impossible_arguments",
    hint='"dense" has no break-even point with itself: ValueError',
)
def break_even_sparsity__takes_dense(rows, columns, layout, value_bytes=4, index_bytes=4):
    require(layout in ("dense", "csr", "csc", "coo") and rows > 0 and columns > 0, "arguments")
    if layout == "dense":
        return 0.0
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    sparsity = 1 - (rows * columns * value_bytes - pointers) / each / (rows * columns)
    require(0 <= sparsity <= 1, "no break-even point")
    return sparsity


# ---------------------------------------------------------------- apoz


@mistake(
    "apoz",
    caught_by="test_apoz_of_neurons_and_of_channels",
    hint="the mean goes over the wrong axes: one number for each neuron, over images and positions",
)
def apoz__over_neurons(activations):
    return (activations == 0).float().mean(dim=1 if activations.ndim == 2 else (1, 2, 3))


@mistake(
    "apoz",
    caught_by="test_apoz_of_neurons_and_of_channels",
    hint="the positions of a feature map are not averaged: one number for each channel",
)
def apoz__over_images_only(activations):
    return (activations == 0).float().mean(dim=0)


@mistake(
    "apoz",
    caught_by="test_apoz_counts_exact_zeros_only",
    hint="negative values are counted: only exact zeros are",
)
def apoz__counts_negatives(activations):
    axes = [axis for axis in range(activations.ndim) if axis != 1]
    return (activations <= 0).float().mean(dim=axes)


@mistake(
    "apoz",
    caught_by="test_apoz_of_neurons_and_of_channels",
    hint="percentages: a fraction in [0, 1] is expected",
)
def apoz__percent(activations):
    axes = [axis for axis in range(activations.ndim) if axis != 1]
    return 100 * (activations == 0).float().mean(dim=axes)


@mistake(
    "apoz",
    caught_by="test_apoz_of_neurons_and_of_channels",
    hint="the fraction of nonzeros: APoZ is the fraction of zeros",
)
def apoz__nonzeros(activations):
    axes = [axis for axis in range(activations.ndim) if axis != 1]
    return (activations != 0).float().mean(dim=axes)


@mistake(
    "apoz",
    caught_by="test_apoz_of_neurons_and_of_channels",
    hint="a count of zeros: divide by the number of images and positions",
)
def apoz__counts(activations):
    axes = [axis for axis in range(activations.ndim) if axis != 1]
    return (activations == 0).sum(dim=axes).float()


@mistake(
    "apoz",
    caught_by="test_apoz_of_neurons_and_of_channels",
    hint="a channel counts as zero only where all its positions are: average over positions",
)
def apoz__whole_maps(activations):
    zero = activations == 0
    return (zero if zero.ndim == 2 else zero.flatten(2).all(dim=2)).float().mean(dim=0)


@mistake(
    "apoz",
    caught_by="test_apoz_counts_exact_zeros_only",
    hint="a tolerance counts tiny activations as zero: only exact zeros count",
)
def apoz__tolerance(activations):
    axes = [axis for axis in range(activations.ndim) if axis != 1]
    return (activations.abs() < 1e-8).float().mean(dim=axes)


@mistake(
    "apoz",
    caught_by="test_apoz_rejects_other_input",
    hint="activations must be 2-D or 4-D and hold no NaN: ValueError",
)
def apoz__rejects_nothing(activations):
    axes = [axis for axis in range(activations.ndim) if axis != 1]
    return (activations == 0).float().mean(dim=axes)


# ---------------------------------------------------------------- select_neurons


@mistake(
    "select_neurons",
    caught_by="test_keeps_low_apoz",
    hint="the informative neurons are pruned: a high APoZ means that a neuron is mostly silent",
)
def select_neurons__keeps_the_silent(apoz_values, threshold):
    return (apoz_values > threshold).nonzero().flatten()


@mistake(
    "select_neurons",
    caught_by="test_keeps_what_equals_the_threshold",
    hint="an APoZ equal to the threshold is kept: <= in place of <",
)
def select_neurons__strict(apoz_values, threshold):
    keep = (apoz_values < threshold).nonzero().flatten()
    return keep if len(keep) else apoz_values.argmin().reshape(1)


@mistake(
    "select_neurons",
    caught_by="test_never_removes_all_neurons",
    hint="all neurons can go: when all are above the threshold, the single lowest stays",
)
def select_neurons__removes_all(apoz_values, threshold):
    return (apoz_values <= threshold).nonzero().flatten()


@mistake(
    "select_neurons",
    caught_by="test_never_removes_all_neurons",
    hint="when all are above, the first neuron stays in place of the one with the lowest APoZ",
)
def select_neurons__keeps_the_first(apoz_values, threshold):
    keep = (apoz_values <= threshold).nonzero().flatten()
    return keep if len(keep) else torch.tensor([0])


@mistake(
    "select_neurons",
    caught_by="test_never_removes_all_neurons",
    hint="when all are above the threshold, all stay: only the single lowest does",
)
def select_neurons__keeps_all(apoz_values, threshold):
    keep = (apoz_values <= threshold).nonzero().flatten()
    return keep if len(keep) else torch.arange(len(apoz_values))


@mistake(
    "select_neurons",
    caught_by="test_keeps_low_apoz",
    hint="a mask is returned: indices (int64) are expected",
)
def select_neurons__mask(apoz_values, threshold):
    return apoz_values <= threshold


@mistake(
    "select_neurons",
    caught_by="test_keeps_low_apoz",
    hint="the indices are ordered by APoZ: they must ascend",
)
def select_neurons__sorted_by_apoz(apoz_values, threshold):
    order = apoz_values.argsort()
    keep = order[apoz_values[order] <= threshold]
    return keep if len(keep) else order[:1]


@mistake(
    "select_neurons",
    caught_by="test_keeps_all_or_only_some",
    hint="squeeze() takes the only dimension away when one neuron is left: use flatten()",
)
def select_neurons__squeezed(apoz_values, threshold):
    keep = (apoz_values <= threshold).nonzero().squeeze()
    return keep if keep.numel() else apoz_values.argmin().reshape(1)


@mistake(
    "select_neurons",
    caught_by="test_selection_rejects_impossible_arguments",
    hint="NaN and thresholds outside [0, 1] must raise a ValueError",
)
def select_neurons__rejects_nothing(apoz_values, threshold):
    keep = (apoz_values <= threshold).nonzero().flatten()
    return keep if len(keep) else apoz_values.argmin().reshape(1)


# ---------------------------------------------------------------- remove_neurons


@mistake(
    "remove_neurons",
    caught_by="test_linear_to_linear",
    hint="the bias of the first layer still has all neurons, or the first of them: bias[keep]",
)
def remove_neurons__bias_not_cut(layer, next_layer, keep, spatial=1):
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[: len(keep)])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_linear_to_linear",
    hint="the bias of the next layer is cut, too: its outputs all stay",
)
def remove_neurons__next_bias_cut(layer, next_layer, keep, spatial=1):
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    if next_layer.bias is not None:
        next_layer.bias = nn.Parameter(next_layer.bias.detach()[keep[keep < len(next_layer.bias)]])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_conv_to_flatten_to_linear",
    hint="after a flatten each channel owns `spatial` columns in a row: c * spatial and following",
)
def remove_neurons__strided_columns(layer, next_layer, keep, spatial=1):
    layer, next_layer, channels = copy.deepcopy(layer), copy.deepcopy(next_layer), len(layer.weight)
    columns = (keep + channels * torch.arange(spatial)[:, None]).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_conv_to_flatten_to_linear",
    hint="`spatial` is not used: after a flatten each channel owns `spatial` columns",
)
def remove_neurons__ignores_spatial(layer, next_layer, keep, spatial=1):
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, keep])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(keep))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_order_of_keep_is_followed",
    hint="the order of `keep` is lost: new neuron i is old neuron keep[i]",
)
def remove_neurons__sorts_keep(layer, next_layer, keep, spatial=1):
    keep = keep.sort().values
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_order_of_keep_is_followed",
    hint="a mask loses the order of `keep`: the columns of the next layer must follow it",
)
def remove_neurons__columns_by_mask(layer, next_layer, keep, spatial=1):
    layer, next_layer, outputs = copy.deepcopy(layer), copy.deepcopy(next_layer), len(layer.weight)
    columns = torch.zeros(outputs, dtype=torch.bool).index_fill(0, keep, True)
    columns = columns.repeat_interleave(spatial)
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, int(columns.sum()))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_conv_to_conv",
    hint="stride, padding and the other arguments of the conv layer are lost",
)
def remove_neurons__plain_conv(layer, next_layer, keep, spatial=1):
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    small = []
    for old, weight in ((layer, layer.weight[keep]), (next_layer, next_layer.weight[:, columns])):
        outputs, inputs = weight.shape[:2]
        if isinstance(old, nn.Conv2d):
            new = nn.Conv2d(inputs, outputs, old.kernel_size, bias=old.bias is not None)
        else:
            new = nn.Linear(inputs, outputs, bias=old.bias is not None)
        new.weight.data = weight.detach().clone()
        if old.bias is not None:
            new.bias.data = (old.bias[keep] if old is layer else old.bias).detach().clone()
        small.append(new)
    return tuple(small)


@mistake(
    "remove_neurons",
    caught_by="test_layers_without_bias",
    hint="layers without bias get one, or fail: bias may be None",
)
def remove_neurons__always_bias(layer, next_layer, keep, spatial=1):
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_removing_leaves_the_given_layers",
    hint="the given layers are changed: copy them first",
)
def remove_neurons__in_place(layer, next_layer, keep, spatial=1):
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(keep))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_linear_to_linear",
    hint="out_features and in_features still tell the old sizes",
)
def remove_neurons__old_sizes(layer, next_layer, keep, spatial=1):
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    columns = (keep[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[keep])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[keep])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_linear_to_linear",
    hint="the weights are set to zero, but the layers stay as large as they were",
)
def remove_neurons__zeroes_only(layer, next_layer, keep, spatial=1):
    layer, next_layer = copy.deepcopy(layer), copy.deepcopy(next_layer)
    gone = torch.ones(len(layer.weight), dtype=torch.bool).index_fill(0, keep, False)
    with torch.no_grad():
        layer.weight[gone] = 0
        next_layer.weight[:, gone.repeat_interleave(spatial)] = 0
    return layer, next_layer


@mistake(
    "remove_neurons",
    caught_by="test_linear_to_linear",
    hint="the neurons in `keep` are removed, and the others stay",
)
def remove_neurons__removes_keep(layer, next_layer, keep, spatial=1):
    layer, next_layer, outputs = copy.deepcopy(layer), copy.deepcopy(next_layer), len(layer.weight)
    rest = torch.tensor([c for c in range(outputs) if c not in keep.tolist()], dtype=torch.int64)
    columns = (rest[:, None] * spatial + torch.arange(spatial)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[rest])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[rest])
    next_layer.weight = nn.Parameter(next_layer.weight.detach()[:, columns])
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", len(rest))
    name = "in_features" if hasattr(next_layer, "in_features") else "in_channels"
    setattr(next_layer, name, len(columns))
    return layer, next_layer


# ---------------------------------------------------------------- trim


@mistake(
    "trim",
    caught_by="test_one_round_removes_the_silent_neurons",
    hint="APoZ is measured before the ReLU, where hardly anything is 0",
)
def trim__before_relu(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        inputs = torch.cat([images for images, _ in loader])
        features = nn.functional.max_pool2d(trimmed.conv1(inputs).relu(), 2)
        features = nn.functional.max_pool2d(trimmed.conv2(features).relu(), 2)
        values = apoz(trimmed.fc1(features.flatten(1)).detach())
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_every_image_counts_for_apoz",
    hint="APoZ is measured on one batch only: go through the whole loader",
)
def trim__first_batch(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", [next(iter(loader))]))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_reinitialize_draws_the_weights_afresh",
    hint="reinitialize is not used: with True the weights must be drawn afresh after the cut",
)
def trim__never_reinitializes(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_kept_neurons_keep_their_weights",
    hint="the trained weights are lost: with reinitialize=False the remaining weights stay",
    replay=False,
)
def trim__weights_lost(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed = LeNet(**{**trimmed.config, "fc1": len(keep)})
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_fine_tuning_lowers_the_loss",
    hint="the cut model is not fine-tuned, or another model is returned than the tuned one",
    replay=False,
)
def trim__no_fine_tuning(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        now = accuracy(trimmed, loader)
        history.append({**row, "accuracy_before": now, "accuracy_after": now})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_every_round_measures_anew",
    hint="APoZ is measured and neurons are removed in the first round only",
    replay=False,
)
def trim__measures_once(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    values = apoz(collect_activations(trimmed, "fc1", loader))
    keep = select_neurons(values, threshold)
    trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
    for _ in range(rounds):
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_trim_leaves_the_callers_model",
    hint="the caller's model is trimmed: work on a deep copy",
)
def trim__in_place(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = model.eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_history_tells_the_truth",
    hint="accuracies or APoZ in percent: fractions in [0, 1] are expected",
)
def trim__percent(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": 100 * values.mean().item()}
        row["accuracy_before"] = 100 * accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": 100 * accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_one_round_removes_the_silent_neurons",
    hint="`neurons` is the number that was removed: it is the number left",
)
def trim__counts_the_removed(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(values) - len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history
