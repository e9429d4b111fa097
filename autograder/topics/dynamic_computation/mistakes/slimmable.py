"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- SlimmableLinear


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_rounds_channels_up",
    hint="the number of channels is rounded down; it is ceil(width * n)",
)
class SlimmableLinear__rounds_down(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = max(int(width * self.in_features), 1) if self.slice_input else self.in_features
        outputs = max(int(width * self.out_features), 1) if self.slice_output else self.out_features
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_rounds_channels_up",
    hint="the number of channels is rounded to the nearest one; it is ceil(width * n)",
)
class SlimmableLinear__rounds_to_nearest(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = max(round(width * self.in_features), 1) if self.slice_input else self.in_features
        outputs = (
            max(round(width * self.out_features), 1) if self.slice_output else self.out_features
        )
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_slices_what_it_is_told",
    hint="slice_input and slice_output are not looked at: everything is sliced",
)
class SlimmableLinear__always_slices(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features)
        outputs = math.ceil(width * self.out_features)
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_slices_what_it_is_told",
    hint="slice_input and slice_output are swapped",
)
class SlimmableLinear__flags_swapped(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_output else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_input else self.out_features
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_slices_what_it_is_told",
    hint="slice_output=False is not looked at: the last layer loses classes",
)
class SlimmableLinear__last_layer_sliced(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features)
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_uses_the_first_channels",
    hint="these are the last channels of the weight; the first ones are used",
)
class SlimmableLinear__last_channels(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        bias = None if self.bias is None else self.bias[-outputs:]
        return F.linear(x, self.weight[-outputs:, -inputs:], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_gradient_reaches_the_shared_weight",
    hint="the slice is detached (.data, .detach() or a copy), so the weight cannot learn",
)
class SlimmableLinear__gradient_cut_off(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight.data[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_uses_the_first_channels",
    hint="the channels are set to 0 and not sliced away: nothing is saved",
)
class SlimmableLinear__zeros_for_slices(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        x = F.pad(x[..., :inputs], (0, self.in_features - x[..., :inputs].shape[-1]))
        mask = torch.arange(self.out_features) < outputs
        return F.linear(x, self.weight, self.bias) * mask


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_rejects_impossible_widths",
    hint="a width outside (0, 1] is accepted",
)
class SlimmableLinear__any_width(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x, self.weight[:outputs, :inputs], bias)


@mistake(
    "SlimmableLinear",
    caught_by="test_linear_uses_the_first_channels",
    hint="the bias is forgotten",
)
class SlimmableLinear__bias_forgotten(nn.Linear):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__(in_features, out_features, bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_features) if self.slice_input else self.in_features
        outputs = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        return F.linear(x, self.weight[:outputs, :inputs])


# ---------------------------------------------------------------- SlimmableConv2d


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_rounds_channels_up",
    hint="the number of channels is rounded down; it is ceil(width * n)",
)
class SlimmableConv2d__rounds_down(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = max(int(width * self.in_channels), 1) if self.slice_input else self.in_channels
        outputs = max(int(width * self.out_channels), 1) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_slices_what_it_is_told",
    hint="slice_input and slice_output are not looked at: everything is sliced",
)
class SlimmableConv2d__always_slices(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels)
        outputs = math.ceil(width * self.out_channels)
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_slices_what_it_is_told",
    hint="slice_input=False is not looked at: the first layer's input is sliced too",
)
class SlimmableConv2d__first_layer_sliced(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels)
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_keeps_its_geometry",
    hint="stride, padding and dilation of the layer are not passed on",
)
class SlimmableConv2d__geometry_lost(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_keeps_its_geometry",
    hint="the dilation of the layer is not passed on",
)
class SlimmableConv2d__dilation_lost(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_uses_the_first_channels",
    hint="these are the last channels of the weight; the first ones are used",
)
class SlimmableConv2d__last_channels(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[-outputs:]
        weight = self.weight[-outputs:, -inputs:]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_gradient_reaches_the_shared_weight",
    hint="the slice is detached (.data, .detach() or a copy), so the weight cannot learn",
)
class SlimmableConv2d__gradient_cut_off(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs].detach()
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_rejects_impossible_widths",
    hint="a width outside (0, 1] is accepted",
)
class SlimmableConv2d__any_width(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias[:outputs]
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)


@mistake(
    "SlimmableConv2d",
    caught_by="test_conv_uses_the_first_channels",
    hint="the bias has more channels than the output: slice it too",
)
class SlimmableConv2d__bias_not_sliced(nn.Conv2d):
    def __init__(self, *arguments, slice_input=True, slice_output=True, **keywords):
        super().__init__(*arguments, **keywords)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        require(0 < width <= 1, "width")
        inputs = math.ceil(width * self.in_channels) if self.slice_input else self.in_channels
        outputs = math.ceil(width * self.out_channels) if self.slice_output else self.out_channels
        bias = None if self.bias is None else self.bias
        weight = self.weight[:outputs, :inputs]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)
