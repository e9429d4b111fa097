"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- QATLinear


@mistake(
    "QATLinear",
    caught_by="test_linear_float_weight_learns",
    hint="forward overwrites the float weight with the rounded one, so small steps are lost",
)
class QATLinear__weight_replaced(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight.data
        self.layer.weight.data = fake_quantize(
            weight, weight_scale(weight, self.bits), 0, self.bits, True
        )
        return self.layer(x)


@mistake(
    "QATLinear",
    caught_by="test_linear_float_weight_learns",
    hint="the weight is rounded without a gradient (under no_grad, or detached): it cannot learn",
)
class QATLinear__weight_gets_no_gradient(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight.detach()
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_input_has_few_levels",
    hint="only the weight is quantized; the input needs it too",
)
class QATLinear__input_not_quantized(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits = layer, weight_bits

    def forward(self, x):
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_has_few_levels",
    hint="only the input is quantized; the weight is used in float",
)
class QATLinear__weight_not_quantized(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.activation_bits = layer, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        return self.layer(fake_quantize(x, scale, zero, self.activation_bits, False))


@mistake(
    "QATLinear",
    caught_by="test_linear_at_eight_bits",
    hint="the bias of the layer is lost",
)
class QATLinear__bias_lost(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        return x @ fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True).T


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_has_few_levels",
    hint="weight_bits and activation_bits are swapped",
)
class QATLinear__bits_swapped(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, activation_bits, weight_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_inputs_of_any_sign",
    hint="unsigned codes with zero point 0: every negative input becomes 0",
)
class QATLinear__negative_inputs_lost(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale = max(float(self.observer.high) / (2**self.activation_bits - 1), 1e-8)
        x = fake_quantize(x, scale, 0, self.activation_bits, False)
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_range_is_frozen_in_eval",
    hint="the range of the input is computed from each batch, in eval mode too",
)
class QATLinear__updates_in_eval(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits

    def forward(self, x):
        scale, zero = range_to_scale(x.min(), x.max(), self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_is_rounded_anew",
    hint="the weight is rounded once, in the constructor; what the float weight learns is lost",
)
class QATLinear__weight_rounded_once(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.activation_bits = layer, activation_bits
        weight = layer.weight.detach()
        rounded = fake_quantize(weight, weight_scale(weight, weight_bits), 0, weight_bits, True)
        self.offset = rounded - weight
        self.rounded = rounded
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        return F.linear(x, self.rounded + (weight - weight.detach()), self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_input_has_few_levels",
    hint="the output is quantized in place of the input",
)
class QATLinear__output_quantized(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        y = self.observer(F.linear(x, weight, self.layer.bias))
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        return fake_quantize(y, scale, zero, self.activation_bits, False)


@mistake(
    "QATLinear",
    caught_by="test_linear_passes_the_gradient_on",
    hint="the input is detached, so the layers before this one cannot learn",
)
class QATLinear__input_gets_no_gradient(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x.detach(), scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_bias_stays_in_float",
    hint="the bias is quantized too; it stays in float",
)
class QATLinear__bias_quantized(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        bias = self.layer.bias
        if bias is not None:
            bias = fake_quantize(bias, weight_scale(bias, 8), 0, 8, True)
        return F.linear(x, weight, bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_is_rounded_anew",
    hint="the scale of the weight is computed once, at the start; it follows the weight",
)
class QATLinear__weight_scale_fixed(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)
        self.scale = weight_scale(layer.weight, weight_bits)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = fake_quantize(self.layer.weight, self.scale, 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_has_few_levels",
    hint="eval mode computes with the float weight: only what is rounded can be stored",
)
class QATLinear__float_in_eval_mode(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        if self.training:
            weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_has_few_levels",
    hint="the weight is rounded but not clipped to the codes of its bits",
)
class QATLinear__weight_not_clipped(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        scale, weight = weight_scale(self.layer.weight, self.bits), self.layer.weight
        rounded = torch.round(weight / scale) * scale
        return F.linear(x, weight + (rounded - weight).detach(), self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_weight_is_rounded_anew",
    hint="eval mode uses the weight that was rounded at the last step of training, not the present "
    "one",
)
class QATLinear__rounded_weight_remembered(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        if self.training or not hasattr(self, "rounded"):
            self.rounded = fake_quantize(
                weight, weight_scale(weight, self.bits), 0, self.bits, True
            )
        return F.linear(x, self.rounded, self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_with_zeros",
    hint="a channel of zeros has the scale 0, and 0 / 0 is NaN",
)
class QATLinear__divides_by_zero(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True), code_range(activation_bits, True)
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        top, weight = 2 ** (self.bits - 1) - 1, self.layer.weight
        scale = weight.detach().abs().amax(dim=1, keepdim=True) / top
        rounded = torch.round(weight / scale).clamp(-top - 1, top) * scale
        return F.linear(x, weight + (rounded - weight).detach(), self.layer.bias)


@mistake(
    "QATLinear",
    caught_by="test_linear_rejects_impossible_bits",
    hint="more than 8 bits are refused, but 2 to 16 are allowed",
)
class QATLinear__at_most_eight_bits(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        for bits in (weight_bits, activation_bits):
            require(2 <= bits <= 8, "bits must lie in 2 .. 16")
        self.layer, self.bits, self.activation_bits = layer, weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.layer.weight
        weight = fake_quantize(weight, weight_scale(weight, self.bits), 0, self.bits, True)
        return F.linear(x, weight, self.layer.bias)


# ---------------------------------------------------------------- QATConv2d


@mistake(
    "QATConv2d",
    caught_by="test_conv_keeps_its_geometry",
    hint="stride, padding or dilation of the layer is lost",
)
class QATConv2d__geometry_lost(QATLinear):
    def forward(self, x):
        return F.conv2d(self.quantized_input(x), self.quantized_weight(), self.layer.bias)


@mistake(
    "QATConv2d",
    caught_by="test_conv_at_eight_bits",
    hint="the bias of the layer is lost",
)
class QATConv2d__bias_lost(QATLinear):
    def forward(self, x):
        a = self.layer
        x, weight = self.quantized_input(x), self.quantized_weight()
        return F.conv2d(x, weight, None, a.stride, a.padding, a.dilation)


@mistake(
    "QATConv2d",
    caught_by="test_conv_input_has_few_levels",
    hint="only the weight is quantized; the input needs it too",
)
class QATConv2d__input_not_quantized(QATLinear):
    def forward(self, x):
        a = self.layer
        return F.conv2d(x, self.quantized_weight(), a.bias, a.stride, a.padding, a.dilation)


@mistake(
    "QATConv2d",
    caught_by="test_conv_weight_has_few_levels",
    hint="only the input is quantized; the weight is used in float",
)
class QATConv2d__weight_not_quantized(QATLinear):
    def forward(self, x):
        return self.layer(self.quantized_input(x))


@mistake(
    "QATConv2d",
    caught_by="test_conv_float_weight_learns",
    hint="forward overwrites the float weight with the rounded one, so small steps are lost",
)
class QATConv2d__weight_replaced(QATLinear):
    def forward(self, x):
        x = self.quantized_input(x)
        self.layer.weight.data = self.quantized_weight().detach()
        return self.layer(x)


@mistake(
    "QATConv2d",
    caught_by="test_conv_range_is_frozen_in_eval",
    hint="the range of the input is computed from each batch, in eval mode too",
)
class QATConv2d__updates_in_eval(QATLinear):
    def forward(self, x):
        a = self.layer
        scale, zero = range_to_scale(x.min(), x.max(), self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        return F.conv2d(x, self.quantized_weight(), a.bias, a.stride, a.padding, a.dilation)


@mistake(
    "QATConv2d",
    caught_by="test_conv_keeps_its_geometry",
    hint="pads with the smallest value (code 0); a conv layer pads with the value 0",
)
class QATConv2d__pads_with_code_zero(QATLinear):
    def forward(self, x):
        layer, padding = self.layer, self.layer.padding
        x = self.quantized_input(x)
        if isinstance(padding, tuple):
            (rows, columns), padding = padding, 0
            x = F.pad(x, (columns, columns, rows, rows), value=float(self.observer.low))
        weight = self.quantized_weight()
        return F.conv2d(x, weight, layer.bias, layer.stride, padding, layer.dilation)


@mistake(
    "QATConv2d",
    caught_by="test_conv_weight_has_few_levels",
    hint="the weight is rounded but not clipped to the codes of its bits",
)
class QATConv2d__weight_not_clipped(QATLinear):
    def forward(self, x):
        a, scale = self.layer, weight_scale(self.layer.weight, self.weight_bits)
        weight = a.weight + (torch.round(a.weight / scale) * scale - a.weight).detach()
        x = self.quantized_input(x)
        return F.conv2d(x, weight, a.bias, a.stride, a.padding, a.dilation)


@mistake(
    "QATConv2d",
    caught_by="test_conv_with_zeros",
    hint="a channel of zeros has the scale 0, and 0 / 0 is NaN",
)
class QATConv2d__divides_by_zero(QATLinear):
    def forward(self, x):
        a, top = self.layer, 2 ** (self.weight_bits - 1) - 1
        scale = a.weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / top
        rounded = torch.round(a.weight / scale).clamp(-top - 1, top) * scale
        weight = a.weight + (rounded - a.weight).detach()
        x = self.quantized_input(x)
        return F.conv2d(x, weight, a.bias, a.stride, a.padding, a.dilation)


@mistake(
    "QATConv2d",
    caught_by="test_conv_float_weight_learns",
    hint="eval mode uses the weight that was rounded at the last step of training, not the present "
    "one",
)
class QATConv2d__rounded_weight_remembered(QATLinear):
    def forward(self, x):
        a = self.layer
        if self.training or not hasattr(self, "rounded"):
            self.rounded = self.quantized_weight()
        x = self.quantized_input(x)
        return F.conv2d(x, self.rounded, a.bias, a.stride, a.padding, a.dilation)
