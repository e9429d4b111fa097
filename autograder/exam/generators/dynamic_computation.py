"""Fresh numbers for dynamic computation; the keys come from the reference solutions."""

from __future__ import annotations

import math
from random import Random

import torch
from torch import Tensor

from autograder.exam.generators import Values, fixed, generator, grouped, show, solutions, summed

TOPIC = "dynamic_computation"


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _shares(rng: Random, classes: int) -> list[float]:
    """Draw probabilities in steps of 0.05, the largest first."""
    cuts = sorted(rng.sample(range(1, 20), classes - 1))
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, 20], strict=True)]
    return sorted((part / 20 for part in parts), reverse=True)


@generator
def expected_macs(rng: Random) -> Values:
    """Mean MACs of a sample with three exits."""
    macs = [rng.randint(1, 5), rng.randint(2, 8), rng.randint(4, 12)]
    first, second = rng.randint(4, 14) * 5, rng.randint(1, 5) * 5
    counts = [first, second, 100 - first - second]
    if counts[2] < 5:
        return None
    key = solutions(TOPIC).expected_macs(counts, [float(m) for m in macs])
    total = [macs[0], macs[0] + macs[1], sum(macs)]
    return {
        "m0": macs[0], "m1": macs[1], "m2": macs[2],
        "n0": counts[0], "n1": counts[1], "n2": counts[2],
        "t1": total[1], "t2": total[2],
        "key": key,
        "key_shown": show(key),
        "not_cumulated": sum(n * m for n, m in zip(counts, macs, strict=True)) / 100,
        "full": total[2],
        "plain_mean": sum(total) / 3,
    }  # fmt: skip


@generator
def macs_saved(rng: Random) -> Values:
    """Factor by which early exits lower the mean MACs."""
    early, full = rng.randint(2, 9) / 10, rng.randint(20, 60) / 10
    percent = rng.randint(4, 18) * 5
    counts, macs = [percent, 100 - percent], [early, full - early]
    mean = solutions(TOPIC).expected_macs(counts, macs)
    return {
        "early": show(early, 1),
        "full": show(full, 1),
        "percent": percent,
        "rest": 100 - percent,
        "mean": show(mean),
        "mean_value": mean,
        "key": full / mean,
        "key_shown": fixed(full / mean, 3),
        "times_early": full / early,
    }


@generator
def entropy_confidence(rng: Random) -> Values:
    """Confidence by entropy: 1 - H / log C."""
    classes = rng.choice([3, 4])
    shares = _shares(rng, classes)
    key = float(solutions(TOPIC).confidence(_tensor([shares]).log(), "entropy")[0])
    entropy = -sum(p * math.log(p) for p in shares)
    if key < 0.03:
        return None
    return {
        "shares": shares,
        "classes": classes,
        "terms": summed([-p * math.log(p) for p in shares], 4),
        "entropy": fixed(entropy, 4),
        "entropy_value": entropy,
        "log": fixed(math.log(classes), 4),
        "key": key,
        "key_shown": fixed(key, 4),
        "not_turned": 1 - key,
        "top": shares[0],
    }


@generator
def entropy_value(rng: Random) -> Values:
    """Entropy of a distribution, in nats."""
    shares = _shares(rng, 3)
    confidence = float(solutions(TOPIC).confidence(_tensor([shares]).log(), "entropy")[0])
    key = (1 - confidence) * math.log(3)
    return {
        "shares": shares,
        "terms": summed([-p * math.log(p) for p in shares], 4),
        "key": key,
        "key_shown": fixed(key, 4),
        "bits": key / math.log(2),
        "normalized": key / math.log(3),
    }


@generator
def top1_exit(rng: Random) -> Values:
    """At which exit a sample leaves, by its top-1 probability at three exits."""
    tops = sorted(rng.randint(35, 99) / 100 for _ in range(3))
    threshold = rng.choice([0.6, 0.7, 0.8, 0.9])
    if any(abs(top - threshold) < 0.01 for top in tops) or len(set(tops)) < 3:
        return None
    passed = [number for number, top in enumerate(tops) if top >= threshold]
    key = passed[0] if passed else 2
    rows = []
    for top in tops:
        second = round((1 - top) * rng.uniform(0.5, 0.8), 2)
        rows.append([top, second, round(1 - top - second, 2)])
    if any(max(row) != row[0] or min(row) <= 0 for row in rows):
        return None
    confidences = solutions(TOPIC).confidence(_tensor(rows).log(), "top1")
    if [round(float(c), 2) for c in confidences] != tops:
        raise AssertionError("the reference disagrees")
    return {
        "p0": f"({', '.join(map(str, rows[0]))})",
        "p1": f"({', '.join(map(str, rows[1]))})",
        "p2": f"({', '.join(map(str, rows[2]))})",
        "tops": tops,
        "threshold": threshold,
        "key": key,
        "next": key + 1,
        "reason": {
            "en": f"exit {key} is the first that reaches it"
            if passed
            else "no exit reaches it, and the last one always answers",
            "zh": f"出口 {key} 最先達到" if passed else "沒有出口達到，最後的出口一定回答",
        },
    }


@generator
def leaving_early(rng: Random) -> Values:
    """How many of eight samples leave at a threshold; equal counts as leaving."""
    values = [rng.randint(30, 99) / 100 for _ in range(8)]
    threshold = rng.choice(values)
    inside = [value for value in values if value >= threshold]
    if len(inside) == 8:
        return None
    return {
        "values": values,
        "threshold": show(threshold, 2),
        "inside": inside,
        "key": len(inside),
        "strict": sum(value > threshold for value in values),
        "stay": 8 - len(inside),
    }


@generator
def smallest_threshold(rng: Random) -> Values:
    """Smallest threshold at which those that leave are accurate enough."""
    values = sorted((n / 100 for n in rng.sample(range(40, 99), 6)), reverse=True)
    correct = [True, True, rng.random() < 0.7, True, rng.random() < 0.6, False]
    target = rng.choice([0.7, 0.75, 0.8])
    try:
        key = solutions(TOPIC).choose_threshold(_tensor(values), torch.tensor(correct), target)
    except ValueError:
        return None
    shares = [sum(correct[: n + 1]) / (n + 1) for n in range(6)]
    table = "; ".join(
        f"{value} ({'right' if good else 'wrong'})"
        for value, good in zip(values, correct, strict=True)
    )
    zh = table.replace("right", "對").replace("wrong", "錯")
    if key in (values[0], values[5]) or any(abs(share - target) < 1e-9 for share in shares):
        return None
    return {
        "table": {"en": table, "zh": zh},
        "target": target,
        "shares": ", ".join(fixed(share, 3) for share in shares),
        "key": key,
        "first": values[0],
        "last": values[5],
    }


@generator
def exit_loss(rng: Random) -> Values:
    """Weighted sum of the losses of three exits."""
    losses = [rng.randint(60, 200) / 100, rng.randint(40, 120) / 100, rng.randint(20, 90) / 100]
    weights = [rng.choice([0.1, 0.2, 0.3, 0.5]) for _ in range(2)] + [1.0]
    # Two classes with logits (a, 0) have the loss log(1 + exp(-a)) for the first class.
    logits = [_tensor([[-math.log(math.expm1(loss)), 0.0]]) for loss in losses]
    key = float(solutions(TOPIC).early_exit_loss(logits, torch.tensor([0]), weights))
    key = round(key, 6)
    return {
        "losses": losses,
        "weights": weights,
        "terms": " + ".join(
            rf"{show(w, 1)} \times {show(loss, 2)}" for w, loss in zip(weights, losses, strict=True)
        ),
        "key": key,
        "key_shown": show(key, 4),
        "plain": sum(losses),
        "mean": key / 3,
        "last_only": losses[2],
    }


@generator
def width_for_budget(rng: Random) -> Values:
    """The widest net within a budget of MACs."""
    full = rng.randint(20, 90) / 10
    widths = [0.25, 0.5, 0.75, 1.0]
    macs = {width: round(full * width**2 + 0.1, 2) for width in widths}
    budget = round(rng.uniform(macs[0.25] + 0.05, macs[1.0] - 0.05), 1)
    if any(abs(value - budget) < 0.06 for value in macs.values()) or budget < macs[0.25]:
        return None
    key = solutions(TOPIC).width_for_budget(macs, budget)
    place = widths.index(key)
    return {
        "m1": macs[0.25], "m2": macs[0.5], "m3": macs[0.75], "m4": macs[1.0],
        "budget": budget,
        "key": key,
        "cost": macs[key],
        "wider": widths[min(place + 1, 3)],
        "smallest": 0.25,
        "share": budget / macs[1.0],
    }  # fmt: skip


@generator
def slimmable_channels(rng: Random) -> Values:
    """Weights that a slimmable layer uses at a width."""
    inputs, outputs = rng.choice([8, 12, 16, 20, 30]), rng.choice([10, 16, 24, 32, 50])
    width = rng.choice([0.25, 0.5, 0.75])
    layer = solutions(TOPIC).SlimmableLinear(inputs, outputs)
    used_in, used_out = math.ceil(width * inputs), math.ceil(width * outputs)
    if layer(torch.zeros(1, used_in), width).shape[1] != used_out:
        raise AssertionError("the reference disagrees")
    return {
        "inputs": inputs,
        "outputs": outputs,
        "width": width,
        "used_in": used_in,
        "used_out": used_out,
        "key": used_in * used_out,
        "one_side": inputs * used_out,
        "full": inputs * outputs,
    }


@generator
def width_loss(rng: Random) -> Values:
    """Weighted loss over all widths."""
    losses = sorted((rng.randint(20, 150) / 100 for _ in range(3)), reverse=True)
    weights = rng.choice([[0.2, 0.3, 0.5], [0.25, 0.25, 0.5], [0.3, 0.3, 0.4], [0.1, 0.3, 0.6]])
    key = sum(w * loss for w, loss in zip(weights, losses, strict=True))
    return {
        "losses": losses,
        "weights": weights,
        "terms": " + ".join(
            rf"{show(w, 2)} \times {show(loss, 2)}" for w, loss in zip(weights, losses, strict=True)
        ),
        "key": key,
        "key_shown": show(key, 4),
        "mean": sum(losses) / 3,
        "widest": losses[2],
        "sum": sum(losses),
    }


@generator
def threshold_curve(rng: Random) -> Values:
    """Accuracy against the exit threshold; where it comes within half a point of the top."""
    thresholds = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    top = rng.randint(880, 930) / 10
    place = rng.randint(2, 5)
    ys = [
        round(top - 0.1 if n >= place else top - 0.9 - 0.7 * (place - 1 - n), 1) for n in range(7)
    ]
    return {
        "x": thresholds,
        "y": ys,
        "line": round(top - 0.5, 1),
        "top": top,
        "key": thresholds[place],
        "below": thresholds[place - 1],
        "largest": 0.99,
    }


@generator
def storage_with_exits(rng: Random) -> Values:
    """Parameters of a net with exit heads against separate nets."""
    backbone = rng.randint(20, 90) * 10
    heads = [rng.randint(2, 15) for _ in range(2)]
    small, middle = rng.randint(5, 15) * 10, rng.randint(16, 19) * 10
    return {
        "backbone": backbone,
        "h1": heads[0],
        "h2": heads[1],
        "small": small,
        "middle": middle,
        "dynamic": backbone + sum(heads),
        "separate": backbone + small + middle,
        "key": small + middle - sum(heads),
        "no_heads": small + middle,
        "shown": grouped(backbone),
    }
