"""Different right answers, which every check must accept."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autograder.authoring.answers import alternative


@alternative("quantize_model")
def quantize_model__with_hooks(model, loader, weight_bits, activation_bits, per_channel):
    for bits in (weight_bits, activation_bits):
        if not 2 <= bits <= 16:
            raise ValueError("bits")
    result = copy.deepcopy(model)
    result.eval()
    ranges = calibrate(model, loader)
    for name, layer in result.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        low, high = min(ranges[name][0], 0.0), max(ranges[name][1], 0.0)
        scale = (high - low) / (2**activation_bits - 1) or 1.0
        zero = round(-low / scale)

        def hook(_layer, inputs, scale=scale, zero=zero):
            codes = torch.round(inputs[0] / scale) + zero
            return ((codes.clamp(0, 2**activation_bits - 1) - zero) * scale,)

        layer.register_forward_pre_hook(hook)
        top = 2 ** (weight_bits - 1) - 1
        w = layer.weight.data
        if per_channel:
            s = w.abs().flatten(1).amax(1).clamp(min=1e-12) / top
            s = s.view(-1, *([1] * (w.dim() - 1)))
        else:
            s = w.abs().max() / top
        layer.weight.data = (w / s).round().clamp(-top, top) * s
    return result


@alternative("quantize_model")
def quantize_model__own_forward(model, loader, weight_bits, activation_bits, per_channel):
    """Percentile ranges, codes kept as integers, and the forward of each layer replaced."""
    for bits in (weight_bits, activation_bits):
        if bits < 2 or bits > 16:
            raise ValueError(f"bits {bits}")
    result = copy.deepcopy(model).eval()
    ranges = calibrate(result, loader, "percentile", percentile=99.99)

    def patch(layer, low, high):
        scale, zero = asymmetric_scale_zero_point(torch.tensor([low, high]), activation_bits)
        w_scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            w_scale = symmetric_scale_per_channel(layer.weight, weight_bits, 0)
            w_scale = w_scale.reshape([-1] + [1] * (layer.weight.dim() - 1))
        w_codes = quantize(layer.weight, w_scale, 0, weight_bits, True)

        def forward(x):
            x = dequantize(quantize(x, scale, zero, activation_bits, False), scale, zero)
            weight = dequantize(w_codes, w_scale, 0)
            if isinstance(layer, nn.Linear):
                return nn.functional.linear(x, weight, layer.bias)
            return layer._conv_forward(x, weight, layer.bias)

        layer.forward = forward

    for name, layer in layers_of(result).items():
        patch(layer, *ranges[name])
    return result


@alternative("quantize_model")
def quantize_model__symmetric_wrapper(model, loader, weight_bits, activation_bits, per_channel):
    """Symmetric activations, and a wrapper class of its own."""
    if not (2 <= weight_bits <= 16 and 2 <= activation_bits <= 16):
        raise ValueError("bits")

    class Wrapped(nn.Module):
        def __init__(self, layer, largest):
            super().__init__()
            self.layer = layer
            self.scale = largest / (2 ** (activation_bits - 1) - 1) if largest else 1.0

        def forward(self, x):
            codes = quantize(x, self.scale, 0, activation_bits, True)
            return self.layer(dequantize(codes, self.scale, 0))

    def convert(module, prefix):
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            if isinstance(child, (nn.Conv2d, nn.Linear)):
                with torch.no_grad():
                    if per_channel:
                        for row in child.weight:
                            s = symmetric_scale(row, weight_bits)
                            row.copy_(dequantize(quantize(row, s, 0, weight_bits, True), s, 0))
                    else:
                        s = symmetric_scale(child.weight, weight_bits)
                        codes = quantize(child.weight, s, 0, weight_bits, True)
                        child.weight.copy_(dequantize(codes, s, 0))
                setattr(module, name, Wrapped(child, max(map(abs, ranges[path]))))
            else:
                convert(child, f"{path}.")

    new = copy.deepcopy(model).eval()
    ranges = calibrate(new, loader, "minmax")
    convert(new, "")
    return new.eval()


@alternative("quantize_model")
def quantize_model__weights_first(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    """Calibrates the network whose weights are quantized already; fake quantization of torch."""
    check_bits(weight_bits, "weight_bits")
    check_bits(activation_bits, "activation_bits")

    class Rounded(nn.Module):
        def __init__(self, low, high):
            super().__init__()
            ends = torch.tensor([low, high])
            self.scale, self.zero_point = asymmetric_scale_zero_point(ends, activation_bits)

        def forward(self, x):
            top = 2**activation_bits - 1
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, 0, top)

    new, half = copy.deepcopy(model).eval().requires_grad_(False), 2 ** (weight_bits - 1)
    for layer in layers_of(new).values():
        scales = torch.full((len(layer.weight),), symmetric_scale(layer.weight, weight_bits))
        if per_channel:
            scales = symmetric_scale_per_channel(layer.weight, weight_bits)
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        layer.weight.copy_(
            torch.fake_quantize_per_channel_affine(layer.weight, scales, zeros, 0, -half, half - 1)
        )
    for name, (low, high) in calibrate(new, loader, method, bits=activation_bits).items():
        new.set_submodule(name, nn.Sequential(Rounded(low, high), new.get_submodule(name)))
    return new.eval()
