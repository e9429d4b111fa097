"""Different right answers, which every check must accept."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from autograder.authoring.answers import alternative


@alternative("model_size_mib")
def model_size_mib__by_shift(num_parameters, bits):
    if num_parameters < 0:
        raise ValueError("num_parameters")
    if bits <= 0:
        raise ValueError("bits")
    return (num_parameters * bits) / (8 << 20)


@alternative("model_size_mib")
def model_size_mib__numpy(num_parameters, bits):
    if num_parameters < 0 or bits < 1:
        raise ValueError("impossible")
    return float(np.float64(num_parameters) * np.float64(bits) / 8.0 / 1024.0 / 1024.0)


@alternative("symmetric_scale")
def symmetric_scale__numpy(x, bits):
    if not 2 <= bits <= 16:
        raise ValueError("bits")
    values = x.detach().numpy().astype(np.float64)
    if np.isnan(values).any():
        raise ValueError("x has NaN")
    top = max(abs(values.max()), abs(values.min()))
    return 1.0 if top == 0 else float(top / ((1 << (bits - 1)) - 1))


@alternative("symmetric_scale")
def symmetric_scale__by_norm(x, bits):
    if bits not in range(2, 17):
        raise ValueError("bits must lie in 2..16")
    top = float(torch.linalg.vector_norm(x.detach().double(), float("inf")))
    if top != top:
        raise ValueError("x must not hold NaN")
    return top / (2 ** (bits - 1) - 1) or 1.0


@alternative("asymmetric_scale_zero_point")
def asymmetric_scale_zero_point__from_the_top(x, bits):
    if bits < 2 or bits > 16 or torch.isnan(x).any():
        raise ValueError("bits or x")
    top = 2**bits - 1
    low, high = x.double().clamp(max=0).min().item(), x.double().clamp(min=0).max().item()
    if high == low:
        return 1.0, top // 2
    scale = (high - low) / top
    return scale, round(top - high / scale)


@alternative("asymmetric_scale_zero_point")
def asymmetric_scale_zero_point__tensors(x, bits):
    if not 2 <= bits <= 16:
        raise ValueError("bits")
    if x.isnan().any():
        raise ValueError("x")
    ends = torch.aminmax(torch.cat([x.flatten(), torch.zeros(1, dtype=x.dtype)]))
    scale = ((ends.max - ends.min) / (2**bits - 1)).item()
    if scale == 0:
        return 1e-8, 0
    zero = torch.floor(-ends.min / scale + 0.5).clamp(0, 2**bits - 1)
    return scale, int(zero.item())


@alternative("symmetric_scale_per_channel")
def symmetric_scale_per_channel__loop(weight, bits, axis=0):
    if weight.isnan().any():
        raise ValueError("weight must not hold NaN")
    slices = weight.detach().unbind(axis)
    return torch.tensor([symmetric_scale(part, bits) for part in slices])


@alternative("symmetric_scale_per_channel")
def symmetric_scale_per_channel__amax(weight, bits, axis=0):
    if not 2 <= bits <= 16 or weight.isnan().any():
        raise ValueError("bits or weight")
    others = tuple(d for d in range(weight.dim()) if d != axis % weight.dim())
    top = weight.detach().double().abs().amax(dim=others) / (2 ** (bits - 1) - 1)
    top[top == 0] = 1
    return top


@alternative("quantize")
def quantize__numpy(x, scale, zero_point, bits, signed):
    if not 2 <= bits <= 16 or torch.isnan(x).any():
        raise ValueError("bits or x")
    codes = np.rint((x.detach() / scale).numpy()) + np.asarray(zero_point)
    low = -(1 << (bits - 1)) if signed else 0
    kind = np.int32 if bits > 8 else np.int8 if signed else np.uint8
    return torch.from_numpy(np.clip(codes, low, low + (1 << bits) - 1).astype(kind))


@alternative("quantize")
def quantize__through_int32(x, scale, zero_point, bits, signed):
    check_bits(bits)
    if x.isnan().sum() > 0:
        raise ValueError("NaN in x")
    codes = (x / scale).round().to(torch.int32) + zero_point
    if signed:
        codes = torch.clip(codes, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    else:
        codes = torch.clip(codes, 0, 2**bits - 1)
    if bits <= 8:
        codes = codes.to(torch.int8) if signed else codes.to(torch.uint8)
    return codes.to(torch.int32) if bits > 8 else codes


@alternative("dequantize")
def dequantize__float_first(q, scale, zero_point):
    return (q.float() - zero_point).mul(scale).float()


@alternative("dequantize")
def dequantize__float64(q, scale, zero_point):
    return torch.as_tensor((q.double() - zero_point) * scale).float()


@alternative("fold_batch_norm")
def fold_batch_norm__through_torch(conv, bn):
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(
        copy.deepcopy(conv).eval(), copy.deepcopy(bn).eval()
    )
    return fused


@alternative("fold_batch_norm")
def fold_batch_norm__new_layer(conv, bn):
    gamma = torch.ones(bn.num_features) if bn.weight is None else bn.weight.detach()
    beta = torch.zeros(bn.num_features) if bn.bias is None else bn.bias.detach()
    g = gamma / (bn.running_var + bn.eps) ** 0.5
    new = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        padding_mode=conv.padding_mode,
    )
    old = 0 if conv.bias is None else conv.bias.detach()
    new.weight.data = torch.einsum("o,oihw->oihw", g, conv.weight.detach())
    new.bias.data = beta + g * (old - bn.running_mean)
    return new.requires_grad_(False)


@alternative("integer_linear")
def integer_linear__correction_term(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    w = w_q.int()
    sums = x_q.int() @ w.t() - x_zero_point * w.sum(dim=1, dtype=torch.int32) + bias_q
    scaled = torch.round(sums.double() * multiplier).long() + out_zero_point
    info = torch.iinfo(x_q.dtype)
    return scaled.clamp(info.min, info.max).to(x_q.dtype)


@alternative("integer_linear")
def integer_linear__numpy(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    sums = (x_q.numpy().astype(np.int64) - x_zero_point) @ w_q.numpy().astype(np.int64).T
    out = np.rint((sums + bias_q.numpy()) * float(multiplier)) + out_zero_point
    info = torch.iinfo(x_q.dtype)
    return torch.from_numpy(np.clip(out, info.min, info.max)).to(x_q.dtype)


@alternative("calibrate")
def calibrate__hooks_removed(model, loader, method="minmax", percentile=99.9, bits=8):
    if method not in {"minmax", "percentile", "mse"}:
        raise ValueError(f"unknown method {method}")
    if not 0 < percentile <= 100:
        raise ValueError("percentile")
    seen, handles = {}, []
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):

            def note(_module, inputs, _output, name=name):
                seen.setdefault(name, []).append(inputs[0].detach().reshape(-1))

            handles.append(module.register_forward_hook(note))
    try:
        model.eval()
        with torch.inference_mode():
            for images, _ in loader:
                model(images)
    finally:
        for handle in handles:
            handle.remove()
        for name, module in model.named_modules():
            module.training = modes[name]
    ranges = {}
    for name, parts in seen.items():
        values = torch.cat(parts)
        low, high = float(values.min()), float(values.max())
        if method == "percentile":
            tail = (100 - percentile) / 200
            ordered = values.sort().values
            cut = int(tail * len(ordered))
            low, high = float(ordered[cut]), float(ordered[-1 - cut])
        if method == "mse":
            best = None
            for step in range(40):
                a, b = low * (1 - step / 40), high * (1 - step / 40)
                a, b = min(a, 0.0), max(b, 0.0)
                scale = (b - a) / (2**bits - 1) or 1.0
                zero = round(-a / scale)
                codes = ((values / scale).round() + zero).clamp(0, 2**bits - 1)
                error = float((((codes - zero) * scale - values) ** 2).mean())
                if best is None or error < best[0]:
                    best = (error, a, b)
            low, high = best[1:]
        ranges[name] = (low, high)
    return ranges


@alternative("calibrate")
def calibrate__running_and_histogram(model, loader, method="minmax", percentile=99.9, bits=4):
    """Pads the range to hold zero, 4 bits for mse, tensors as ends."""
    if method not in ("minmax", "percentile", "mse"):
        raise ValueError(method)
    if percentile < 0 or percentile > 100:
        raise ValueError(percentile)
    twin = copy.deepcopy(model).eval()
    store = {}

    def watch(name):
        def hook(_module, inputs):
            store[name] = torch.cat([store.get(name, torch.empty(0)), inputs[0].flatten()])

        return hook

    for name, module in twin.named_modules():
        if type(module) in (nn.Conv2d, nn.Linear):
            module.register_forward_pre_hook(watch(name))
    with torch.no_grad():
        for images, _ in loader:
            twin(images)
    out = {}
    for name, x in store.items():
        low, high = x.min().clamp(max=0), x.max().clamp(min=0)
        if method == "percentile":
            k = max(1, round(x.numel() * percentile / 100))
            high = x.kthvalue(k).values
            low = x.kthvalue(max(1, x.numel() - k)).values
        elif method == "mse":
            sample = x[:: max(1, x.numel() // 100_000)]
            errors = []
            for f in np.geomspace(0.02, 1, 40).tolist():
                scale = ((high - low) * f / (2**bits - 1)).clamp(min=1e-12)
                zero = (-low * f / scale).round()
                back = (((sample / scale).round() + zero).clamp(0, 2**bits - 1) - zero) * scale
                errors.append(((back - sample).square().mean().item(), f))
            f = min(errors)[1]
            low, high = low * f, high * f
        out[name] = (low, high)
    return out


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
