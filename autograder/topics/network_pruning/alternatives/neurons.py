"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- apoz


@alternative("apoz")
def apoz__channels_first(activations):
    if activations.dim() not in (2, 4) or torch.isnan(activations).any():
        raise ValueError("activations")
    by_channel = activations.transpose(0, 1).flatten(1)
    return 1 - by_channel.count_nonzero(dim=1) / by_channel.shape[1]


@alternative("apoz")
def apoz__loop_float64(activations):
    if activations.ndim != 2 and activations.ndim != 4:
        raise ValueError("activations")
    if (activations != activations).any():
        raise ValueError("activations")
    fractions = []
    for channel in range(activations.shape[1]):
        part = activations[:, channel]
        fractions.append(sum(value == 0 for value in part.flatten().tolist()) / part.numel())
    return torch.tensor(fractions, dtype=torch.float64)


@alternative("apoz")
def apoz__by_numpy(activations):
    import numpy as np

    array = activations.detach().numpy()
    if array.ndim not in (2, 4) or np.isnan(array).any():
        raise ValueError("activations")
    return torch.from_numpy(np.mean(array == 0, axis=(0, 2, 3) if array.ndim == 4 else 0))


# ---------------------------------------------------------------- select_neurons


@alternative("select_neurons")
def select_neurons__loop(apoz_values, threshold):
    values = apoz_values.tolist()
    if not 0 <= threshold <= 1 or any(value != value for value in values):
        raise ValueError("threshold or apoz_values")
    keep = [i for i, value in enumerate(values) if value <= threshold]
    if not keep:
        keep = [values.index(min(values))]
    return torch.tensor(keep)


@alternative("select_neurons")
def select_neurons__last_of_the_lowest(apoz_values, threshold):
    if apoz_values.isnan().any() or threshold != threshold or threshold < 0 or threshold > 1:
        raise ValueError("apoz_values or threshold")
    keep = torch.where(apoz_values <= threshold)[0]
    if keep.numel() == 0:
        keep = torch.where(apoz_values == apoz_values.min())[0][-1:]
    return keep


# ---------------------------------------------------------------- remove_neurons


@alternative("remove_neurons")
def remove_neurons__new_layers(layer, next_layer, keep, spatial=1):
    outputs = layer.weight.shape[0]
    if keep.numel() == 0 or keep.min() < 0 or keep.max() >= outputs:
        raise ValueError("keep")
    if spatial < 1 or next_layer.weight.shape[1] != outputs * spatial:
        raise ValueError("spatial")

    def like(old, inputs, outs):
        bias = old.bias is not None
        if isinstance(old, nn.Linear):
            return nn.Linear(inputs, outs, bias=bias, dtype=old.weight.dtype)
        return nn.Conv2d(
            inputs,
            outs,
            old.kernel_size,
            old.stride,
            old.padding,
            old.dilation,
            bias=bias,
            padding_mode=old.padding_mode,
            dtype=old.weight.dtype,
        )

    small = like(layer, layer.weight.shape[1], len(keep))
    small_next = like(next_layer, len(keep) * spatial, next_layer.weight.shape[0])
    with torch.no_grad():
        for new, old in enumerate(keep.tolist()):
            small.weight[new] = layer.weight[old]
            if layer.bias is not None:
                small.bias[new] = layer.bias[old]
            for offset in range(spatial):
                column = next_layer.weight[:, old * spatial + offset]
                small_next.weight[:, new * spatial + offset] = column
        if next_layer.bias is not None:
            small_next.bias.copy_(next_layer.bias)
    return small, small_next


@alternative("remove_neurons")
def remove_neurons__unflatten(layer, next_layer, keep, spatial=1):
    indices = keep.tolist()
    if not indices or any(index not in range(len(layer.weight)) for index in indices):
        raise ValueError("keep")
    if spatial <= 0 or next_layer.weight.size(1) != len(layer.weight) * spatial:
        raise ValueError("spatial or next_layer")
    first, second = copy.deepcopy(layer), copy.deepcopy(next_layer)
    first.weight.data = layer.weight.data.index_select(0, keep)
    if first.bias is not None:
        first.bias.data = layer.bias.data.index_select(0, keep)
    shape = (len(next_layer.weight), len(layer.weight), spatial, *next_layer.weight.shape[2:])
    columns = next_layer.weight.data.reshape(shape).index_select(1, keep)
    second.weight.data = columns.flatten(1, 2).contiguous()
    for module, name in ((first, "out"), (second, "in")):
        kind = "features" if isinstance(module, nn.Linear) else "channels"
        setattr(module, f"{name}_{kind}", module.weight.shape[0 if name == "out" else 1])
        module.weight.grad = None
        if module.bias is not None:
            module.bias.grad = None
    return [first.eval(), second.eval()]
