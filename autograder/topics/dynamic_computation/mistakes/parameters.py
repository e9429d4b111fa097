"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- how parameters start and learn


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_gradient_reaches_the_shared_weight",
    hint="the bias is detached, so it never learns; a slice alone is enough",
)
class SlimmableLinear__bias_never_learns(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        bias = None if self.bias is None else self.bias.detach()[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_has_one_set_of_weights",
    hint="weights from torch.randn are far too large; nn.Linear starts near 1 / sqrt(inputs)",
)
class SlimmableLinear__starts_too_large(nn.Module):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.randn(out_features)) if bias else None
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        outputs, inputs = self.weight.shape
        inputs = math.ceil(width * inputs) if self.slice_input else inputs
        outputs = math.ceil(width * outputs) if self.slice_output else outputs
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_keeps_its_geometry",
    hint="only the first number of the dilation is used; it may differ in height and width",
)
class SlimmableConv2d__square_dilation(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation[0])
