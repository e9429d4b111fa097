"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- SlimmableLinear


@alternative("SlimmableLinear")
class SlimmableLinear__holds_a_layer(nn.Module):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__()
        self.full = nn.Linear(in_features, out_features, bias=bias)
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        if width <= 0 or width > 1:
            raise ValueError("width")
        outputs, inputs = self.full.weight.shape
        outputs = -int(-width * outputs // 1) if self.slice_output else outputs
        inputs = -int(-width * inputs // 1) if self.slice_input else inputs
        y = x @ self.full.weight.narrow(0, 0, outputs).narrow(1, 0, inputs).t()
        return y if self.full.bias is None else y + self.full.bias[:outputs]


@alternative("SlimmableLinear")
class SlimmableLinear__own_parameters(nn.Module):
    def __init__(self, in_features, out_features, bias=True, slice_input=True, slice_output=True):
        super().__init__()
        # Stored as (in, out): nobody said how.
        self.matrix = nn.Parameter(torch.randn(in_features, out_features) / in_features**0.5)
        self.offset = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.flags = slice_input, slice_output

    def forward(self, x, width):
        if not 0 < width <= 1:
            raise ValueError("width must be in (0, 1]")
        matrix = self.matrix
        if self.flags[0]:
            matrix = matrix[: math.ceil(width * matrix.size(0))]
        if self.flags[1]:
            matrix = matrix[:, : math.ceil(width * matrix.size(1))]
        y = torch.matmul(x, matrix)
        return y if self.offset is None else y + self.offset[: y.shape[-1]]


@alternative("SlimmableLinear")
class SlimmableLinear__by_input_size(nn.Linear):
    def __init__(self, *args, slice_input=True, slice_output=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.slice_output = slice_output

    def forward(self, x, width):
        if not 0 < width <= 1:
            raise ValueError("width")
        n = math.ceil(width * self.out_features) if self.slice_output else self.out_features
        bias = self.bias[:n] if self.bias is not None else None
        return F.linear(x, self.weight[:n, : x.size(-1)], bias)


# ---------------------------------------------------------------- SlimmableConv2d


@alternative("SlimmableConv2d")
class SlimmableConv2d__holds_a_layer(nn.Module):
    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        bias=True,
        slice_input=True,
        slice_output=True,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias
        )
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        if not 0 < width <= 1:
            raise ValueError("width")
        conv = self.conv
        rows = math.ceil(width * conv.out_channels) if self.slice_output else conv.out_channels
        columns = math.ceil(width * conv.in_channels) if self.slice_input else conv.in_channels
        bias = None if conv.bias is None else conv.bias[:rows]
        return conv._conv_forward(x, conv.weight[:rows][:, :columns], bias)


@alternative("SlimmableConv2d")
class SlimmableConv2d__functional_call(nn.Conv2d):
    def __init__(self, *args, **kwargs):
        flags = kwargs.pop("slice_input", True), kwargs.pop("slice_output", True)
        super().__init__(*args, **kwargs)
        self.flags = flags

    def forward(self, x, width):
        if width <= 0 or width > 1:
            raise ValueError("width")
        keep = self.out_channels
        if self.flags[1]:
            keep = math.ceil(width * keep)
        y = F.conv2d(
            x,
            self.weight[:keep, : x.shape[1]],
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        return y if self.bias is None else y + self.bias[:keep].view(1, -1, 1, 1)


# ---------------------------------------------------------------- SwitchableBatchNorm2d


@alternative("SwitchableBatchNorm2d")
class SwitchableBatchNorm2d__module_dict(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        if any(width <= 0 or width > 1 for width in widths):
            raise ValueError("widths")
        self.norms = nn.ModuleDict(
            {
                str(float(width)).replace(".", "_"): nn.BatchNorm2d(math.ceil(width * channels))
                for width in widths
            }
        )

    def forward(self, x, width):
        key = str(float(width)).replace(".", "_")
        if key not in self.norms:
            raise ValueError(f"width {width} is unknown")
        return self.norms[key](x)


@alternative("SwitchableBatchNorm2d")
class SwitchableBatchNorm2d__shared_scale_own_statistics(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        if not widths or min(widths) <= 0 or max(widths) > 1:
            raise ValueError("widths")
        self.channels, self.widths = channels, tuple(widths)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        for place, width in enumerate(widths):
            used = math.ceil(width * channels)
            self.register_buffer(f"mean{place}", torch.zeros(used))
            self.register_buffer(f"variance{place}", torch.ones(used))

    def forward(self, x, width):
        place = self.widths.index(width)  # a ValueError where it is unknown
        used = math.ceil(width * self.channels)
        return F.batch_norm(
            x,
            getattr(self, f"mean{place}"),
            getattr(self, f"variance{place}"),
            self.weight[:used],
            self.bias[:used],
            training=self.training,
            momentum=0.1,
        )


@alternative("SwitchableBatchNorm2d")
class SwitchableBatchNorm2d__by_hand(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        if not widths or any(not 0 < width <= 1 for width in widths):
            raise ValueError("widths")
        self.place = {float(width): place for place, width in enumerate(widths)}
        self.scale = nn.Parameter(torch.ones(len(widths), channels))
        self.shift = nn.Parameter(torch.zeros(len(widths), channels))
        self.register_buffer("moments", torch.zeros(2, len(widths), channels))

    def forward(self, x, width):
        if float(width) not in self.place:
            raise ValueError("width")
        place, used = self.place[float(width)], x.shape[1]
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            stored = self.moments[:, place, :used]
            stored.lerp_(torch.stack([mean, variance]).detach(), 0.1)
        else:
            mean, variance = self.moments[:, place, :used]
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        shift = self.shift[place, :used, None, None]
        return x * self.scale[place, :used, None, None] + shift


@alternative("SlimmableConv2d")
class SlimmableConv2d__unfold(nn.Module):
    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        bias=True,
        slice_input=True,
        slice_output=True,
    ):
        super().__init__()
        like = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation)
        self.geometry = like.kernel_size, like.dilation, like.padding, like.stride
        self.kernel = nn.Parameter(like.weight.detach().clone())
        self.offset = nn.Parameter(like.bias.detach().clone()) if bias else None
        self.slice_input, self.slice_output = slice_input, slice_output

    def forward(self, x, width):
        if not 0 < width <= 1:
            raise ValueError("width")
        rows, columns = self.kernel.shape[:2]
        rows = math.ceil(width * rows) if self.slice_output else rows
        columns = math.ceil(width * columns) if self.slice_input else columns
        kernel, dilation, padding, stride = self.geometry
        y = self.kernel[:rows, :columns].flatten(1) @ F.unfold(x, *self.geometry)
        if self.offset is not None:
            y = y + self.offset[:rows, None]
        reach = x.shape[2] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1
        return y.reshape(len(x), rows, reach // stride[0] + 1, -1)
