"""Fresh numbers for neuron pruning; the keys come from the topic's reference solutions."""

from __future__ import annotations

from random import Random

import torch

from autograder.exam.generators import Values, generator, grouped, matrix, show, solutions

TOPIC = "network_pruning"


@generator
def apoz_of_neuron(rng: Random) -> Values:
    """APoZ of one neuron, from activations after ReLU."""
    images, neurons = rng.choice([5, 8, 10]), 3
    rows = [
        [rng.choice([0, 0, 0, rng.randint(1, 29) / 10]) for _ in range(neurons)]
        for _ in range(images)
    ]
    found = solutions(TOPIC).apoz(torch.tensor(rows, dtype=torch.float64))
    neuron = rng.randrange(neurons)
    zeros = sum(row[neuron] == 0 for row in rows)
    if zeros in (0, images):
        return None
    first = rows[neuron]
    return {
        "matrix": matrix(rows),
        "images": images,
        "number": neuron + 1,
        "zeros": zeros,
        "key": round(float(found[neuron]), 6),
        "key_shown": show(float(found[neuron])),
        "active": round(1 - float(found[neuron]), 6),
        "row": first.count(0) / neurons,
    }


@generator
def apoz_before_relu(rng: Random) -> Values:
    """APoZ of a neuron whose values before ReLU are given."""
    count = rng.choice([5, 8, 10])
    values = [rng.choice([-1, -1, 1]) * rng.randint(1, 30) / 10 for _ in range(count)]
    values[rng.randrange(count)] = 0.0
    after = torch.tensor(values, dtype=torch.float64).relu().unsqueeze(1)
    key = round(float(solutions(TOPIC).apoz(after)[0]), 6)
    return {
        "values": values,
        "after": [max(value, 0.0) for value in values],
        "count": count,
        "zeros": round(key * count),
        "key": key,
        "key_shown": show(key),
        "literal": values.count(0) / count,
        "active": 1 - key,
    }


@generator
def apoz_of_channel(rng: Random) -> Values:
    """APoZ of a channel: over images and positions."""
    maps = [
        [[rng.choice([0, 0, rng.randint(1, 9)]) for _ in range(3)] for _ in range(2)]
        for _ in range(2)
    ]
    found = solutions(TOPIC).apoz(torch.tensor(maps, dtype=torch.float64).unsqueeze(1))
    key = round(float(found[0]), 6)
    zeros = sum(value == 0 for one in maps for row in one for value in row)
    return {
        "first": matrix(maps[0]),
        "second": matrix(maps[1]),
        "zeros": zeros,
        "key": key,
        "key_shown": show(key),
        "active": 1 - key,
        "first_only": sum(value == 0 for row in maps[0] for value in row) / 6,
    }


@generator
def neurons_kept(rng: Random) -> Values:
    """How many neurons a threshold on APoZ keeps; a value equal to it stays."""
    values = [rng.randint(20, 98) / 100 for _ in range(8)]
    threshold = rng.choice(values)
    kept = solutions(TOPIC).select_neurons(torch.tensor(values, dtype=torch.float64), threshold)
    return {
        "values": values,
        "threshold": show(threshold, 2),
        "kept": [values[int(n)] for n in kept],
        "key": len(kept),
        "pruned": len(values) - len(kept),
        "strict": sum(value < threshold for value in values),
    }


@generator
def linear_parameters_left(rng: Random) -> Values:
    """Parameters of two linear layers after neurons between them were removed."""
    a, b, c = rng.randint(4, 16) * 50, rng.randint(4, 10) * 50, rng.choice([10, 20, 100])
    keep = b - rng.randint(1, b // 25) * 10
    layer, following = torch.nn.Linear(a, b), torch.nn.Linear(b, c)
    small = solutions(TOPIC).remove_neurons(layer, following, torch.arange(keep))
    key = sum(p.numel() for part in small for p in part.parameters())
    return {
        "a": a,
        "b": b,
        "c": c,
        "removed": b - keep,
        "keep": keep,
        "first": grouped(a * keep + keep),
        "second": grouped(keep * c + c),
        "key": key,
        "key_shown": grouped(key),
        "first_only": a * keep + keep + b * c + c,
        "no_biases": a * keep + keep * c,
    }


@generator
def columns_after_flatten(rng: Random) -> Values:
    """Inputs that a linear layer loses when channels before flatten go."""
    channels, side, removed = (
        rng.choice([16, 20, 32, 50, 64]),
        rng.choice([4, 5, 7]),
        rng.randint(3, 12),
    )
    outputs = rng.choice([10, 50, 100, 500])
    key = removed * side * side * outputs
    return {
        "channels": channels,
        "side": side,
        "removed": removed,
        "outputs": outputs,
        "places": side * side,
        "columns": removed * side * side,
        "key": key,
        "key_shown": grouped(key),
        "no_space": removed * outputs,
        "one_side": removed * side * outputs,
    }


@generator
def trimming_rounds(rng: Random) -> Values:
    """Neurons left after several rounds that each remove a share of what is left."""
    start, percent = rng.choice([400, 500, 800, 1000]), rng.choice([10, 15, 20, 25])
    rounds = rng.choice([2, 3])
    left = [start]
    for _ in range(rounds):
        left.append(left[-1] - round(left[-1] * percent / 100))
    return {
        "start": start,
        "percent": percent,
        "rounds": rounds,
        "steps": " → ".join(map(str, left)),
        "key": left[-1],
        "at_once": start - rounds * round(start * percent / 100),
        "one_round": left[1],
    }
