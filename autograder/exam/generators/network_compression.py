"""Fresh numbers for the lecture's opening: sizes, delays, over-parameterisation."""

from __future__ import annotations

from random import Random

from autograder.exam.generators import Values, generator, grouped, show


@generator
def connections_left(rng: Random) -> Values:
    """Count the connections of a small fully connected net before and after pruning."""
    a, b, c = rng.randint(4, 12) * 5, rng.randint(3, 12) * 10, rng.choice([5, 10, 20])
    percent = rng.choice([50, 60, 70, 75, 80, 90])
    first, second = a * b, b * c
    total = first + second
    key = round(total * (100 - percent) / 100)
    return {
        "a": a,
        "b": b,
        "c": c,
        "percent": percent,
        "left": 100 - percent,
        "first": grouped(first),
        "second": grouped(second),
        "total": grouped(total),
        "key": key,
        "key_shown": grouped(key),
        "pruned": total - key,
        "neurons": round((a + b + c) * (100 - percent) / 100),
    }


@generator
def blind_distance(rng: Random) -> Values:
    """How far a car drives while it waits for the cloud, and for a model on board."""
    speed, cloud, edge = rng.randint(10, 24) * 5, rng.randint(30, 120) * 10, rng.randint(2, 9) * 10
    metres = speed / 3.6
    key = metres * (cloud - edge) / 1000
    return {
        "speed": speed,
        "cloud": cloud,
        "edge": edge,
        "metres": show(metres, 3),
        "difference": cloud - edge,
        "key": key,
        "key_shown": show(key, 2),
        "no_conversion": speed * (cloud - edge) / 1000,
        "cloud_only": metres * cloud / 1000,
    }


@generator
def parameters_per_image(rng: Random) -> Values:
    """Smallest hidden width at which a net has more parameters than training images."""
    inputs, classes = rng.choice([20, 30, 50, 64, 100]), rng.choice([2, 5, 10])
    images = rng.randint(10, 60) * 100
    per_neuron = inputs + 1 + classes
    key = (images - classes) // per_neuron + 1
    return {
        "inputs": inputs,
        "classes": classes,
        "images": grouped(images),
        "per_neuron": per_neuron,
        "quotient": show((images - classes) / per_neuron, 2),
        "key": key,
        "before": grouped(per_neuron * (key - 1) + classes),
        "after": grouped(per_neuron * key + classes),
        "no_output": images // (inputs + 1) + 1,
    }


@generator
def double_descent_curve(rng: Random) -> Values:
    """A test error that falls, peaks where parameters equal images, and falls again."""
    images = rng.choice([200, 300, 400, 500, 600, 800])
    ratios = [0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0, 10.0]
    first, end = rng.randint(28, 34), rng.randint(20, 26)
    errors = [44, 36, first, 52, rng.randint(76, 88), 48, 36, 29, end]
    errors = [e + rng.randint(-1, 1) if n not in (2, 4, 8) else e for n, e in enumerate(errors)]
    parameters = [round(ratio * images) for ratio in ratios]
    return {
        "x": parameters,
        "y": errors,
        "peak": parameters[4],
        "valley": parameters[2],
        "last": parameters[8],
        "peak_error": errors[4],
        "first": first,
        "end": end,
        "gain": first - end,
        "fall": errors[4] - end,
    }
