"""Wrong answers that students really give, each with the check that must catch it."""

from __future__ import annotations

import copy

import torch
from torch import nn

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


# ---------------------------------------------------------------- quantize


@mistake(
    "quantize",
    caught_by="test_codes_saturate",
    hint="casts before it clamps, so large values wrap around",
)
def quantize__wraps(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    codes = torch.round(x.detach() / scale) + zero_point
    kind = torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8
    return codes.to(torch.int64).to(kind).clamp(low, low + 2**bits - 1)


@mistake("quantize", caught_by="test_codes_inside_the_range", hint="cuts instead of rounding")
def quantize__cuts(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    codes = (torch.trunc(x.detach() / scale) + zero_point).clamp(low, low + 2**bits - 1)
    return codes.to(torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8)


@mistake(
    "quantize",
    caught_by="test_halves_go_to_the_even_code",
    hint="rounds halves up: use torch.round, which takes the even neighbour",
)
def quantize__half_up(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    codes = (torch.floor(x.detach() / scale + 0.5) + zero_point).clamp(low, low + 2**bits - 1)
    return codes.to(torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8)


@mistake(
    "quantize",
    caught_by="test_halves_go_to_the_even_code",
    hint="adds the zero point before rounding: with an odd one, halves go the other way",
)
def quantize__rounds_last(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    codes = torch.round(x.detach() / scale + zero_point).clamp(low, low + 2**bits - 1)
    return codes.to(torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8)


@mistake("quantize", caught_by="test_codes_inside_the_range", hint="returns floats, not codes")
def quantize__floats(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    return (torch.round(x.detach() / scale) + zero_point).clamp(low, low + 2**bits - 1)


@mistake(
    "quantize",
    caught_by="test_codes_at_every_width",
    hint="clamps to the range of 8 bits, whatever the bits are",
)
def quantize__always_8_bits(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low, high = (-128, 127) if signed else (0, 255)
    codes = (torch.round(x.detach() / scale) + zero_point).clamp(low, high)
    return codes.to(torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8)


@mistake(
    "quantize",
    caught_by="test_codes_saturate",
    hint="leaves out the lowest signed code, -2^(b-1)",
)
def quantize__narrow(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    codes = (torch.round(x.detach() / scale) + zero_point).clamp(-high if signed else 0, high)
    return codes.to(torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8)


@mistake(
    "quantize",
    caught_by="test_zero_point_shifts_the_codes",
    hint="clamps before it adds the zero point",
)
def quantize__clamps_first(x, scale, zero_point, bits, signed):
    check_bits(bits)
    check_numbers(x)
    low = -(2 ** (bits - 1)) if signed else 0
    codes = torch.round(x.detach() / scale).clamp(low, low + 2**bits - 1) + zero_point
    return codes.to(torch.int32 if bits > 8 else torch.int8 if signed else torch.uint8)


# ---------------------------------------------------------------- dequantize


@mistake(
    "dequantize",
    caught_by="test_subtraction_does_not_wrap",
    hint="subtracts in int8 or uint8, where the difference wraps around",
)
def dequantize__wraps(q, scale, zero_point):
    return ((q - zero_point) * scale).to(torch.float32)


@mistake("dequantize", caught_by="test_subtraction_does_not_wrap", hint="forgets the zero point")
def dequantize__no_zero_point(q, scale, zero_point):
    return (q * scale).to(torch.float32)


@mistake(
    "dequantize",
    caught_by="test_subtraction_does_not_wrap",
    hint="adds the zero point instead of subtracting it",
)
def dequantize__adds(q, scale, zero_point):
    return ((q.to(torch.int32) + zero_point) * scale).to(torch.float32)


@mistake(
    "dequantize",
    caught_by="test_subtraction_does_not_wrap",
    hint="subtracts the zero point after multiplying by the scale",
)
def dequantize__scale_first(q, scale, zero_point):
    return (q.to(torch.float32) * scale - zero_point).to(torch.float32)


@mistake("dequantize", caught_by="test_numbers_are_float32", hint="the result must be float32")
def dequantize__float64(q, scale, zero_point):
    return (q.to(torch.int32) - zero_point) * scale


# ---------------------------------------------------------------- fold_batch_norm


@mistake("fold_batch_norm", caught_by="test_eps_lies_under_the_root", hint="forgets eps")
def fold_batch_norm__no_eps(conv, bn):
    factor = 1 / torch.sqrt(bn.running_var)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_eps_lies_under_the_root",
    hint="adds eps to the root instead of under it",
)
def fold_batch_norm__eps_outside(conv, bn):
    factor = 1 / (torch.sqrt(bn.running_var) + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folds_a_conv_layer_with_bias",
    hint="drops the bias of the conv layer",
)
def fold_batch_norm__drops_conv_bias(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = -bn.running_mean * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folds_a_conv_layer_without_bias",
    hint="fails for a conv layer without bias",
)
def fold_batch_norm__needs_conv_bias(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = (conv.bias.detach() - bn.running_mean) * factor
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folds_without_affine",
    hint="fails for a normalisation with affine=False",
)
def fold_batch_norm__needs_affine(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps) * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter((bias - bn.running_mean) * factor + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_keeps_stride_padding_and_dilation",
    hint="loses stride, padding or dilation of the conv layer",
)
def fold_batch_norm__loses_settings(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size)
    folded.weight = nn.Parameter(conv.weight.detach() * factor.reshape(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return folded


@mistake(
    "fold_batch_norm",
    caught_by="test_folding_leaves_both_layers",
    hint="changes the conv layer that was passed in",
)
def fold_batch_norm__in_place(conv, bn):
    factor = torch.rsqrt(bn.running_var + bn.eps)
    factor = factor if bn.weight is None else factor * bn.weight.detach()
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    bias = (bias - bn.running_mean) * factor
    conv.weight.data.mul_(factor.reshape(-1, 1, 1, 1))
    conv.bias = nn.Parameter(bias if bn.bias is None else bias + bn.bias.detach())
    return conv


# ---------------------------------------------------------------- integer_linear


@mistake(
    "integer_linear",
    caught_by="test_accumulators_are_wide",
    hint="adds up in 16 bits, which overflow",
)
def integer_linear__int16(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    shifted = x_q.to(torch.int32) - x_zero_point
    total = (shifted @ w_q.to(torch.int32).T).to(torch.int16).to(torch.int32) + bias_q
    codes = torch.round(total.double() * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_input_zero_point_counts",
    hint="forgets the zero point of the input",
)
def integer_linear__no_zero_point(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = x_q.to(torch.int32) @ w_q.to(torch.int32).T + bias_q
    codes = torch.round(total.double() * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_input_zero_point_counts",
    hint="subtracts the zero point in the narrow type, where it wraps around",
)
def integer_linear__narrow_zero_point(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = (x_q - x_zero_point).to(torch.int32) @ w_q.to(torch.int32).T + bias_q
    codes = torch.round(total.double() * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_output_zero_point_and_saturation",
    hint="casts without saturating, so large outputs wrap around",
)
def integer_linear__wraps(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = (x_q.to(torch.int32) - x_zero_point) @ w_q.to(torch.int32).T + bias_q
    codes = torch.round(total.double() * multiplier) + out_zero_point
    return codes.to(torch.int64).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_layer_rounds_half_to_even",
    hint="cuts the product with the multiplier instead of rounding it",
)
def integer_linear__cuts(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = (x_q.to(torch.int32) - x_zero_point) @ w_q.to(torch.int32).T + bias_q
    codes = (total.double() * multiplier).to(torch.int32) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_layer_has_a_bias",
    hint="adds the bias after the multiplier: it is in units of the accumulator",
)
def integer_linear__bias_last(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = (x_q.to(torch.int32) - x_zero_point) @ w_q.to(torch.int32).T
    codes = torch.round(total.double() * multiplier) + bias_q + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_accumulators_are_exact",
    hint="adds up in float32, which is not exact above 2^24",
)
def integer_linear__float32(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = (x_q.float() - x_zero_point) @ w_q.float().T + bias_q
    codes = torch.round(total * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)


@mistake(
    "integer_linear",
    caught_by="test_layer_keeps_dtype_and_arguments",
    hint="always returns uint8: the result has the dtype of x_q",
)
def integer_linear__always_uint8(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    total = (x_q.to(torch.int32) - x_zero_point) @ w_q.to(torch.int32).T + bias_q
    codes = torch.round(total.double() * multiplier) + out_zero_point
    return codes.clamp(0, 255).to(torch.uint8)


# ---------------------------------------------------------------- calibrate
# Loaders cannot be replayed, so the checks name these mistakes themselves.


@mistake(
    "calibrate",
    caught_by="test_minmax_of_all_batches",
    hint="looks at the first batch only",
    replay=False,
)
def calibrate__first_batch(model, loader, method="minmax", percentile=99.9, bits=8):
    observed, ranges = copy.deepcopy(model).eval(), {}
    for name, layer in layers_of(observed).items():

        def note(_layer, inputs, name=name):
            ranges[name] = (inputs[0].min().item(), inputs[0].max().item())

        layer.register_forward_pre_hook(note)
    with torch.no_grad():
        observed(next(iter(loader))[0])
    return ranges


@mistake(
    "calibrate",
    caught_by="test_minmax_of_all_batches",
    hint="keeps the range of the last batch only",
    replay=False,
)
def calibrate__last_batch(model, loader, method="minmax", percentile=99.9, bits=8):
    observed, ranges = copy.deepcopy(model).eval(), {}
    for name, layer in layers_of(observed).items():

        def note(_layer, inputs, name=name):
            ranges[name] = (inputs[0].min().item(), inputs[0].max().item())

        layer.register_forward_pre_hook(note)
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    return ranges


@mistake(
    "calibrate",
    caught_by="test_minmax_of_one_batch",
    hint="records the outputs of the layers, not their inputs",
    replay=False,
)
def calibrate__outputs(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_hook(
            lambda _layer, _inputs, output, name=name: values[name].append(output.flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_no_hook_is_left_behind",
    hint="leaves its hooks on the model",
    replay=False,
)
def calibrate__hooks_left(model, loader, method="minmax", percentile=99.9, bits=8):
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    values = {name: [] for name in layers_of(model)}
    for name, layer in layers_of(model).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            model(images)
    for module, training in modes:
        module.training = training
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_calibrates_in_eval_mode",
    hint="runs the model in the mode in which it came, not in eval mode",
    replay=False,
)
def calibrate__train_mode(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model)
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_calibrate_leaves_the_model",
    hint="leaves the caller's model in another mode",
    replay=False,
)
def calibrate__mode_changed(model, loader, method="minmax", percentile=99.9, bits=8):
    model.eval()
    values = {name: [] for name in layers_of(model)}
    handles = [
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
        for name, layer in layers_of(model).items()
    ]
    with torch.no_grad():
        for images, _labels in loader:
            model(images)
    for handle in handles:
        handle.remove()
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_percentile_cuts_both_sides",
    hint="cuts the upper side only",
    replay=False,
)
def calibrate__one_sided(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    top = percentile if method == "percentile" else 100
    joined = {name: torch.cat(parts).numpy() for name, parts in values.items()}
    return {name: (float(x.min()), float(np.percentile(x, top))) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_mse_clips_what_is_not_worth_it",
    hint="does min-max for every method",
    replay=False,
)
def calibrate__always_minmax(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    return {name: (x.min().item(), x.max().item()) for name, x in joined.items()}


@mistake(
    "calibrate",
    caught_by="test_percentile_is_over_all_batches",
    hint="averages over the batches instead of joining them",
    replay=False,
)
def calibrate__mean_of_batches(model, loader, method="minmax", percentile=99.9, bits=8):
    observed = copy.deepcopy(model).eval()
    values = {name: [] for name in layers_of(observed)}
    for name, layer in layers_of(observed).items():
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: values[name].append(inputs[0].flatten().numpy())
        )
    with torch.no_grad():
        for images, _labels in loader:
            observed(images)
    top = percentile if method == "percentile" else 100
    ends = [100 - top, top]
    return {
        name: tuple(np.mean([np.percentile(x, ends) for x in parts], axis=0).tolist())
        for name, parts in values.items()
    }


# ---------------------------------------------------------------- quantize_model


@mistake(
    "quantize_model",
    caught_by="test_every_conv_layers_input_is_quantized",
    hint="quantizes the weights but leaves the activations in float",
    replay=False,
)
def quantize_model__activations_in_float(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    for layer in layers_of(quantized).values():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
    return quantized


@mistake(
    "quantize_model",
    caught_by="test_first_layers_input_is_quantized",
    hint="leaves the first layer's input, the image, in float",
    replay=False,
)
def quantize_model__first_layer_forgotten(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        if name == next(iter(ranges)):
            continue
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_last_layers_input_is_quantized",
    hint="leaves the last layer's input in float",
    replay=False,
)
def quantize_model__last_layer_forgotten(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        if name == list(ranges)[-1]:
            continue
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_weights_of_every_layer",
    hint="leaves the weights of the first or the last layer in float",
    replay=False,
)
def quantize_model__first_and_last_weights_in_float(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        if name not in (next(iter(ranges)), list(ranges)[-1]):
            layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_weights_per_tensor",
    hint="ignores per_channel=False",
    replay=False,
)
def quantize_model__always_per_channel(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale_per_channel(layer.weight, weight_bits)
        scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_weights_per_channel",
    hint="ignores per_channel=True",
    replay=False,
)
def quantize_model__always_per_tensor(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_all_batches_calibrate",
    hint="calibrates with the first batch only",
    replay=False,
)
def quantize_model__first_batch_only(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, [next(iter(loader))])
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_biases_stay_in_float",
    hint="quantizes the biases: they stay in float",
    replay=False,
)
def quantize_model__biases_quantized(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        if layer.bias is not None:
            bias_scale = symmetric_scale(layer.bias, weight_bits)
            bias_codes = quantize(layer.bias, bias_scale, 0, weight_bits, True)
            layer.bias.data = dequantize(bias_codes, bias_scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_eight_bits_change_little",
    hint="changes the model that was passed in",
    replay=False,
)
def quantize_model__changes_the_callers_model(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = model.eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_levels_of_the_activations",
    hint="uses weight_bits for the activations",
    replay=False,
)
def quantize_model__bits_swapped(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, weight_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, weight_bits))
    return quantized.eval()


@mistake(
    "quantize_model",
    caught_by="test_result_is_a_copy_in_eval_mode",
    hint="returns the model in train mode",
    replay=False,
)
def quantize_model__left_in_train_mode(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model)
    ranges = calibrate(quantized, loader)
    for name, layer in layers_of(quantized).items():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        ends = torch.tensor(ranges[name])
        scale, zero = asymmetric_scale_zero_point(ends, activation_bits)
        quantized.set_submodule(name, QuantizedLayer(layer, scale, zero, activation_bits))
    return quantized.train()


@mistake(
    "quantize_model",
    caught_by="test_ranges_are_static",
    hint="measures the range of every input anew (dynamic): ranges are fixed by calibration",
    replay=False,
)
def quantize_model__dynamic_ranges(
    model, loader, weight_bits, activation_bits, per_channel, method="minmax"
):
    check_bits(weight_bits)
    check_bits(activation_bits)
    quantized = copy.deepcopy(model).eval()

    def quantize_input(_layer, inputs):
        scale, zero = asymmetric_scale_zero_point(inputs[0], activation_bits)
        codes = quantize(inputs[0], scale, zero, activation_bits, False)
        return (dequantize(codes, scale, zero),)

    for layer in layers_of(quantized).values():
        scale = symmetric_scale(layer.weight, weight_bits)
        if per_channel:
            scale = symmetric_scale_per_channel(layer.weight, weight_bits)
            scale = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        codes = quantize(layer.weight, scale, 0, weight_bits, True)
        layer.weight.data = dequantize(codes, scale, 0)
        layer.register_forward_pre_hook(quantize_input)
    return quantized
