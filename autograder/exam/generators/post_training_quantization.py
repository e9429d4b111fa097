"""Fresh numbers for post-training quantization; the keys come from the reference solutions."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from autograder.exam.generators import Values, fixed, generator, grouped, show, solutions, summed

TOPIC = "post_training_quantization"
MILLION = 10**6


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@generator
def size_of_model(rng: Random) -> Values:
    """MiB of a network with a number of bits for each parameter."""
    millions, bits = rng.randint(5, 140), rng.choice([4, 8, 16, 32])
    key = solutions(TOPIC).model_size_mib(millions * MILLION, bits)
    return {
        "millions": millions,
        "bits": bits,
        "bytes": show(bits / 8),
        "total": grouped(millions * MILLION * bits // 8),
        "key": key,
        "key_shown": fixed(key, 2),
        "bits_for_bytes": key * 8,
        "decimal": millions * bits / 8,
    }


@generator
def size_difference(rng: Random) -> Values:
    """MiB that are saved when parameters take fewer bits."""
    millions, bits = rng.randint(3, 120), rng.choice([2, 4, 8, 16])
    size = solutions(TOPIC).model_size_mib
    before, after = size(millions * MILLION, 32), size(millions * MILLION, bits)
    return {
        "millions": millions,
        "bits": bits,
        "before": fixed(before, 2),
        "after": fixed(after, 2),
        "after_value": after,
        "key": before - after,
        "key_shown": fixed(before - after, 2),
        "ratio": 32 / bits,
    }


@generator
def parameters_from_size(rng: Random) -> Values:
    """How many million parameters fit into a given number of MiB."""
    limit, bits = rng.choice([8, 10, 16, 20, 32, 50, 64, 100]), rng.choice([4, 8, 16, 32])
    key = limit * 2**20 * 8 / bits / MILLION
    back = solutions(TOPIC).model_size_mib(round(key * MILLION), bits)
    if abs(back - limit) > 1e-3:
        raise AssertionError("the reference disagrees")
    return {
        "limit": limit,
        "bits": bits,
        "total": grouped(limit * 2**20),
        "bytes": show(bits / 8),
        "key": key,
        "key_shown": fixed(key, 2),
        "eight_times_less": key / 8,
    }


def _values(rng: Random, count: int, low: int, high: int) -> list[float]:
    return [rng.randint(low, high) / 100 for _ in range(count)]


@generator
def symmetric_scale(rng: Random) -> Values:
    """Symmetric scale of a small tensor."""
    bits = rng.choice([3, 4, 4, 8])
    values = _values(rng, 5, -300, 300)
    largest = max(abs(value) for value in values)
    if largest == max(values) or largest < 0.5:
        return None
    top = 2 ** (bits - 1) - 1
    key = solutions(TOPIC).symmetric_scale(_tensor(values), bits)
    return {
        "values": values,
        "bits": bits,
        "top": top,
        "largest": show(largest, 2),
        "power": bits - 1,
        "key": key,
        "key_shown": fixed(key, 4),
        "signed_max": max(max(values), 0.01) / top,
        "off_by_one": largest / 2 ** (bits - 1),
        "asymmetric": (max([*values, 0.0]) - min(values)) / (2**bits - 1),
    }


@generator
def symmetric_codes(rng: Random) -> Values:
    """Codes of a small vector, symmetric."""
    bits = rng.choice([3, 4])
    values = _values(rng, 4, -200, 200)
    reference = solutions(TOPIC)
    scale = reference.symmetric_scale(_tensor(values), bits)
    quotients = [value / scale for value in values]
    if any(abs(abs(q) % 1 - 0.5) < 0.06 for q in quotients) or max(map(abs, values)) < 0.5:
        return None
    codes = reference.quantize(_tensor(values), scale, 0, bits, True)
    return {
        "values": values,
        "bits": bits,
        "top": 2 ** (bits - 1) - 1,
        "largest": show(max(map(abs, values)), 2),
        "scale": fixed(scale, 4),
        "quotients": ", ".join(fixed(q, 2) for q in quotients),
        "key": [int(code) for code in codes],
        "truncated": [int(q) for q in quotients],
    }


@generator
def quantization_error(rng: Random) -> Values:
    """How far a value is off after quantizing and dequantizing."""
    bits = rng.choice([3, 4])
    largest = rng.randint(8, 30) / 10
    value = rng.randint(-90, 90) / 100 * largest
    value = round(value, 2)
    reference = solutions(TOPIC)
    scale = reference.symmetric_scale(_tensor([largest]), bits)
    quotient = value / scale
    if abs(abs(quotient) % 1 - 0.5) < 0.06:
        return None
    code = int(reference.quantize(_tensor([value]), scale, 0, bits, True)[0])
    back = code * scale
    key = abs(back - value)
    if key < 0.02:
        return None
    return {
        "bits": bits,
        "largest": show(largest, 1),
        "value": show(value, 2),
        "top": 2 ** (bits - 1) - 1,
        "scale": fixed(scale, 4),
        "quotient": fixed(quotient, 3),
        "code": code,
        "back": fixed(back, 4),
        "key": key,
        "key_shown": fixed(key, 4),
        "half": scale / 2,
    }


def _range(rng: Random, bits: int) -> tuple[float, float] | None:
    """Draw a range whose zero point is clearly nearest to one code."""
    low, high = -rng.randint(2, 30) / 10, rng.randint(2, 60) / 10
    place = -low / ((high - low) / (2**bits - 1))
    return None if abs(place % 1 - 0.5) < 0.1 or abs(low) == high else (low, high)


@generator
def asymmetric_scale(rng: Random) -> Values:
    """Asymmetric scale of a range."""
    bits = rng.choice([3, 4, 8])
    ends = _range(rng, bits)
    if ends is None:
        return None
    low, high = ends
    key, _ = solutions(TOPIC).asymmetric_scale_zero_point(_tensor([low, high]), bits)
    return {
        "low": show(low, 1),
        "high": show(high, 1),
        "bits": bits,
        "steps": 2**bits - 1,
        "width": show(high - low, 1),
        "key": key,
        "key_shown": fixed(key, 4),
        "off_by_one": (high - low) / 2**bits,
        "symmetric": max(-low, high) / (2 ** (bits - 1) - 1),
        "high_only": high / (2**bits - 1),
    }


@generator
def zero_point(rng: Random) -> Values:
    """Asymmetric zero point of a range."""
    bits = rng.choice([3, 4, 5])
    ends = _range(rng, bits)
    if ends is None:
        return None
    low, high = ends
    reference = solutions(TOPIC)
    scale, key = reference.asymmetric_scale_zero_point(_tensor([low, high]), bits)
    return {
        "low": show(low, 1),
        "high": show(high, 1),
        "bits": bits,
        "steps": 2**bits - 1,
        "scale": fixed(scale, 4),
        "place": fixed(-low / scale, 3),
        "minus_low": show(-low, 1),
        "key": key,
        "sign": -key,
        "from_high": round(high / scale),
        "middle": 2 ** (bits - 1),
    }


@generator
def zero_point_positive(rng: Random) -> Values:
    """Asymmetric parameters of values that are all positive: the range is extended to zero."""
    bits = rng.choice([4, 8])
    low, high = rng.randint(2, 20) / 10, rng.randint(30, 90) / 10
    key, zero = solutions(TOPIC).asymmetric_scale_zero_point(_tensor([low, high]), bits)
    if zero != 0:
        raise AssertionError("the reference disagrees")
    return {
        "low": show(low, 1),
        "high": show(high, 1),
        "bits": bits,
        "steps": 2**bits - 1,
        "key": key,
        "key_shown": fixed(key, 4),
        "not_extended": (high - low) / (2**bits - 1),
    }


@generator
def asymmetric_codes(rng: Random) -> Values:
    """Codes of a small vector, asymmetric; one value saturates."""
    scale, zero = rng.choice([0.05, 0.1, 0.2, 0.25]), rng.randint(3, 9)
    top = 15
    inside = [
        round(scale * (rng.randint(0, top) - zero + rng.choice([0, 0.2, -0.3])), 3)
        for _ in range(3)
    ]
    beyond = round(scale * (top - zero + rng.randint(2, 6)), 3)
    values = [*inside, beyond]
    rng.shuffle(values)
    codes = solutions(TOPIC).quantize(_tensor(values), scale, zero, 4, False)
    unclamped = [round(value / scale) + zero for value in values]
    return {
        "values": values,
        "scale": scale,
        "zero": zero,
        "unclamped": unclamped,
        "key": [int(code) for code in codes],
        "no_zero_point": [min(max(round(value / scale), 0), 15) for value in values],
        "wrapped": [code % 16 for code in unclamped],
    }


@generator
def dequantized_value(rng: Random) -> Values:
    """What a code stands for."""
    scale, zero = rng.choice([0.01, 0.02, 0.05, 0.1, 0.25]), rng.randint(20, 200)
    code = rng.randint(0, 255)
    if abs(code - zero) < 5:
        return None
    found = solutions(TOPIC).dequantize(torch.tensor([code], dtype=torch.uint8), scale, zero)
    key = round(float(found[0]), 6)
    return {
        "scale": scale,
        "zero": zero,
        "code": code,
        "difference": code - zero,
        "key": key,
        "key_shown": show(key),
        "no_zero_point": scale * code,
        "added": scale * (code + zero),
    }


@generator
def saturated_value(rng: Random) -> Values:
    """A value beyond the codes, and what comes back: a choice."""
    scale = rng.choice([0.01, 0.02, 0.03, 0.04])
    over = rng.randint(20, 90)
    value = round(scale * (127 + over), 2)
    reference = solutions(TOPIC)
    code = reference.quantize(_tensor([value]), scale, 0, 8, True)
    back = float(reference.dequantize(code, scale, 0)[0])
    return {
        "value": fixed(value, 2),
        "scale": scale,
        "code": 127 + over,
        "key_shown": fixed(back, 2),
        "wrapped": fixed(scale * (127 + over - 256), 2),
        "wrapped_code": 127 + over - 256,
        "one_more": fixed(scale * 128, 2),
    }


@generator
def per_channel_scale(rng: Random) -> Values:
    """Scale of one output channel, and not of the whole tensor."""
    bits = rng.choice([4, 8])
    rows = [[rng.randint(-99, 99) / 100 for _ in range(3)] for _ in range(2)]
    rows[1] = [round(value * 4, 2) for value in rows[1]]
    top = 2 ** (bits - 1) - 1
    largest = max(map(abs, rows[0]))
    if largest >= max(map(abs, rows[1])) or largest < 0.3:
        return None
    found = solutions(TOPIC).symmetric_scale_per_channel(_tensor(rows), bits, 0)
    return {
        "first": rows[0],
        "second": rows[1],
        "bits": bits,
        "top": top,
        "largest": show(largest, 2),
        "key": float(found[0]),
        "key_shown": fixed(float(found[0]), 4),
        "whole": max(map(abs, rows[1])) / top,
        "column": max(abs(rows[0][0]), abs(rows[1][0])) / top,
    }


@generator
def integer_dot_product(rng: Random) -> Values:
    """The integer sum of a quantized linear layer, with the zero point of the input."""
    inputs = [rng.randint(0, 15) for _ in range(3)]
    weights = [rng.choice([-1, 1]) * rng.randint(1, 7) for _ in range(3)]
    zero, bias = rng.randint(2, 8), rng.randint(-20, 20)
    sums = solutions(TOPIC).integer_linear(
        torch.tensor([inputs], dtype=torch.uint8),
        zero,
        torch.tensor([weights], dtype=torch.int8),
        torch.tensor([bias], dtype=torch.int32),
        1.0,
        0,
    )
    terms = [w * (x - zero) for x, w in zip(inputs, weights, strict=True)]
    key = sum(terms) + bias
    # The reference saturates its result to uint8, so only sums inside can be compared.
    if not 0 < key < 256 or int(sums[0, 0]) != key:
        return None
    return {
        "inputs": inputs,
        "weights": weights,
        "zero": zero,
        "bias": bias,
        "shifted": [x - zero for x in inputs],
        "terms": summed(terms),
        "key": key,
        "no_zero_point": sum(w * x for x, w in zip(inputs, weights, strict=True)) + bias,
        "no_bias": sum(terms),
    }


@generator
def staircase(rng: Random) -> Values:
    """A quantizer as a staircase: its scale, and its number of levels."""
    bits, scale = rng.choice([2, 3, 3]), rng.choice([0.1, 0.2, 0.25, 0.4, 0.5, 0.8, 1.0, 1.5])
    shift = rng.choice([0, 0.0, -(2 ** (bits - 1)), -1, -2]) if bits == 3 else rng.choice([-2, -1])
    low = scale * shift
    high = low + scale * (2**bits - 1)
    return {
        "low": low,
        "high": high,
        "scale": scale,
        "bits": bits,
        "levels": 2**bits,
        "low_shown": show(low, 2),
        "high_shown": show(high, 2),
        "steps": 2**bits - 1,
        "width": show(high - low, 2),
        "by_levels": (high - low) / 2**bits,
    }
