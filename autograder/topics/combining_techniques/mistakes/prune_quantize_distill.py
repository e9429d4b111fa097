"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

from autograder.authoring.answers import mistake


@mistake(
    "prune_quantize_distill",
    caught_by="test_zeros_or_grid_remain",
    hint="pruned and quantized once, then trained freely: neither zeros nor grid are held",
    replay=False,
)
def prune_quantize_distill__nothing_held(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    with torch.no_grad():
        for layer in weight_layers(small).values():
            kept = layer.weight * magnitude_mask(layer.weight, sparsity)
            layer.weight.copy_(round_to_grid(kept, weight_scale(kept, bits), bits))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_zeros_survive",
    hint="the zeros get lost while the model learns: keep the mask as well as the grid",
    replay=False,
)
def prune_quantize_distill__zeros_lost(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        kept = layer.weight.detach() * magnitude_mask(layer.weight, sparsity)
        layer.weight.data = kept
        scale = weight_scale(kept, bits)
        attach(layer, lambda w, scale=scale: round_to_grid(w, scale, bits))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_grid_survives",
    hint="the weights leave the grid while the model learns: round in every forward pass",
    replay=False,
)
def prune_quantize_distill__grid_lost(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        kept = layer.weight.detach() * mask
        layer.weight.data = round_to_grid(kept, weight_scale(kept, bits), bits)
        attach(layer, lambda w, mask=mask: w * mask)
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_zeros_survive",
    hint="an asymmetric grid from smallest to largest weight has no level at 0",
    replay=False,
)
def prune_quantize_distill__zero_is_no_level(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)

    def rounded(weight, mask):
        kept = weight * mask
        low, step = kept.min().detach(), (kept.max() - kept.min()).detach() / (2**bits - 1)
        return kept + (low + ((kept - low) / step).round() * step - kept).detach()

    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda w, mask=mask: rounded(w, mask))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_distillation_feels_the_rounding",
    hint="it is distilled in float and rounded at the end: nothing repairs the rounding",
    replay=False,
)
def prune_quantize_distill__rounds_at_the_end(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = prune_then_distill(model, teacher, loader, sparsity, epochs, temperature, alpha, lr)
    with torch.no_grad():
        for layer in weight_layers(small).values():
            scale = weight_scale(layer.weight, bits)
            layer.weight.copy_(round_to_grid(layer.weight, scale, bits))
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_alpha_weighs_the_labels_on_the_grid",
    hint="alpha weighs the hard loss and (1 - alpha) the soft one, not the other way round",
    replay=False,
)
def prune_quantize_distill__alpha_swapped(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: round_to_grid(w * mask, scale, bits))
    learn_from(small, teacher, loader, epochs, temperature, 1 - alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_models_of_the_caller_stay",
    hint="the given model itself is changed: work on a deep copy",
    replay=False,
)
def prune_quantize_distill__changes_the_model(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    teacher = copy.deepcopy(teacher)
    for layer in weight_layers(model).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: round_to_grid(w * mask, scale, bits))
    learn_from(model, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(model)
    return model


@mistake(
    "prune_quantize_distill",
    caught_by="test_without_epochs_it_is_pruned_and_rounded",
    hint="the weights to prune are chosen at random or by sign, not by magnitude",
    replay=False,
)
def prune_quantize_distill__wrong_weights_pruned(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = torch.ones(layer.weight.numel())
        mask[layer.weight.detach().flatten().argsort()[: round(sparsity * len(mask))]] = 0
        mask = mask.view_as(layer.weight)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: round_to_grid(w * mask, scale, bits))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_grid_survives",
    hint="every row has a scale of its own: one scale for the whole layer is asked for",
    replay=False,
)
def prune_quantize_distill__one_scale_a_channel(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    last = 2 ** (bits - 1) - 1

    def squeezed(weight, mask, scale):
        x = (weight * mask / scale).clamp(-last, last)
        return (x + (x.round() - x).detach()) * scale

    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        rows = (layer.weight.detach() * mask).abs().flatten(1)
        mean = rows.sum(dim=1) / (rows > 0).sum(dim=1).clamp_min(1)
        scale = torch.minimum(rows.amax(dim=1) / last, 2 * mean / last**0.5)
        scale = torch.where(scale > 0, scale, torch.ones(()))
        scale = scale.view(-1, *[1] * (layer.weight.dim() - 1))
        attach(layer, lambda w, mask=mask, scale=scale: squeezed(w, mask, scale))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_pruned_weights_stay_zero",
    hint="the mask is made anew at every step, so weights that were pruned come back",
    replay=False,
)
def prune_quantize_distill__moving_mask(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(
            layer,
            lambda w, scale=scale: round_to_grid(w * magnitude_mask(w, sparsity), scale, bits),
        )
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_weights_go_to_the_nearest_level",
    hint="codes are not clamped: large weights lie beyond the range of so many bits",
    replay=False,
)
def prune_quantize_distill__codes_out_of_range(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)

    def squeezed(weight, mask, scale):
        x = weight * mask / scale
        return (x + (x.round() - x).detach()) * scale

    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: squeezed(w, mask, scale))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_weights_go_to_the_nearest_level",
    hint="digits are cut off (floor or int) where the nearest level is asked for",
    replay=False,
)
def prune_quantize_distill__cuts_instead_of_rounding(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    last = 2 ** (bits - 1) - 1

    def squeezed(weight, mask, scale):
        x = (weight * mask / scale).clamp(-last, last)
        return (x + (x.trunc() - x).detach()) * scale

    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: squeezed(w, mask, scale))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@mistake(
    "prune_quantize_distill",
    caught_by="test_biases_and_norms_stay_in_float",
    hint="batch norm or biases are pruned or rounded too: they stay in float",
    replay=False,
)
def prune_quantize_distill__prunes_all(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        scale = weight_scale(layer.weight * mask, bits)
        attach(layer, lambda w, mask=mask, scale=scale: round_to_grid(w * mask, scale, bits))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    with torch.no_grad():
        for module in small.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.mul_(magnitude_mask(module.weight, sparsity))
    return small
