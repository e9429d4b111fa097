"""Fresh numbers for quantization-aware training; the keys come from the reference solutions."""

from __future__ import annotations

from random import Random

import torch

from autograder.exam.generators import Values, generator, show, solutions

TOPIC = "quantization_aware_training"


@generator
def fake_quantized(rng: Random) -> Values:
    """What fake quantization gives for one value inside the range."""
    bits, scale = rng.choice([3, 4]), rng.choice([0.1, 0.2, 0.25, 0.4, 0.5])
    top = 2 ** (bits - 1) - 1
    value = round(scale * rng.uniform(-top, top), 2)
    quotient = value / scale
    if abs(abs(quotient) % 1 - 0.5) < 0.08 or abs(quotient - round(quotient)) < 0.1:
        return None
    found = solutions(TOPIC).fake_quantize(
        torch.tensor([value], dtype=torch.float64), scale, 0, bits, True
    )
    key = round(float(found[0]), 6)
    return {
        "value": show(value, 2),
        "bits": bits,
        "low": -top - 1,
        "top": top,
        "scale": scale,
        "quotient": show(quotient, 3),
        "code": round(quotient),
        "key": key,
        "key_shown": show(key),
    }


@generator
def passing_gradients(rng: Random) -> Values:
    """Through how many of five values the straight-through estimator passes the gradient."""
    bits, scale = rng.choice([2, 3]), rng.choice([0.2, 0.25, 0.5, 1.0])
    low, high = -(2 ** (bits - 1)) * scale, (2 ** (bits - 1) - 1) * scale
    values = [round(scale * rng.uniform(-6, 6) * (0.5 if bits == 2 else 1), 2) for _ in range(5)]
    # Between the last level and half a step beyond, conventions differ.
    if any(low - scale < v < low + 0.01 or high - 0.01 < v < high + scale for v in values):
        return None
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    solutions(TOPIC).fake_quantize(x, scale, 0, bits, True).sum().backward()
    key = int((x.grad > 0.5).sum())
    if key in (0, 5):
        return None
    return {
        "values": values,
        "bits": bits,
        "first": -(2 ** (bits - 1)),
        "last": 2 ** (bits - 1) - 1,
        "scale": scale,
        "low": show(low, 2),
        "high": show(high, 2),
        "inside": [value for value in values if low <= value <= high],
        "key": key,
        "clipped": 5 - key,
    }


@generator
def moving_average(rng: Random) -> Values:
    """Upper end of a moving-average observer after three batches."""
    momentum = rng.choice([0.8, 0.9, 0.95])
    tops = [rng.randint(10, 90) / 10 for _ in range(3)]
    observer = solutions(TOPIC).MovingAverageObserver(momentum)
    observer.train()
    for top in tops:
        observer(torch.tensor([0.0, top], dtype=torch.float64))
    second = momentum * tops[0] + (1 - momentum) * tops[1]
    key = momentum * second + (1 - momentum) * tops[2]
    if abs(float(observer.high) - key) > 1e-4:
        raise AssertionError("the reference disagrees")
    swapped = (1 - momentum) * ((1 - momentum) * tops[0] + momentum * tops[1]) + momentum * tops[2]
    zero = momentum * (momentum * (1 - momentum) * tops[0] + (1 - momentum) * tops[1])
    return {
        "momentum": momentum,
        "rest": show(1 - momentum, 2),
        "a": show(tops[0], 1),
        "b": show(tops[1], 1),
        "c": show(tops[2], 1),
        "second": show(second),
        "key": key,
        "key_shown": show(key),
        "swapped": swapped,
        "from_zero": zero + (1 - momentum) * tops[2],
        "mean": sum(tops) / 3,
        "largest": max(tops),
    }


@generator
def small_steps(rng: Random) -> Values:
    """How many equal steps a float weight takes until its code changes."""
    scale = rng.choice([0.1, 0.2, 0.5])
    code, step = rng.randint(-2, 1), rng.choice([0.01, 0.02, 0.004])
    start = code * scale
    key = int((scale / 2) / step + 1e-9) + 1
    fake = solutions(TOPIC).fake_quantize

    def code_after(steps: int) -> int:
        weight = torch.tensor([start + steps * step], dtype=torch.float64)
        return round(float(fake(weight, scale, 0, 4, True)[0]) / scale)

    if code_after(key) != code + 1 or code_after(key - 2) != code:
        raise AssertionError("the reference disagrees")
    return {
        "scale": scale,
        "step": step,
        "start": show(start, 2),
        "half": show(scale / 2, 3),
        "next": show(start + scale, 2),
        "key": key,
        "whole_step": round(scale / step),
    }


@generator
def qat_gain(rng: Random) -> Values:
    """Accuracy against bits for PTQ and QAT: the gain at one number of bits."""
    bits = [2, 3, 4, 8]
    ptq = [rng.randint(15, 40), rng.randint(50, 66), rng.randint(68, 78), rng.randint(89, 91)]
    qat = [rng.randint(80, 85), rng.randint(85, 87), rng.randint(88, 90), rng.randint(90, 91)]
    pick = rng.randrange(3)
    return {
        "bits": bits,
        "curves": [ptq, qat],
        "pick": bits[pick],
        "ptq": ptq[pick],
        "qat": qat[pick],
        "key": qat[pick] - ptq[pick],
    }
