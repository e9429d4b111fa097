"""Wrong answers that students really give, each with the check that must catch it."""

from __future__ import annotations

import torch

from autograder.authoring.answers import mistake

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


@mistake(
    "integer_linear",
    caught_by="test_square_layers",
    hint="transposes the weight only where the shapes force it: a square one stays as it is",
)
def integer_linear__transposes_by_shape(x_q, x_zero_point, w_q, bias_q, multiplier, out_zero_point):
    shifted, weight = x_q.to(torch.int32) - x_zero_point, w_q.to(torch.int32)
    weight = weight if weight.shape[0] == shifted.shape[1] else weight.T
    codes = torch.round((shifted @ weight + bias_q).double() * multiplier) + out_zero_point
    limits = torch.iinfo(x_q.dtype)
    return codes.clamp(limits.min, limits.max).to(x_q.dtype)
