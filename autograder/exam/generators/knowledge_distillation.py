"""Fresh numbers for knowledge distillation; the keys come from the reference solutions."""

from __future__ import annotations

import math
from random import Random

import torch
from torch import Tensor

from autograder.exam.generators import Values, fixed, generator, show, solutions, summed

TOPIC = "knowledge_distillation"


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _softmax(logits: list[float], temperature: float) -> list[float]:
    found = solutions(TOPIC).softmax_with_temperature(_tensor(logits), temperature)
    return [float(share) for share in found]


@generator
def softmax_three(rng: Random) -> Values:
    """Softmax with temperature of three logits: one probability."""
    logits = [float(z) for z in rng.sample(range(-2, 7), 3)]
    temperature = rng.choice([2, 3, 4, 5])
    pick = rng.randrange(3)
    shares = _softmax(logits, temperature)
    scaled = [z / temperature for z in logits]
    powers = [math.exp(z) for z in scaled]
    hot = [math.exp(z * temperature) for z in logits]
    return {
        "logits": logits,
        "temperature": temperature,
        "class": pick + 1,
        "scaled": [round(z, 4) for z in scaled],
        "powers": summed(powers, 3),
        "power": fixed(powers[pick], 3),
        "total": fixed(sum(powers), 3),
        "key": shares[pick],
        "key_shown": fixed(shares[pick], 4),
        "plain": _softmax(logits, 1.0)[pick],
        "multiplied": hot[pick] / sum(hot),
        "not_exp": abs(scaled[pick]) / sum(map(abs, scaled)),
    }


@generator
def softmax_two(rng: Random) -> Values:
    """Probability of the first of two classes."""
    difference, temperature = rng.randint(1, 12), rng.choice([1, 2, 3, 4, 5, 8, 10])
    second = rng.randint(-3, 3)
    scaled = difference / temperature
    if scaled > 5:
        return None
    key = _softmax([float(second + difference), float(second)], temperature)[0]
    return {
        "first": second + difference,
        "second": second,
        "temperature": temperature,
        "difference": difference,
        "scaled": show(scaled),
        "exponential": fixed(math.exp(-scaled), 4),
        "key": key,
        "key_shown": fixed(key, 4),
        "other": 1 - key,
    }


@generator
def temperature_for_ratio(rng: Random) -> Values:
    """The temperature at which one class is a given number of times as probable as another."""
    temperature, ratio = rng.choice([2, 2.5, 3, 4, 5, 6, 8]), rng.choice([2, 3, 4, 5, 8, 10, 20])
    difference = round(temperature * math.log(ratio), 2)
    if difference > 12:
        return None
    second = rng.randint(-2, 2)
    key = difference / math.log(ratio)
    check = _softmax([second + difference, float(second)], key)
    if abs(check[0] / check[1] - ratio) > 1e-6:
        raise AssertionError("the reference disagrees with the derivation")
    return {
        "first": show(second + difference, 2),
        "second": second,
        "ratio": ratio,
        "log": fixed(math.log(ratio), 4),
        "difference": show(difference, 2),
        "key": key,
        "key_shown": show(key, 3),
        "divided": difference / ratio,
        "inverse": math.log(ratio) / difference,
    }


@generator
def smoothing_change(rng: Random) -> Values:
    """How much the largest probability falls when the temperature rises."""
    logits = sorted((float(z) for z in rng.sample(range(0, 9), 3)), reverse=True)
    temperature = rng.choice([2, 4, 5])
    sharp, smooth = _softmax(logits, 1.0), _softmax(logits, temperature)
    key = sharp[0] - smooth[0]
    if key < 0.05:
        return None
    return {
        "logits": logits,
        "temperature": temperature,
        "sharp": fixed(sharp[0], 4),
        "smooth": fixed(smooth[0], 4),
        "smooth_value": smooth[0],
        "key": key,
        "key_shown": fixed(key, 4),
    }


@generator
def similarity_entry(rng: Random) -> Values:
    """Mean soft label of one true class: one entry of the similarity matrix."""
    shares = []
    for _ in range(5):
        first = rng.randint(40, 80)
        second = rng.randint(5, 95 - first)
        shares.append([first / 100, second / 100, (100 - first - second) / 100])
    labels = [0, 0, 0, 1, 1]
    rng.shuffle(labels)
    found = solutions(TOPIC).class_similarity(_tensor(shares), torch.tensor(labels), 3)
    picked = [row[1] for row, label in zip(shares, labels, strict=True) if label == 0]
    rows = "; ".join(
        f"{['cat', 'dog', 'fox'][label]}: ({', '.join(show(s, 2) for s in row)})"
        for row, label in zip(shares, labels, strict=True)
    )
    return {
        "rows": rows,
        "picked": summed(picked, 2),
        "key": float(found[0, 1]),
        "key_shown": fixed(float(found[0, 1]), 4),
        "transposed": float(found[1, 0]),
        "all_images": sum(row[1] for row in shares) / 5,
    }


@generator
def soft_cross_entropy(rng: Random) -> Values:
    """Loss against a true label: minus the logarithm of its probability."""
    logits = [float(z) for z in rng.sample(range(-1, 5), 3)]
    label = rng.randrange(3)
    zero = _tensor([[0.0, 0.0, 0.0]])
    loss = solutions(TOPIC).distillation_loss(
        _tensor([logits]), zero, torch.tensor([label]), 1.0, 1.0
    )
    share = _softmax(logits, 1.0)[label]
    return {
        "logits": logits,
        "class": label + 1,
        "share": fixed(share, 4),
        "share_value": share,
        "key": float(loss),
        "key_shown": fixed(float(loss), 4),
        "base_ten": -math.log10(share),
        "logit": logits[label],
    }


@generator
def kl_divergence(rng: Random) -> Values:
    """KL(teacher || student) of two given distributions over three classes."""
    teacher = _shares(rng)
    student = _shares(rng)
    loss = solutions(TOPIC).distillation_loss(
        _tensor([student]).log(), _tensor([teacher]).log(), torch.tensor([0]), 1.0, 0.0
    )
    reverse = sum(q * math.log(q / p) for p, q in zip(teacher, student, strict=True))
    terms = [p * math.log(p / q) for p, q in zip(teacher, student, strict=True)]
    if float(loss) < 0.03:
        return None
    return {
        "teacher": teacher,
        "student": student,
        "terms": summed(terms, 4),
        "key": float(loss),
        "key_shown": fixed(float(loss), 4),
        "reverse": reverse,
        "mean": float(loss) / 3,
    }


def _shares(rng: Random) -> list[float]:
    first = rng.randint(4, 16)
    second = rng.randint(1, 19 - first)
    return [first / 20, second / 20, (20 - first - second) / 20]


@generator
def whole_distillation_loss(rng: Random) -> Values:
    """The whole distillation loss of one image with three classes."""
    student = [float(z) for z in rng.sample(range(-1, 5), 3)]
    teacher = [float(z) for z in rng.sample(range(-1, 7), 3)]
    label, temperature = rng.randrange(3), rng.choice([2, 3, 4])
    alpha = rng.choice([0.1, 0.3, 0.5, 0.7, 0.9])
    reference = solutions(TOPIC).distillation_loss

    def loss(share: float) -> float:
        arguments = _tensor([student]), _tensor([teacher]), torch.tensor([label])
        return float(reference(*arguments, temperature, share))

    hard, soft = loss(1.0), loss(0.0) / temperature**2
    if soft < 0.02:
        return None
    p, q = _softmax(teacher, temperature), _softmax(student, temperature)
    return {
        "student": student,
        "teacher": teacher,
        "class": label + 1,
        "temperature": temperature,
        "squared": temperature**2,
        "alpha": alpha,
        "rest": show(1 - alpha, 2),
        "p": ", ".join(fixed(share, 4) for share in p),
        "q": ", ".join(fixed(share, 4) for share in q),
        "hard": fixed(hard, 4),
        "soft": fixed(soft, 4),
        "key": loss(alpha),
        "key_shown": fixed(loss(alpha), 4),
        "no_square": alpha * hard + (1 - alpha) * soft,
        "swapped": loss(1 - alpha),
    }


@generator
def combine_losses(rng: Random) -> Values:
    """The two losses are given: put them together."""
    hard, soft = rng.randint(20, 200) / 100, rng.randint(2, 40) / 100
    temperature, alpha = rng.choice([2, 3, 4, 5]), rng.choice([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
    key = alpha * hard + (1 - alpha) * temperature**2 * soft
    return {
        "hard": show(hard, 2),
        "soft": show(soft, 2),
        "temperature": temperature,
        "squared": temperature**2,
        "alpha": alpha,
        "rest": show(1 - alpha, 2),
        "key": key,
        "key_shown": show(key, 4),
        "no_square": alpha * hard + (1 - alpha) * soft,
        "once": alpha * hard + (1 - alpha) * temperature * soft,
        "swapped": (1 - alpha) * hard + alpha * temperature**2 * soft,
    }


@generator
def soft_label_bars(rng: Random) -> Values:
    """A teacher's soft label as bars: which class is most like the top one."""
    names = rng.sample(["cat", "dog", "fox", "car", "ship", "plane", "horse", "truck"], 5)
    heights = sorted(rng.sample(range(2, 25), 4), reverse=True)
    shares = [100 - sum(heights), *heights]
    if shares[0] < 40 or shares[1] - shares[2] < 3:
        return None
    order = rng.sample(range(5), 5)
    return {
        "names": [names[n] for n in order],
        "heights": [shares[n] / 100 for n in order],
        "top": names[0],
        "second": names[1],
        "third": names[2],
        "last": names[4],
        "second_share": shares[1] / 100,
        "top_share": shares[0] / 100,
    }
