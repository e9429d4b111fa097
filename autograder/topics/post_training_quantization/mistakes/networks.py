"""Wrong answers that students really give, each with the check that must catch it."""

from __future__ import annotations

import copy

import torch

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- quantize_model


@mistake(
    "quantize_model",
    caught_by="test_every_conv_layers_input_is_quantized",
    hint="quantizes the weights but leaves the activations in float",
    replay=False,
)
def quantize_model__activations_in_float(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    for layer in layers_of(quantized).values():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
    return quantized


@mistake(
    "quantize_model",
    caught_by="test_first_layers_input_is_quantized",
    hint="leaves the first layer's input, the image, in float",
    replay=False,
)
def quantize_model__first_layer_forgotten(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        if name == next(iter(ranges)):
            continue
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_last_layers_input_is_quantized",
    hint="leaves the last layer's input in float",
    replay=False,
)
def quantize_model__last_layer_forgotten(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        if name == list(ranges)[-1]:
            continue
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_weights_of_every_layer",
    hint="leaves the weights of the first or the last layer in float",
    replay=False,
)
def quantize_model__first_and_last_weights_in_float(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        if name not in (next(iter(ranges)), list(ranges)[-1]):
            layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_weights_per_tensor",
    hint="ignores per_channel=False",
    replay=False,
)
def quantize_model__always_per_channel(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale_per_channel(layer.weight, weight_bits)
        scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_weights_per_channel",
    hint="ignores per_channel=True",
    replay=False,
)
def quantize_model__always_per_tensor(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_all_batches_calibrate",
    hint="calibrates with the first batch only",
    replay=False,
)
def quantize_model__first_batch_only(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, [next(iter(loader))])
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_biases_stay_in_float",
    hint="quantizes the biases: they stay in float",
    replay=False,
)
def quantize_model__biases_quantized(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        if layer.bias is not None:
            bias_scale = symmetric_scale(layer.bias, weight_bits)
            bias_codes = quantize(layer.bias, bias_scale, 0, weight_bits, True)
            layer.bias.data = dequantize(bias_codes, bias_scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_eight_bits_change_little",
    hint="changes the model that was passed in",
    replay=False,
)
def quantize_model__changes_the_callers_model(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = model.eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_levels_of_the_activations",
    hint="uses weight_bits for the activations",
    replay=False,
)
def quantize_model__bits_swapped(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, weight_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, weight_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_result_is_a_copy_in_eval_mode",
    hint="returns the model in train mode",
    replay=False,
)
def quantize_model__left_in_train_mode(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model)
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.train()


@mistake(
    "quantize_model",
    caught_by="test_ranges_are_static",
    hint="measures the range of every input anew (dynamic): ranges are fixed by calibration",
    replay=False,
)
def quantize_model__dynamic_ranges(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()

    def quantize_input(_layer, inputs):
        scale, zero = asymmetric_scale_zero_point(inputs[0], activation_bits)
        codes = quantize(inputs[0], scale, zero, activation_bits, False)
        return (dequantize(codes, scale, zero),)

    for layer in layers_of(quantized).values():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        layer.register_forward_pre_hook(quantize_input)
    return quantized


@mistake(
    "quantize_model",
    caught_by="test_method_of_calibration",
    hint="ignores method: the ranges are always those of min-max",
    replay=False,
)
def quantize_model__ignores_method(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = asymmetric_scale_zero_point(torch.tensor(ranges[name]), activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, *ends, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_method_of_calibration",
    hint="does not tell calibrate the activations' bits, so 'mse' finds the range for 8 bits",
    replay=False,
)
def quantize_model__mse_for_eight_bits(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader, method)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = asymmetric_scale_zero_point(torch.tensor(ranges[name]), activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, *ends, activation_bits))
    return quantized.eval()
