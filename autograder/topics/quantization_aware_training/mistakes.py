"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- fake_quantize


@mistake(
    "fake_quantize",
    caught_by="test_gradient_passes_straight_through",
    hint="torch.round without an estimator: its gradient is 0 everywhere",
)
def fake_quantize__no_estimator(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = torch.round(x / float(scale)) + zero_point
    return (codes.clamp(low, high) - zero_point) * float(scale)


@mistake(
    "fake_quantize",
    caught_by="test_no_gradient_where_clipped",
    hint="x + (y - x).detach() passes the gradient everywhere, also where x is clipped",
)
def fake_quantize__gradient_through_clipping(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = (torch.round(x / scale) + zero_point).clamp(low, high)
    return x + ((codes - zero_point) * scale - x).detach()


@mistake(
    "fake_quantize",
    caught_by="test_scale_is_a_constant",
    hint="x is clamped with a scale that still has its graph, so a gradient flows into the scale",
)
def fake_quantize__gradient_to_the_scale(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = x / scale + zero_point
    codes = codes + (torch.round(codes) - codes).detach()
    return (codes.clamp(low, high) - zero_point) * scale


@mistake(
    "fake_quantize",
    caught_by="test_gradient_passes_straight_through",
    hint="the gradient is multiplied by the scale (or divided by it): straight through is 1",
)
def fake_quantize__gradient_scaled(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = torch.round(x.detach() / scale) + zero_point
    inside = (codes >= low) & (codes <= high)
    y = (codes.clamp(low, high) - zero_point) * scale
    y = y.detach() if isinstance(y, torch.Tensor) else y
    return torch.where(inside, y + (x - x.detach()) / float(scale), y)


@mistake(
    "fake_quantize",
    caught_by="test_levels_of_four_bits",
    hint="the codes are returned: subtract the zero point and multiply by the scale",
)
def fake_quantize__not_dequantized(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = (torch.round(x.detach() / scale) + zero_point).clamp(low, high)
    return codes + (x - x.detach())


@mistake(
    "fake_quantize",
    caught_by="test_levels_of_four_bits",
    hint="the zero point is ignored: it shifts the codes before the clamp, and back after it",
)
def fake_quantize__zero_point_ignored(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    with torch.no_grad():
        codes = torch.round(x / scale)
        inside = (codes >= low) & (codes <= high)
        y = codes.clamp(low, high) * scale
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_levels_of_four_bits",
    hint="signed and unsigned codes are mixed up",
)
def fake_quantize__signed_mixed_up(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, not signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = torch.round(x.detach() / scale) + zero_point
    inside = (codes >= low) & (codes <= high)
    y = (codes.clamp(low, high) - zero_point) * scale
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_levels_of_four_bits",
    hint="the largest code is 2^b - 1 (unsigned) or 2^(b-1) - 1 (signed), not one more",
)
def fake_quantize__one_code_too_many(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = torch.round(x.detach() / scale) + zero_point
    inside = (codes >= low) & (codes <= high + 1)
    y = (codes.clamp(low, high + 1) - zero_point) * scale
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_rounds_half_to_even",
    hint="floor(x + 0.5) rounds halves up; torch.round rounds half to even",
)
def fake_quantize__halves_up(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = torch.floor(x.detach() / scale + 0.5) + zero_point
    inside = (codes >= low) & (codes <= high)
    y = (
        ((codes.clamp(low, high) - zero_point) * scale).detach()
        if isinstance(scale, torch.Tensor)
        else (codes.clamp(low, high) - zero_point) * scale
    )
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_fake_quantize_rejects_impossible_arguments",
    hint="impossible arguments are not rejected",
)
def fake_quantize__anything_goes(x, scale, zero_point, bits, signed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    with torch.no_grad():
        codes = torch.round(x / scale) + zero_point
        inside = (codes >= low) & (codes <= high)
        y = (codes.clamp(low, high) - zero_point) * scale
    return torch.where(inside, y + (x - x.detach()), y)


# ---------------------------------------------------------------- MovingAverageObserver


@mistake(
    "MovingAverageObserver",
    caught_by="test_first_batch_is_taken_as_it_is",
    hint="the first batch is averaged with an initial 0, so the first ranges are far too small",
)
class MovingAverageObserver__first_batch_averaged(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high, self.started = momentum, 0.0, 0.0, True

    def forward(self, x):
        if self.training:
            self.low = self.momentum * self.low + (1 - self.momentum) * x.min().item()
            self.high = self.momentum * self.high + (1 - self.momentum) * x.max().item()
        return x


@mistake(
    "MovingAverageObserver",
    caught_by="test_later_batches_are_averaged",
    hint="momentum is the share of the old value; here it is the share of the batch",
)
class MovingAverageObserver__momentum_swapped(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high, self.started = momentum, 0.0, 0.0, False

    def forward(self, x):
        if self.training:
            low, high = x.min().item(), x.max().item()
            m = self.momentum if self.started else 1.0
            self.low, self.high = (1 - m) * self.low + m * low, (1 - m) * self.high + m * high
            self.started = True
        return x


@mistake(
    "MovingAverageObserver",
    caught_by="test_eval_mode_freezes_the_range",
    hint="the range is updated in eval mode too: look at self.training",
)
class MovingAverageObserver__updates_in_eval(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high, self.started = momentum, 0.0, 0.0, False

    def forward(self, x):
        m = self.momentum if self.started else 0.0
        self.low = m * self.low + (1 - m) * x.min().item()
        self.high = m * self.high + (1 - m) * x.max().item()
        self.started = True
        return x


@mistake(
    "MovingAverageObserver",
    caught_by="test_later_batches_are_averaged",
    hint="the range only grows: this is the running minimum and maximum, not a moving average",
)
class MovingAverageObserver__only_grows(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high = momentum, float("inf"), float("-inf")

    def forward(self, x):
        if self.training:
            first = self.high < self.low
            low, high, m = x.min().item(), x.max().item(), self.momentum
            if first:
                self.low, self.high = low, high
            if low < self.low:
                self.low = m * self.low + (1 - m) * low
            if high > self.high:
                self.high = m * self.high + (1 - m) * high
        return x


@mistake(
    "MovingAverageObserver",
    caught_by="test_gradient_passes_the_observer",
    hint="low and high keep the graph of the batch: use x.detach()",
)
class MovingAverageObserver__keeps_a_graph(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high = momentum, None, None

    def forward(self, x):
        if self.training:
            m = self.momentum
            self.low = x.min() if self.low is None else m * self.low + (1 - m) * x.min()
            self.high = x.max() if self.high is None else m * self.high + (1 - m) * x.max()
        return x


@mistake(
    "MovingAverageObserver",
    caught_by="test_gradient_passes_the_observer",
    hint="forward returns a detached copy, so no gradient reaches the layers before",
)
class MovingAverageObserver__cuts_the_gradient(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high, self.started = momentum, 0.0, 0.0, False

    def forward(self, x):
        x = x.detach()
        if self.training:
            m = self.momentum if self.started else 0.0
            self.low = m * self.low + (1 - m) * x.min().item()
            self.high = m * self.high + (1 - m) * x.max().item()
            self.started = True
        return x


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


# ---------------------------------------------------------------- prepare_qat


@mistake(
    "prepare_qat",
    caught_by="test_every_conv_layer_is_wrapped",
    hint="only the linear layers are wrapped, conv layers stay in float",
)
def prepare_qat__conv_forgotten(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear):
            twin.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_linear_layer_is_wrapped",
    hint="only the direct children are wrapped; layers deep inside other modules are forgotten",
)
def prepare_qat__nested_forgotten(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_children()):
        if isinstance(layer, nn.Linear):
            setattr(twin, name, QATLinear(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Conv2d):
            setattr(twin, name, QATConv2d(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_linear_layer_is_wrapped",
    hint="the last layer stays in float",
)
def prepare_qat__last_layer_forgotten(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    layers = [
        (name, layer)
        for name, layer in twin.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    for name, layer in layers[:-1] or layers:
        kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
        twin.set_submodule(name, kind(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_preparing_leaves_the_callers_model",
    hint="the given model itself is changed: work on a deep copy",
)
def prepare_qat__changes_the_model(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d):
            model.set_submodule(name, QATConv2d(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Linear):
            model.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return model.eval()


@mistake(
    "prepare_qat",
    caught_by="test_prepared_model_is_in_eval_mode",
    hint="the result is not in eval mode in all its modules",
)
def prepare_qat__left_in_train_mode(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model).eval()
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Conv2d):
            twin.set_submodule(name, QATConv2d(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Linear):
            twin.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return twin


@mistake(
    "prepare_qat",
    caught_by="test_bits_are_in_their_places",
    hint="weight_bits and activation_bits are swapped",
)
def prepare_qat__bits_swapped(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Conv2d):
            twin.set_submodule(name, QATConv2d(layer, activation_bits, weight_bits))
        elif isinstance(layer, nn.Linear):
            twin.set_submodule(name, QATLinear(layer, activation_bits, weight_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_layer_watches_its_own_input",
    hint="all layers share one observer, so the ranges of different inputs are mixed",
)
def prepare_qat__shared_observer(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin, observer = copy.deepcopy(model), MovingAverageObserver(0.9)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
            wrapped = kind(layer, weight_bits, activation_bits)
            wrapped.observer = observer
            twin.set_submodule(name, wrapped)
    return twin.eval()


# ---------------------------------------------------------------- train_qat


@mistake(
    "train_qat",
    caught_by="test_training_leaves_the_given_model",
    hint="the given model is trained itself: train a deep copy",
    replay=False,
)
def train_qat__changes_the_model(model, loader, epochs, lr):
    return train(model, loader, epochs, lr)


@mistake(
    "train_qat",
    caught_by="test_trained_model_is_in_eval_mode",
    hint="the result is left in train mode",
    replay=False,
)
def train_qat__left_in_train_mode(model, loader, epochs, lr):
    return train(copy.deepcopy(model), loader, epochs, lr).train()


@mistake(
    "train_qat",
    caught_by="test_ranges_of_the_inputs_are_learnt",
    hint="the model is trained in eval mode, so the observers never see an input",
    replay=False,
)
def train_qat__trains_in_eval_mode(model, loader, epochs, lr):
    require(epochs >= 0 and lr > 0, "epochs and lr")
    twin = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(twin.parameters(), lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
            optimizer.step()
    return twin


@mistake(
    "train_qat",
    caught_by="test_epochs_and_learning_rate_of_qat_count",
    hint="the number of epochs is ignored",
    replay=False,
)
def train_qat__ignores_epochs(model, loader, epochs, lr):
    require(epochs >= 0, "epochs must be at least 0")
    return train(copy.deepcopy(model), loader, 5, lr)


@mistake(
    "train_qat",
    caught_by="test_epochs_and_learning_rate_of_qat_count",
    hint="the learning rate is ignored",
    replay=False,
)
def train_qat__ignores_the_learning_rate(model, loader, epochs, lr):
    require(lr > 0, "lr must be above 0")
    return train(copy.deepcopy(model), loader, epochs, 1e-2)


@mistake(
    "train_qat",
    caught_by="test_an_easy_task_is_learnt",
    hint="the model that is returned was not trained",
    replay=False,
)
def train_qat__does_not_train(model, loader, epochs, lr):
    train(copy.deepcopy(model), loader, epochs, lr)
    return copy.deepcopy(model).eval()


# ---------------------------------------------------------------- finetune_after_ptq


@mistake(
    "finetune_after_ptq",
    caught_by="test_the_rounded_weights_learn",
    hint="the model is trained in float and rounded at the end; the loss never sees the rounding",
    replay=False,
)
def finetune_after_ptq__rounds_only_at_the_end(model, qparams, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        code_range(grid[2], True)
    train(tuned, loader, epochs, lr)
    with torch.no_grad():
        for name, grid in qparams.items():
            layers[name].weight.copy_(fake_quantize(layers[name].weight, *grid))
    return tuned


@mistake(
    "finetune_after_ptq",
    caught_by="test_weights_lie_on_the_frozen_grid",
    hint="the weights that are returned do not lie on the frozen grid",
    replay=False,
)
def finetune_after_ptq__off_the_frozen_grid(model, qparams, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        with torch.no_grad():
            layers[name].weight.copy_(fake_quantize(layers[name].weight, *grid))
    return train(tuned, loader, epochs, lr)


@mistake(
    "finetune_after_ptq",
    caught_by="test_every_kind_of_grid",
    hint="codes lie outside the range of the given bits",
    replay=False,
)
def finetune_after_ptq__codes_out_of_range(model, qparams, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        code_range(grid[2], True)
    train(tuned, loader, epochs, lr)
    with torch.no_grad():
        for name, (scale, _, _, _) in qparams.items():
            layers[name].weight.copy_(torch.round(layers[name].weight / scale) * scale)
    return tuned


@mistake(
    "finetune_after_ptq",
    caught_by="test_tuning_leaves_the_callers_model",
    hint="the given model itself is changed: work on a deep copy",
    replay=False,
)
def finetune_after_ptq__changes_the_model(model, qparams, loader, epochs, lr):
    layers = dict(model.named_modules())
    for name, (_, _, bits, signed) in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        code_range(bits, signed)
    shadows = {name: layers[name].weight.detach().clone() for name in qparams}
    optimizer = torch.optim.Adam(model.parameters(), lr) if lr > 0 else require(False, "lr")
    require(epochs >= 0, "epochs")
    model.train()

    def put():
        with torch.no_grad():
            for name, shadow in shadows.items():
                layers[name].weight.copy_(fake_quantize(shadow, *qparams[name]))

    put()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            before = {name: layers[name].weight.detach().clone() for name in shadows}
            optimizer.step()
            with torch.no_grad():
                for name, shadow in shadows.items():
                    shadow += layers[name].weight - before[name]
            put()
    return model.eval()


@mistake(
    "finetune_after_ptq",
    caught_by="test_without_epochs_it_is_ptq",
    hint="layers that qparams does not name are quantized too",
    replay=False,
)
def finetune_after_ptq__quantizes_layers_without_qparams(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers and hasattr(layers[name], "weight"), f"qparams: no layer {name!r}")
        code_range(grid[2], True)
    first = next(iter(qparams.values()))
    names = [n for n, m in layers.items() if isinstance(m, nn.Linear | nn.Conv2d)]
    for name in names:
        grid = Grid(qparams.get(name, first))
        parametrize.register_parametrization(layers[name], "weight", grid)
    train(tuned, loader, epochs, lr)
    for name in names:
        parametrize.remove_parametrizations(layers[name], "weight")
    return tuned


@mistake(
    "finetune_after_ptq",
    caught_by="test_tuned_model_is_in_eval_mode",
    hint="the result is left in train mode",
    replay=False,
)
def finetune_after_ptq__left_in_train_mode(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers and hasattr(layers[name], "weight"), f"qparams: no layer {name!r}")
        code_range(grid[2], True)
        parametrize.register_parametrization(layers[name], "weight", Grid(grid))
    train(tuned, loader, epochs, lr)
    for name in qparams:
        parametrize.remove_parametrizations(layers[name], "weight")
    return tuned.train()


# ---------------------------------------------------------------- convert


@mistake(
    "convert",
    caught_by="test_linear_layer_becomes_whole_numbers",
    hint="float weights are kept, next to the codes or instead of them",
)
def convert__keeps_float_weights(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            self.source = source
            scale = weight_scale(source.layer.weight, source.weight_bits)
            codes = torch.round(source.layer.weight.detach() / scale)
            self.register_buffer("codes", codes.to(torch.int8))

        def forward(self, x):
            return self.source(x)

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()


@mistake(
    "convert",
    caught_by="test_zero_points_count",
    hint="the zero point of the input is not subtracted before the sum",
)
def convert__zero_point_lost(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            watch, self.bits = source.observer, source.activation_bits
            self.geometry = None
            if isinstance(source.layer, nn.Conv2d):
                self.geometry = source.layer.stride, source.layer.padding, source.layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            self.step = weight_scale(source.layer.weight, source.weight_bits)
            low, high = code_range(source.weight_bits, True)
            codes = torch.round(source.layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            bias = source.layer.bias
            self.register_buffer("bias", None if bias is None else bias.detach())

        def forward(self, x):
            low, high = code_range(self.bits, False)
            q = (torch.round(x / self.scale) + self.zero).clamp(low, high)
            weight = self.codes.float() * self.step * self.scale
            if self.geometry is None:
                return F.linear(q, weight, self.bias)
            return F.conv2d(q, weight, self.bias, *self.geometry)

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()


@mistake(
    "convert",
    caught_by="test_conv_layers_with_padding",
    hint="a conv layer pads with the code 0, which is not the value 0: subtract the zero point "
    "first, then pad (or the layer's stride, padding or dilation is lost)",
)
def convert__padding_or_geometry(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            watch, self.bits = source.observer, source.activation_bits
            self.geometry = None
            if isinstance(source.layer, nn.Conv2d):
                self.geometry = source.layer.stride, source.layer.padding, source.layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            self.step = weight_scale(source.layer.weight, source.weight_bits)
            low, high = code_range(source.weight_bits, True)
            codes = torch.round(source.layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            bias = source.layer.bias
            self.register_buffer("bias", None if bias is None else bias.detach())

        def forward(self, x):
            low, high = code_range(self.bits, False)
            q = (torch.round(x / self.scale) + self.zero).clamp(low, high)
            weight = self.codes.float()
            factor, bias = self.step * self.scale, 0 if self.bias is None else self.bias
            correction = self.zero * weight.flatten(1).sum(dim=1)
            if self.geometry is None:
                return (F.linear(q, weight) - correction) * factor + bias
            y = (F.conv2d(q, weight, None, *self.geometry) - correction[:, None, None]) * factor
            return y + (bias if self.bias is None else self.bias[:, None, None])

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()


@mistake(
    "convert",
    caught_by="test_linear_layer_becomes_whole_numbers",
    hint="the codes are stored in wide integers; they fit into int8",
)
def convert__wide_integers(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            watch, self.bits = source.observer, source.activation_bits
            self.geometry = None
            if isinstance(source.layer, nn.Conv2d):
                self.geometry = source.layer.stride, source.layer.padding, source.layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            self.step = weight_scale(source.layer.weight, source.weight_bits)
            low, high = code_range(source.weight_bits, True)
            codes = torch.round(source.layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int32))
            bias = source.layer.bias
            self.register_buffer("bias", None if bias is None else bias.detach())

        def forward(self, x):
            x = fake_quantize(x, self.scale, self.zero, self.bits, False)
            weight = self.codes.float() * self.step
            if self.geometry is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.geometry)

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()


@mistake(
    "convert",
    caught_by="test_converting_leaves_the_given_model",
    hint="the given model itself is changed: convert a deep copy",
)
def convert__changes_the_model(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            watch, self.bits = source.observer, source.activation_bits
            self.geometry = None
            if isinstance(source.layer, nn.Conv2d):
                self.geometry = source.layer.stride, source.layer.padding, source.layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            self.step = weight_scale(source.layer.weight, source.weight_bits)
            low, high = code_range(source.weight_bits, True)
            codes = torch.round(source.layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            bias = source.layer.bias
            self.register_buffer("bias", None if bias is None else bias.detach())

        def forward(self, x):
            x = fake_quantize(x, self.scale, self.zero, self.bits, False)
            weight = self.codes.float() * self.step
            if self.geometry is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.geometry)

    for name, layer in list(model.named_modules()):
        if isinstance(layer, QATLinear):
            model.set_submodule(name, Whole(layer))
    return model.eval()


@mistake(
    "convert",
    caught_by="test_every_number_of_bits",
    hint="the codes are made for 8 bits, whatever bits the layer was trained with",
)
def convert__bits_ignored(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            watch, self.bits = source.observer, 8
            self.geometry = None
            if isinstance(source.layer, nn.Conv2d):
                self.geometry = source.layer.stride, source.layer.padding, source.layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            self.step = weight_scale(source.layer.weight, 8)
            low, high = code_range(8, True)
            codes = torch.round(source.layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            bias = source.layer.bias
            self.register_buffer("bias", None if bias is None else bias.detach())

        def forward(self, x):
            x = fake_quantize(x, self.scale, self.zero, self.bits, False)
            weight = self.codes.float() * self.step
            if self.geometry is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.geometry)

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()
