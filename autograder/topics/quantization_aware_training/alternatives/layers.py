"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("QATLinear")
class QATLinear__per_channel_symmetric(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        for bits in (weight_bits, activation_bits):
            if not 2 <= bits <= 16:
                raise ValueError("bits")
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.95)

    def forward(self, x):
        x = self.observer(x)
        last = 2 ** (self.activation_bits - 1) - 1
        largest = max(abs(float(self.observer.low)), abs(float(self.observer.high)))
        x = fake_quantize(x, largest / last or 1.0, 0, self.activation_bits, True)
        top = 2 ** (self.weight_bits - 1) - 1
        scale = self.weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / top
        rounded = torch.round(self.weight / scale).clamp(-top - 1, top) * scale
        weight = self.weight + (rounded - self.weight).detach()
        return F.linear(x, weight, self.bias)


@alternative("QATLinear")
class QATLinear__subclass(nn.Linear):
    def __init__(self, layer, weight_bits, activation_bits):
        if min(weight_bits, activation_bits) < 2 or max(weight_bits, activation_bits) > 16:
            raise ValueError("bits")
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                part = 1.0 if self.seen == 0 else 0.1
                self.low += part * (x.min() - self.low)
                self.high += part * (x.max() - self.high)
                self.seen += 1
        low, high = min(self.low.item(), 0), max(self.high.item(), 0)
        scale = (high - low) / (2**self.activation_bits - 1) or 1.0
        x = fake_quantize(x, scale, round(-low / scale), self.activation_bits, False)
        top = 2 ** (self.weight_bits - 1) - 1
        scale = self.weight.detach().abs().max().item() / top or 1.0
        return F.linear(x, fake_quantize(self.weight, scale, 0, self.weight_bits, True), self.bias)


@alternative("QATConv2d")
class QATConv2d__own_module(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        for bits in (weight_bits, activation_bits):
            if not 2 <= bits <= 16:
                raise ValueError("bits")
        self.conv = copy.deepcopy(layer)
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.conv.weight
        top = 2 ** (self.weight_bits - 1) - 1
        weight = fake_quantize(weight, weight.abs().max().item() / top, 0, self.weight_bits, True)
        return self.conv._conv_forward(x, weight, self.conv.bias)


@alternative("QATConv2d")
class QATConv2d__functional_call(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True)
        code_range(activation_bits, True)
        self.layer = layer
        self.bits = weight_bits, activation_bits
        self.input = MovingAverageObserver(0.99)

    def forward(self, x):
        weight_bits, activation_bits = self.bits
        self.input(x)
        x = fake_quantize(
            x,
            *range_to_scale(self.input.low, self.input.high, activation_bits),
            activation_bits,
            False,
        )
        # Asymmetric per tensor, for the weight too.
        weight = self.layer.weight
        scale, zero = range_to_scale(weight.min(), weight.max(), weight_bits)
        rounded = fake_quantize(weight, scale, zero, weight_bits, False)
        return torch.func.functional_call(self.layer, {"weight": rounded}, (x,))


@alternative("QATLinear")
class QATLinear__parametrized_with_a_hook(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)

        class Rounded(nn.Module):
            def forward(self, weight):
                scale = weight_scale(weight, weight_bits)
                return fake_quantize(weight, scale, 0, weight_bits, True)

        self.inner, self.observer = copy.deepcopy(layer), MovingAverageObserver(0.99)
        self.bits = activation_bits
        nn.utils.parametrize.register_parametrization(self.inner, "weight", Rounded())
        self.inner.register_forward_pre_hook(self._round_input)

    def _round_input(self, _layer, inputs):
        x = self.observer(inputs[0])
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.bits)
        return (fake_quantize(x, scale, zero, self.bits, False),)

    def forward(self, x):
        return self.inner(x)


@alternative("QATLinear")
class QATLinear__library_per_channel(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        for bits in (weight_bits, activation_bits):
            require(2 <= bits <= 16, "bits must lie in 2 .. 16")
        self.layer, self.top, self.bits = layer, 2 ** (weight_bits - 1) - 1, activation_bits
        self.observer = MovingAverageObserver(0.0)

    def forward(self, x):
        self.observer(x.detach())
        # An affine grid from low to high: it need not hold 0.
        low, high = float(self.observer.low), float(self.observer.high)
        scale = (high - low) / (2**self.bits - 1) or 1.0
        x = low + fake_quantize(x - low, scale, 0, self.bits, False)
        weight = self.layer.weight
        scales = (weight.detach().abs().amax(dim=1) / self.top).clamp(min=1e-12)
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(
            weight, scales, zeros, 0, -self.top - 1, self.top
        )
        return F.linear(x, weight, self.layer.bias)


@alternative("QATConv2d")
class QATConv2d__scale_kept_from_training(QATLinear):
    def forward(self, x):
        a = self.layer
        if self.training or not hasattr(self, "scale"):
            self.scale = weight_scale(a.weight, self.weight_bits)
        weight = fake_quantize(a.weight, self.scale, 0, self.weight_bits, True)
        x = self.quantized_input(x)
        return F.conv2d(x, weight, a.bias, a.stride, a.padding, a.dilation)
