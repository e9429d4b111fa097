"""Different right answers, which every check must accept."""

from __future__ import annotations

import numpy as np
import torch

from autograder.authoring.answers import alternative


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


@alternative("integer_linear")
def integer_linear__float32_multiplier(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    """Exact sums in int32, but their product with the multiplier in float32."""
    shifted = x_q.to(torch.int32) - x_zero_point
    sums = torch.einsum("ni,oi->no", shifted, w_q.to(torch.int32)) + bias_q
    codes = torch.round(sums * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)
