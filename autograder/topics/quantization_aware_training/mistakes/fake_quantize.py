"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
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


@mistake(
    "fake_quantize",
    caught_by="test_gradient_from_above_counts",
    hint="backward returns 1 or 0 and forgets the gradient that comes from above: multiply by it",
)
def fake_quantize__gradient_from_above_ignored(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            codes = torch.round(x / scale) + zero_point
            ctx.save_for_backward((codes >= low) & (codes <= high))
            return (codes.clamp(low, high) - zero_point) * scale

        @staticmethod
        def backward(ctx, upstream):
            return ctx.saved_tensors[0].to(upstream.dtype)

    return Rounded.apply(x)


@mistake(
    "fake_quantize",
    caught_by="test_rounds_half_to_even",
    hint="the zero point is added before rounding: an odd one turns halves the other way",
)
def fake_quantize__zero_point_before_rounding(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = torch.round(x.detach() / scale + zero_point)
    levels = ((codes.clamp(low, high) - zero_point) * scale).detach()
    return torch.where((codes >= low) & (codes <= high), levels + (x - x.detach()), levels)


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


@mistake(
    "MovingAverageObserver",
    caught_by="test_zero_is_a_range_like_any_other",
    hint="a range of 0 is taken as 'no batch seen yet', but 0 is a real range after a ReLU",
)
class MovingAverageObserver__zero_means_no_batch_yet(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        require(0 <= momentum <= 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high = momentum, 0.0, 0.0

    def forward(self, x):
        if self.training:
            keep = self.momentum
            low, high = x.min().item(), x.max().item()
            self.low = keep * self.low + (1 - keep) * low if self.low else low
            self.high = keep * self.high + (1 - keep) * high if self.high else high
        return x


@mistake(
    "fake_quantize",
    caught_by="test_any_shape_and_keywords",
    hint="the result is float32, whatever the dtype of x is",
)
def fake_quantize__always_float32(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    x = x.float()
    with torch.no_grad():
        codes = torch.round(x / float(scale)) + zero_point
        inside = (codes >= low) & (codes <= high)
        y = (codes.clamp(low, high) - zero_point) * float(scale)
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_levels_of_other_bits",
    hint="the codes become integers before they are clamped, and far values wrap around",
)
def fake_quantize__integers_wrap(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    with torch.no_grad():
        codes = torch.round(x / float(scale)).to(torch.int32) + zero_point
        inside = (codes >= low) & (codes <= high)
        y = (codes.clamp(low, high) - zero_point) * float(scale)
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_levels_of_other_bits",
    hint="x + (y - x) far outside the range: a small y is lost in the rounding of a large x",
)
def fake_quantize__lost_beside_a_large_x(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    with torch.no_grad():
        codes = torch.round(x / float(scale)) + zero_point
        inside = (codes >= low) & (codes <= high)
        y = (codes.clamp(low, high) - zero_point) * float(scale)
    result = x + (y - x).detach()
    if result.requires_grad:
        result.register_hook(lambda gradient: gradient * inside)
    return result


@mistake(
    "fake_quantize",
    caught_by="test_gradient_passes_straight_through",
    hint="the range of the gradient forgets the zero point where the codes are signed",
)
def fake_quantize__zero_point_only_unsigned(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    shift = 0 if signed else zero_point
    with torch.no_grad():
        codes = torch.round(x / scale) + zero_point
        inside = (torch.round(x / scale) >= low - shift) & (torch.round(x / scale) <= high - shift)
        y = ((codes.clamp(low, high) - zero_point) * scale).to(x.dtype)
    return torch.where(inside, y + (x - x.detach()), y)


@mistake(
    "fake_quantize",
    caught_by="test_gradient_passes_straight_through",
    hint="the gradient goes through torch.clamp after the rounding: a value that was rounded to "
    "the first or the last code lies exactly on the border, where torch.clamp passes none",
)
def fake_quantize__clamps_what_was_rounded(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    require(not x.isnan().any(), "x must not hold NaN")
    codes = x / float(scale)
    codes = codes + (torch.round(codes) - codes).detach() + zero_point
    return (codes.clamp(low, high) - zero_point) * float(scale)


@mistake(
    "MovingAverageObserver",
    caught_by="test_observer_rejects_impossible_momentum",
    hint="a momentum of 1 (or of 0) is refused, but both belong to [0, 1]",
)
class MovingAverageObserver__refuses_the_ends(nn.Module):
    def __init__(self, momentum=0.9):
        super().__init__()
        require(0 <= momentum < 1, "momentum must lie in [0, 1]")
        self.momentum, self.low, self.high = momentum, None, None

    def forward(self, x):
        if self.training:
            low, high, keep = x.min().item(), x.max().item(), self.momentum
            self.low = low if self.low is None else keep * self.low + (1 - keep) * low
            self.high = high if self.high is None else keep * self.high + (1 - keep) * high
        return x
