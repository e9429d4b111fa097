"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
from torch import nn

from autograder.authoring.answers import alternative


@alternative("fake_quantize")
def fake_quantize__autograd_function(x, scale, zero_point, bits, signed):
    if not 2 <= bits <= 16 or torch.isnan(x).any():
        raise ValueError("bits or x")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            first, last = (low - zero_point) * scale, (high - zero_point) * scale
            ctx.save_for_backward((x >= first) & (x <= last))
            codes = torch.clamp(torch.round(x / scale) + zero_point, low, high)
            return ((codes - zero_point) * scale).detach()

        @staticmethod
        def backward(ctx, gradient):
            (inside,) = ctx.saved_tensors
            return gradient * inside

    return Rounded.apply(x)


@alternative("fake_quantize")
def fake_quantize__library(x, scale, zero_point, bits, signed):
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must lie in 2 .. 16, got {bits}")
    if torch.isnan(x).any():
        raise ValueError("x must not hold NaN")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero_point), low, high)


@alternative("fake_quantize")
def fake_quantize__clamp_then_round(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    if x.isnan().any():
        raise ValueError("x holds NaN")
    scale = float(scale)
    codes = (x / scale + zero_point).clamp(low, high)
    codes = codes + (torch.round(x.detach() / scale) + zero_point).clamp(low, high) - codes.detach()
    return (codes - zero_point) * scale


@alternative("MovingAverageObserver")
class MovingAverageObserver__plain_numbers(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        if momentum < 0 or momentum > 1:
            raise ValueError("momentum")
        self.momentum = momentum
        self.low = None
        self.high = None

    def forward(self, x):
        if not self.training:
            return x
        low, high = x.min().item(), x.max().item()
        if self.low is None:
            self.low, self.high = low, high
        else:
            self.low += (1 - self.momentum) * (low - self.low)
            self.high += (1 - self.momentum) * (high - self.high)
        return x


@alternative("MovingAverageObserver")
class MovingAverageObserver__infinite_buffers(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.momentum = momentum
        self.register_buffer("low", torch.tensor([float("inf")]))
        self.register_buffer("high", torch.tensor([-float("inf")]))

    @torch.no_grad()
    def _update(self, x):
        if torch.isinf(self.low).any():
            self.low.fill_(x.min())
            self.high.fill_(x.max())
        else:
            self.low.mul_(self.momentum).add_((1 - self.momentum) * x.min())
            self.high.mul_(self.momentum).add_((1 - self.momentum) * x.max())

    def forward(self, x):
        if self.training:
            self._update(x)
        return x
