"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

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


@mistake(
    "convert",
    caught_by="test_weights_with_outliers",
    hint="the weight's scale is another one than that of the QAT layer",
)
def convert__scale_of_its_own(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "at most 8 bits")
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = float(layer.weight.detach().abs().max()) / high
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            self.bias = layer.bias

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
    caught_by="test_most_outputs_are_the_same",
    hint="the input is clipped to its range but not rounded to codes",
)
def convert__input_not_rounded(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "at most 8 bits")
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = weight_scale(source.layer.weight, source.weight_bits)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            self.bias = layer.bias

        def forward(self, x):
            _, last = code_range(self.bits, False)
            x = ((x / self.scale + self.zero).clamp(0, last) - self.zero) * self.scale
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
    hint="the given model is put into eval mode: convert a deep copy",
)
def convert__puts_the_given_model_into_eval(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "at most 8 bits")
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = weight_scale(source.layer.weight, source.weight_bits)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            self.bias = layer.bias

        def forward(self, x):
            x = fake_quantize(x, self.scale, self.zero, self.bits, False)
            weight = self.codes.float() * self.step
            if self.geometry is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.geometry)

    model.eval()
    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(holder.named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()


@mistake(
    "convert",
    caught_by="test_every_number_of_bits",
    hint="the codes of the input are put into 8 bits, whatever activation_bits says, and wrap "
    "around",
)
def convert__input_codes_in_eight_bits(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "model: at most 8 weight bits")
            require(bool(source.observer.started), "model: unknown range of an input")
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = weight_scale(layer.weight, source.weight_bits)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

        def forward(self, x):
            q = (torch.round(x / self.scale) + self.zero).clamp(0, 2**self.bits - 1)
            q = q.to(torch.uint8).int() - self.zero
            x, weight = q * self.scale, self.codes.float() * self.step
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
    caught_by="test_converting_rejects_what_cannot_be",
    hint="weights of more than 8 bits, or inputs of unknown range, are not rejected",
)
def convert__more_than_eight_bits(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = weight_scale(layer.weight, source.weight_bits)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer(
                "codes", codes.to(torch.int8 if source.weight_bits <= 8 else torch.int16)
            )
            self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

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
    caught_by="test_layers_deep_inside",
    hint="only direct children are converted; layers deep inside other modules are forgotten",
)
def convert__nested_forgotten(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "model: at most 8 weight bits")
            require(bool(source.observer.started), "model: unknown range of an input")
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = weight_scale(layer.weight, source.weight_bits)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

        def forward(self, x):
            x = fake_quantize(x, self.scale, self.zero, self.bits, False)
            weight = self.codes.float() * self.step
            if self.geometry is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.geometry)

    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_children()):
        if isinstance(layer, QATLinear):
            setattr(twin, name, Whole(layer))
    return twin.eval()


@mistake(
    "convert",
    caught_by="test_converting_leaves_the_given_model",
    hint="the converted layers share their biases with the given model: use copy.deepcopy",
)
def convert__shares_tensors(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "model: at most 8 weight bits")
            require(bool(source.observer.started), "model: unknown range of an input")
            watch, layer, self.bits = source.observer, source.layer, source.activation_bits
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.stride, layer.padding, layer.dilation
            self.scale, self.zero = range_to_scale(watch.low, watch.high, self.bits)
            low, high = code_range(source.weight_bits, True)
            self.step = weight_scale(layer.weight, source.weight_bits)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high)
            self.register_buffer("codes", codes.to(torch.int8))
            self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

        def forward(self, x):
            x = fake_quantize(x, self.scale, self.zero, self.bits, False)
            weight = self.codes.float() * self.step
            if self.geometry is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.geometry)

    holder = nn.ModuleDict({"model": copy.deepcopy(model)})
    for name, layer in list(nn.ModuleDict({"model": model}).named_modules()):
        if isinstance(layer, QATLinear):
            holder.set_submodule(name, Whole(layer))
    return holder["model"].eval()
