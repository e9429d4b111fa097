"""Wrong answers that students really give, each with the check that must reject it."""

from __future__ import annotations

from autograder.authoring.answers import mistake

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


@mistake(
    "select_neurons",
    caught_by="test_keeps_what_equals_the_threshold",
    hint="a tolerance or rounding keeps an APoZ that is a little above the threshold",
)
def select_neurons__tolerance(apoz_values, threshold):
    keep = (apoz_values < threshold + 1e-3).nonzero().flatten()
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
