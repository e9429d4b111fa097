"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- SwitchableBatchNorm2d


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_each_width_keeps_its_own_statistics",
    hint="one batch norm serves all widths, so its statistics are a mixture that fits none",
)
class SwitchableBatchNorm2d__shared_statistics(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths, self.norm = list(widths), nn.BatchNorm2d(channels)

    def forward(self, x, width):
        require(width in self.widths, "width")
        n, norm = math.ceil(width * self.norm.num_features), self.norm
        return F.batch_norm(
            x,
            norm.running_mean[:n],
            norm.running_var[:n],
            norm.weight[:n],
            norm.bias[:n],
            self.training,
            0.1,
        )


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_each_width_keeps_its_own_statistics",
    hint="the running mean is each width's own, but the running variance is shared",
)
class SwitchableBatchNorm2d__shared_variance(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths, self.channels = list(widths), channels
        self.norms = nn.ModuleList(nn.BatchNorm2d(math.ceil(w * channels)) for w in widths)
        self.register_buffer("variance", nn.BatchNorm2d(channels).running_var)

    def forward(self, x, width):
        require(width in self.widths, "width")
        norm = self.norms[self.widths.index(width)]
        shared = self.variance[: math.ceil(width * self.channels)]
        return F.batch_norm(
            x, norm.running_mean, shared, norm.weight, norm.bias, self.training, 0.1
        )


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_eval_mode_uses_and_keeps_statistics",
    hint="the batch norms are in a plain list or dict, so .eval() does not reach them",
)
class SwitchableBatchNorm2d__plain_list(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.norms = {width: nn.BatchNorm2d(math.ceil(width * channels)) for width in widths}

    def forward(self, x, width):
        require(width in self.norms, "width")
        return self.norms[width](x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_eval_mode_uses_and_keeps_statistics",
    hint="the statistics of the batch are used in eval mode too; there the running ones count",
)
class SwitchableBatchNorm2d__always_batch_statistics(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths = list(widths)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(math.ceil(w * channels), track_running_stats=False) for w in widths
        )

    def forward(self, x, width):
        require(width in self.widths, "width")
        return self.norms[self.widths.index(width)](x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_norm_rounds_channels_up",
    hint="the number of channels is rounded down; it is ceil(width * channels)",
)
class SwitchableBatchNorm2d__rounds_down(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths = list(widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(max(int(w * channels), 1)) for w in widths)

    def forward(self, x, width):
        require(width in self.widths, "width")
        return self.norms[self.widths.index(width)](x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_scale_and_shift_can_learn",
    hint="affine=False: batch norm has a scale and a shift that learn",
)
class SwitchableBatchNorm2d__not_affine(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths = list(widths)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(math.ceil(w * channels), affine=False) for w in widths
        )

    def forward(self, x, width):
        require(width in self.widths, "width")
        return self.norms[self.widths.index(width)](x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_norm_rejects_impossible_widths",
    hint="a width that was not announced takes the nearest batch norm without a word",
)
class SwitchableBatchNorm2d__nearest_width(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths = list(widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(math.ceil(w * channels)) for w in widths)

    def forward(self, x, width):
        nearest = min(self.widths, key=lambda known: abs(known - width))
        norm = self.norms[self.widths.index(nearest)]
        if norm.num_features != x.shape[1]:
            norm = next(n for n in self.norms if n.num_features >= x.shape[1])
            n = x.shape[1]
            stats = norm.running_mean[:n], norm.running_var[:n], norm.weight[:n], norm.bias[:n]
            return F.batch_norm(x, *stats, self.training, 0.1)
        return norm(x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_norm_rejects_impossible_widths",
    hint="the widths in the constructor are not looked at: each lies in (0, 1]",
)
class SwitchableBatchNorm2d__unchecked_widths(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        self.widths = list(widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(abs(math.ceil(w * channels))) for w in widths)

    def forward(self, x, width):
        require(width in self.widths, "width")
        return self.norms[self.widths.index(width)](x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_train_mode_normalises_each_width",
    hint="each image is normalised for itself (instance norm); batch norm takes the whole batch",
)
class SwitchableBatchNorm2d__image_by_image(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(widths and all(0 < w <= 1 for w in widths), "widths")
        self.widths = list(widths)
        self.norms = nn.ModuleList(
            nn.InstanceNorm2d(math.ceil(w * channels), affine=True) for w in widths
        )

    def forward(self, x, width):
        require(width in self.widths, "width")
        return self.norms[self.widths.index(width)](x)


@mistake(
    "SwitchableBatchNorm2d",
    caught_by="test_each_width_keeps_its_own_statistics",
    hint="one batch norm for each number of channels: two widths with as many channels share it",
)
class SwitchableBatchNorm2d__by_number_of_channels(nn.Module):
    def __init__(self, channels, widths):
        super().__init__()
        require(len(widths) > 0 and all(0 < width <= 1 for width in widths), "widths")
        self.widths = list(widths)
        counts = {math.ceil(width * channels) for width in widths}
        self.norms = nn.ModuleDict({str(count): nn.BatchNorm2d(count) for count in counts})

    def forward(self, x, width):
        require(width in self.widths, "width")
        return self.norms[str(x.shape[1])](x)
