"""Different right answers, which every check must accept."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from autograder.authoring.answers import alternative


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


@alternative("calibrate")
def calibrate__wrapped_forward(model, loader, method="minmax", percentile=99.9, bits=8):
    """No hooks: the forward of every layer of a copy is wrapped. The mse range searches high and
    low by turns."""
    if method not in ("minmax", "percentile", "mse") or not 0 <= percentile <= 100:
        raise ValueError("method or percentile")
    check_bits(bits)
    twin = copy.deepcopy(model).eval()
    seen = {}
    for name, layer in layers_of(twin).items():

        def spy(x, forward=layer.forward, name=name):
            seen.setdefault(name, []).append(x.flatten())
            return forward(x)

        layer.forward = spy
    with torch.no_grad():
        for images, _ in loader:
            twin(images)

    def find_range(x):
        low, high = x.min().item(), x.max().item()
        if method == "percentile":
            # np.percentile's 'lower' and 'higher': values that were seen, nothing in between.
            low = np.percentile(x.numpy(), 100 - percentile, method="lower")
            high = np.percentile(x.numpy(), percentile, method="higher")

        def error(low, high):
            scale, zero = asymmetric_scale_zero_point(torch.tensor([low, high]), bits)
            return (dequantize(quantize(x, scale, zero, bits, False), scale, zero) - x).norm()

        if method == "mse":
            factors = torch.linspace(0, 1, 33).tolist()
            for _ in range(2):
                high = min((high * f for f in factors), key=lambda end: error(low, end))
                low = min((low * f for f in factors), key=lambda end: error(end, high))
        return [float(low), float(high)]

    return {name: find_range(torch.cat(parts)) for name, parts in seen.items()}
