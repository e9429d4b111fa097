"""Wrong answers that students really give, each with the check that must catch it."""

from __future__ import annotations

import torch

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- model_size_mib


@mistake("model_size_mib", caught_by="test_size_with_32_bits", hint="gives MB (10^6), not MiB")
def model_size_mib__megabytes(num_parameters, bits):
    if num_parameters < 0 or bits < 1:
        raise ValueError("num_parameters or bits")
    return num_parameters * bits / 8 / 1e6


@mistake("model_size_mib", caught_by="test_size_with_32_bits", hint="takes bits for bytes")
def model_size_mib__bits_as_bytes(num_parameters, bits):
    if num_parameters < 0 or bits < 1:
        raise ValueError("num_parameters or bits")
    return num_parameters * bits / 2**20


@mistake("model_size_mib", caught_by="test_size_with_other_bits", hint="rounds bits to whole bytes")
def model_size_mib__whole_bytes(num_parameters, bits):
    if num_parameters < 0 or bits < 1:
        raise ValueError("num_parameters or bits")
    return num_parameters * -(-bits // 8) / 2**20


@mistake("model_size_mib", caught_by="test_size_with_other_bits", hint="always counts 4 bytes")
def model_size_mib__always_float32(num_parameters, bits):
    if num_parameters < 0 or bits < 1:
        raise ValueError("num_parameters or bits")
    return num_parameters * 4 / 2**20


@mistake("model_size_mib", caught_by="test_size_is_not_rounded", hint="rounds the result")
def model_size_mib__rounded(num_parameters, bits):
    if num_parameters < 0 or bits < 1:
        raise ValueError("num_parameters or bits")
    return round(num_parameters * bits / 8 / 2**20, 2)


@mistake(
    "model_size_mib",
    caught_by="test_size_rejects_impossible_arguments",
    hint="accepts a negative number of parameters",
)
def model_size_mib__accepts_everything(num_parameters, bits):
    return num_parameters * bits / 8 / 2**20


# ---------------------------------------------------------------- symmetric_scale


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale",
    hint="divides by 2^(b-1): the largest signed code is one less",
)
def symmetric_scale__off_by_one(x, bits):
    check_bits(bits)
    check_numbers(x)
    largest = x.abs().max().item()
    return largest / 2 ** (bits - 1) if largest > 0 else 1.0


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale",
    hint="divides by 2^b - 1, the largest unsigned code",
)
def symmetric_scale__unsigned_codes(x, bits):
    check_bits(bits)
    check_numbers(x)
    largest = x.abs().max().item()
    return largest / (2**bits - 1) if largest > 0 else 1.0


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale_counts_both_signs",
    hint="looks at the largest value, not the largest magnitude",
)
def symmetric_scale__signed_max(x, bits):
    check_bits(bits)
    check_numbers(x)
    largest = x.max().item()
    return largest / (2 ** (bits - 1) - 1) if largest != 0 else 1.0


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale_of_zeros",
    hint="gives the scale 0 for an all-zero tensor",
)
def symmetric_scale__zero_scale(x, bits):
    check_bits(bits)
    check_numbers(x)
    return x.abs().max().item() / (2 ** (bits - 1) - 1)


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale_is_a_python_float",
    hint="returns a tensor instead of a Python float",
)
def symmetric_scale__a_tensor(x, bits):
    check_bits(bits)
    check_numbers(x)
    largest = x.detach().abs().max()
    return largest / (2 ** (bits - 1) - 1) if largest > 0 else torch.tensor(1.0)


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale_at_every_width",
    hint="has 127 built in, whatever the bits are",
)
def symmetric_scale__always_8_bits(x, bits):
    check_bits(bits)
    check_numbers(x)
    largest = x.abs().max().item()
    return largest / (7 if bits == 4 else 127) if largest > 0 else 1.0


@mistake(
    "symmetric_scale",
    caught_by="test_symmetric_scale",
    hint="takes half of max - min, not the largest magnitude",
)
def symmetric_scale__half_range(x, bits):
    check_bits(bits)
    check_numbers(x)
    half = (x.max() - x.min()).item() / 2
    return half / (2 ** (bits - 1) - 1) if half > 0 else 1.0


# ---------------------------------------------------------------- asymmetric_scale_zero_point


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_asymmetric_of_positive_data",
    hint="does not extend the range to hold 0",
)
def asymmetric_scale_zero_point__range_without_zero(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = x.min().item(), x.max().item()
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_asymmetric_of_positive_data",
    hint="clamps the zero point but leaves the range without 0",
)
def asymmetric_scale_zero_point__only_clamped(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = x.min().item(), x.max().item()
    scale = (high - low) / (2**bits - 1) or 1.0
    return scale, min(max(round(-low / scale), 0), 2**bits - 1)


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_asymmetric_of_mixed_signs",
    hint="divides by 2^b: between 2^b codes lie 2^b - 1 steps",
)
def asymmetric_scale_zero_point__off_by_one(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / 2**bits
    return scale, min(round(-low / scale), 2**bits - 1)


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_zero_point_is_rounded",
    hint="cuts the zero point with int() instead of rounding it",
)
def asymmetric_scale_zero_point__cut(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, int(-low / scale)


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_asymmetric_of_mixed_signs",
    hint="gives the zero point of signed codes",
)
def asymmetric_scale_zero_point__signed_codes(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale) - 2 ** (bits - 1)


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_asymmetric_of_zeros",
    hint="divides by zero for an all-zero tensor",
)
def asymmetric_scale_zero_point__zero_scale(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


@mistake(
    "asymmetric_scale_zero_point",
    caught_by="test_asymmetric_of_mixed_signs",
    hint="has the sign of the zero point wrong",
)
def asymmetric_scale_zero_point__wrong_sign(x, bits):
    check_bits(bits)
    check_numbers(x)
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(low / scale)


# ---------------------------------------------------------------- symmetric_scale_per_channel


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_of_a_linear_layer",
    hint="takes the scales along the wrong axis",
)
def symmetric_scale_per_channel__wrong_axis(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    largest = weight.detach().abs().amax(dim=axis).flatten()
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_along_other_axes",
    hint="ignores the axis and always takes the first one",
)
def symmetric_scale_per_channel__ignores_axis(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    largest = weight.detach().abs().flatten(1).amax(dim=1)
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scale_of_a_dead_channel",
    hint="gives a dead channel the scale 0",
)
def symmetric_scale_per_channel__dead_channel_zero(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    rows = weight.detach().abs().movedim(axis, 0).flatten(1)
    return rows.amax(dim=1) / (2 ** (bits - 1) - 1)


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_of_a_linear_layer",
    hint="gives every channel the scale of the whole tensor",
)
def symmetric_scale_per_channel__one_for_all(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    scale = weight.detach().abs().max() / (2 ** (bits - 1) - 1)
    return scale.expand(weight.shape[axis]).clone()


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_of_negative_channels",
    hint="looks at the largest value of a channel, not its largest magnitude",
)
def symmetric_scale_per_channel__signed_max(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    largest = weight.detach().movedim(axis, 0).flatten(1).amax(dim=1)
    return torch.where(largest != 0, largest / (2 ** (bits - 1) - 1), 1.0)


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_of_a_linear_layer",
    hint="divides by 2^(b-1): the largest signed code is one less",
)
def symmetric_scale_per_channel__off_by_one(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    largest = weight.detach().abs().movedim(axis, 0).flatten(1).amax(dim=1)
    return torch.where(largest > 0, largest / 2 ** (bits - 1), 1.0)


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_of_a_conv_layer",
    hint="keeps the other dimensions: the shape must be (C,)",
)
def symmetric_scale_per_channel__keeps_dimensions(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    if weight.dim() == 2:
        largest = weight.detach().abs().amax(dim=1 - axis)
    else:
        others = [d for d in range(weight.dim()) if d != axis]
        largest = weight.detach().abs().amax(dim=others, keepdim=True)
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0)


@mistake(
    "symmetric_scale_per_channel",
    caught_by="test_scales_at_every_width",
    hint="takes a channel of small weights for a dead one: only all zeros are dead",
)
def symmetric_scale_per_channel__small_is_dead(weight, bits, axis=0):
    check_bits(bits)
    check_numbers(weight)
    largest = weight.detach().abs().movedim(axis, 0).flatten(1).amax(dim=1)
    return torch.where(largest > 1e-6, largest / (2 ** (bits - 1) - 1), 1.0)
