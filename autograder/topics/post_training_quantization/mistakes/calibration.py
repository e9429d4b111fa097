"""Wrong answers that students really give, each with the check that must catch it."""

from __future__ import annotations

import copy

import torch

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- calibrate
# Loaders cannot be replayed, so the checks name these mistakes themselves.


@mistake(
    "calibrate",
    caught_by="test_minmax_of_all_batches",
    hint="looks at the first batch only",
    replay=False,
)
def calibrate__first_batch(model, loader, method="minmax", percentile=99.9, bits=8):
    observed, ranges = copy.deepcopy(model).eval(), {}
    for name, layer in layers_of(observed).items():

        def note(_layer, inputs, name=name):
            ranges[name] = (inputs[0].min().item(), inputs[0].max().item())

        layer.register_forward_pre_hook(note)
    with torch.no_grad():
        observed(next(iter(loader))[0])
    return ranges


@mistake(
    "calibrate",
    caught_by="test_minmax_of_all_batches",
    hint="keeps the range of the last batch only",
    replay=False,
)
def calibrate__last_batch(model, loader, method="minmax", percentile=99.9, bits=8):
    observed, ranges = copy.deepcopy(model).eval(), {}
    for name, layer in layers_of(observed).items():

        def note(_layer, inputs, name=name):
            ranges[name] = (inputs[0].min().item(), inputs[0].max().item())

        layer.register_forward_pre_hook(note)
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    return ranges


@mistake(
    "calibrate",
    caught_by="test_minmax_of_one_batch",
    hint="records the outputs of the layers, not their inputs",
    replay=False,
)
def calibrate__outputs(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_hook(
            lambda _layer, _inputs, output, name=name: values[name].append(output.flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_no_hook_is_left_behind",
    hint="leaves its hooks on the model",
    replay=False,
)
def calibrate__hooks_left(model, loader, method="minmax", percentile=99.9, bits=8):
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    values = {name: [] for name in layers_of(model)}
    for name, layer in layers_of(model).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            model(images)
    for module, training in modes:
        module.training = training
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_calibrates_in_eval_mode",
    hint="runs the model in the mode in which it came, not in eval mode",
    replay=False,
)
def calibrate__train_mode(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model)
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_calibrate_leaves_the_model",
    hint="leaves the caller's model in another mode",
    replay=False,
)
def calibrate__mode_changed(model, loader, method="minmax", percentile=99.9, bits=8):
    model.eval()
    values = {name: [] for name in layers_of(model)}
    handles = [
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
        for name, layer in layers_of(model).items()
    ]
    with torch.no_grad():
        for images, _labels in loader:
            model(images)
    for handle in handles:
        handle.remove()
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_percentile_cuts_both_sides",
    hint="cuts the upper side only",
    replay=False,
)
def calibrate__one_sided(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    top = percentile if method == "percentile" else 100
    joined = {name: torch.cat(parts).numpy() for name, parts in values.items()}
    return {name: (float(x.min()), float(np.percentile(x, top))) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_mse_clips_what_is_not_worth_it",
    hint="does min-max for every method",
    replay=False,
)
def calibrate__always_minmax(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_percentile_is_over_all_batches",
    hint="averages over the batches instead of joining them",
    replay=False,
)
def calibrate__mean_of_batches(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten().numpy())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    top = percentile if method == "percentile" else 100
    ends = [100 - top, top]
    return {
        name: tuple(np.mean([np.percentile(x, ends) for x in parts], axis=0).tolist())
        for name, parts in values.items()
    }


@mistake(
    "calibrate",
    caught_by="test_mse_range_fits_the_bits",
    hint="ignores bits: with fewer bits the best range is smaller",
    replay=False,
)
def calibrate__ignores_bits(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    ranges = {}
    for name, parts in values.items():
        x = torch.cat(parts)
        low, high = x.min().item(), x.max().item()
        errors = {}
        for factor in np.linspace(0.02, 1, 50) if method == "mse" else [1.0]:
            scale, zero = asymmetric_scale_zero_point(torch.tensor([low, high]) * factor, 8)
            back = dequantize(quantize(x, scale, zero, 8, False), scale, zero)
            errors[(factor * low, factor * high)] = (back - x).square().mean().item()
        ranges[name] = min(errors, key=errors.get)
    return ranges


@mistake(
    "calibrate",
    caught_by="test_mse_range_fits_the_bits",
    hint="takes the percentile for 'mse' as well",
    replay=False,
)
def calibrate__percentile_for_mse(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten().numpy())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    top = 100 if method == "minmax" else percentile
    return {
        name: tuple(np.percentile(np.concatenate(parts), [100 - top, top]).tolist())
        for name, parts in values.items()
    }


@mistake(
    "calibrate",
    caught_by="test_percentile_counts_zeros",
    hint="leaves out the zeros: a percentile counts all values",
    replay=False,
)
def calibrate__percentile_without_zeros(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    ranges = {}
    for name, parts in values.items():
        x = torch.cat(parts)
        ends = [x.min(), x.max()]
        if method == "percentile":
            ends = np.percentile(x[x != 0].numpy(), [100 - percentile, percentile])
        ranges[name] = tuple(float(end) for end in ends)
    return ranges
