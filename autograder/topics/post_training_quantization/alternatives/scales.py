"""Different right answers, which every check must accept."""

from __future__ import annotations

import numpy as np
import torch

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


@alternative("asymmetric_scale_zero_point")
def asymmetric_scale_zero_point__nearest_mark(x, bits):
    """The zero point is the index of the mark next to 0; a tensor of zeros gets the last code."""
    check_bits(bits)
    check_numbers(x)
    low, high = x.double().min().clamp(max=0), x.double().max().clamp(min=0)
    if low == high:
        return 1.0, 2**bits - 1
    marks = torch.linspace(low.item(), high.item(), 2**bits, dtype=torch.float64)
    return (marks[1] - marks[0]).item(), int(marks.abs().argmin())
