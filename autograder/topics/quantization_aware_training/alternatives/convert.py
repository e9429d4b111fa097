"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("convert")
def convert__dequantizes_in_forward(model):
    class Stored(nn.Module):
        def __init__(self, source):
            super().__init__()
            require(source.weight_bits <= 8, "model has weights of more than 8 bits")
            require(source.observer.started, "model has inputs of unknown range")
            scale = weight_scale(source.layer.weight, source.weight_bits)
            rounded = source.quantized_weight().detach() / scale
            self.register_buffer("weight", rounded.round().to(torch.int8))
            self.register_buffer("scale", torch.tensor(scale))
            self.bias = source.layer.bias
            self.conv = None
            if isinstance(source.layer, nn.Conv2d):
                layer = source.layer
                self.conv = layer.stride, layer.padding, layer.dilation
            low, high = float(source.observer.low), float(source.observer.high)
            self.input = (*range_to_scale(low, high, source.activation_bits),)
            self.input += (source.activation_bits, False)

        def forward(self, x):
            x = fake_quantize(x, *self.input)
            weight = self.weight * self.scale
            if self.conv is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.conv)

    result = nn.Sequential(copy.deepcopy(model))
    for name, layer in list(result.named_modules()):
        if isinstance(layer, QATLinear):
            result.set_submodule(name, Stored(layer))
    return result[0].eval()


@alternative("convert")
def convert__whole_bias_and_plain_attributes(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            if source.weight_bits > 8 or not source.observer.started:
                raise ValueError("model: more than 8 weight bits, or an input of unknown range")
            layer, bits = source.layer, source.activation_bits
            self.s_x, self.z_x = range_to_scale(source.observer.low, source.observer.high, bits)
            self.last = 2**bits - 1
            self.s_w = weight_scale(layer.weight, source.weight_bits)
            top = 2 ** (source.weight_bits - 1)
            codes = torch.round(layer.weight.detach() / self.s_w).clamp(-top, top - 1)
            self.codes = codes.to(torch.int8)  # a plain attribute
            self.whole_bias = None
            if layer.bias is not None:
                whole = torch.round(layer.bias.detach() / (self.s_x * self.s_w))
                self.whole_bias = whole.to(torch.int64)
            self.options = None
            if isinstance(layer, nn.Conv2d):
                self.options = layer.stride, layer.padding, layer.dilation

        def forward(self, x):
            q = torch.round(x / self.s_x + 0).add(self.z_x).clamp(0, self.last).to(torch.int32)
            q = (q - self.z_x).double()
            if self.options is None:
                total = F.linear(q, self.codes.double())
            else:
                total = F.conv2d(q, self.codes.double(), None, *self.options)
            if self.whole_bias is not None:
                shape = (-1, 1, 1) if self.options is not None else (-1,)
                total = total + self.whole_bias.reshape(shape)
            return (total * (self.s_x * self.s_w)).to(torch.float32)

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, QATConv2d | QATLinear):
                setattr(module, name, Whole(child))
            else:
                replace(child)

    twin = copy.deepcopy(model)
    replace(twin)
    return twin.eval()


@alternative("convert")
def convert__unsigned_codes_and_a_correction(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            layer, self.bits = source.layer, source.activation_bits
            require(source.weight_bits <= 8, "at most 8 bits")
            require(source.observer.started, "an input of unknown range")
            self.s, self.z = range_to_scale(source.observer.low, source.observer.high, self.bits)
            self.step = weight_scale(layer.weight, source.weight_bits)
            low, high = code_range(source.weight_bits, True)
            codes = torch.round(layer.weight.detach() / self.step).clamp(low, high) - low
            self.register_buffer("codes", codes.to(torch.uint8))
            self.low, self.bias, self.conv = low, layer.bias, None
            if isinstance(layer, nn.Conv2d):
                self.conv = layer.stride, layer.padding, layer.dilation

        def forward(self, x):
            q = (torch.round(x * (1 / self.s)) + self.z).clamp(0, 2**self.bits - 1).double()
            codes = self.codes.double() + self.low
            if self.conv is None:
                whole, shape = F.linear(q, codes), (-1,)
            else:
                stride, (rows, columns), dilation = self.conv
                q = F.pad(q, (columns, columns, rows, rows), value=self.z)
                whole, shape = F.conv2d(q, codes, None, stride, 0, dilation), (-1, 1, 1)
            whole = whole - self.z * codes.flatten(1).sum(1).view(shape)
            y = (whole * (self.s * self.step)).float()
            return y if self.bias is None else y + self.bias.view(shape)

    box = nn.Sequential(copy.deepcopy(model))
    for name, layer in list(box.named_modules()):
        if isinstance(layer, QATLinear):
            box.set_submodule(name, Whole(layer))
    return box[0].eval()


@alternative("convert")
def convert__whole_number_arithmetic(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            if source.weight_bits > 8:
                raise ValueError("model: at most 8 weight bits")
            if not source.observer.started:
                raise ValueError("model: the range of an input is unknown")
            layer, self.bits = source.layer, source.activation_bits
            self.s, self.z = range_to_scale(source.observer.low, source.observer.high, self.bits)
            self.step = weight_scale(layer.weight, source.weight_bits)
            codes = torch.round(source.quantized_weight().detach() / self.step)
            self.register_buffer("codes", codes.to(torch.int8))
            self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())
            self.geometry = None
            if isinstance(layer, nn.Conv2d):
                self.geometry = layer.kernel_size, layer.dilation, layer.padding, layer.stride

        def forward(self, x):
            q = torch.round(x / self.s).add(self.z).clamp(0, 2**self.bits - 1).long() - self.z
            codes, shape = self.codes.flatten(1).long(), (-1,)
            if self.geometry is None:
                whole = q @ codes.T
            else:
                kernel, dilation, padding, stride = self.geometry
                rows = q.shape[2] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1
                columns = F.unfold(q.double(), *self.geometry).long()
                whole = (codes @ columns).unflatten(2, (rows // stride[0] + 1, -1))
                shape = (-1, 1, 1)
            y = (whole.double() * (self.s * self.step)).float()
            return y if self.bias is None else y + self.bias.view(shape)

    def replace(module):
        for name, child in list(module.named_children()):
            if isinstance(child, QATLinear):
                setattr(module, name, Whole(child))
            else:
                replace(child)
        return module

    return replace(nn.Sequential(copy.deepcopy(model)))[0].eval()
