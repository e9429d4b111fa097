"""Fresh numbers for weight clustering; the keys come from the reference solutions."""

from __future__ import annotations

import math
from random import Random

import torch
from torch import Tensor

from autograder.exam.generators import Values, fixed, generator, grouped, show, solutions, summed

TOPIC = "weight_clustering"


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@generator
def codebook_ratio(rng: Random) -> Values:
    """Compression ratio with codes and codebook."""
    count = rng.choice([500, 1000, 2000, 5000, 10000, 20000])
    k = rng.choice([3, 4, 5, 6, 8, 10, 12, 16, 20, 32, 50, 64])
    bits = math.ceil(math.log2(k))
    key = solutions(TOPIC).compression_ratio(count, k)
    after = count * bits + 32 * k
    return {
        "count": grouped(count),
        "k": k,
        "bits": bits,
        "before": grouped(32 * count),
        "codes": grouped(count * bits),
        "book": grouped(32 * k),
        "after": grouped(after),
        "key": key,
        "key_shown": fixed(key, 3),
        "no_codebook": 32 / bits,
        "fractional": 32 * count / (count * math.log2(k) + 32 * k) if 2**bits != k else 32.0,
        "k_bits": 32 * count / (count * k + 32 * k),
    }


@generator
def bytes_clustered(rng: Random) -> Values:
    """Bytes of a clustered layer: packed codes and a float32 codebook."""
    count, bits = rng.randint(10, 90) * 800, rng.choice([2, 3, 4, 5, 6])
    k = 2**bits
    packed = solutions(TOPIC).pack_codes(torch.zeros(count, dtype=torch.int64), bits)
    key = packed.numel() + 4 * k
    return {
        "count": grouped(count),
        "k": k,
        "bits": bits,
        "code_bytes": grouped(packed.numel()),
        "book_bytes": 4 * k,
        "key": key,
        "key_shown": grouped(key),
        "one_byte": count + 4 * k,
        "no_codebook": packed.numel(),
        "dense": grouped(4 * count),
    }


@generator
def bits_for_clusters(rng: Random) -> Values:
    """Bits of a code for k clusters."""
    k = rng.choice([n for n in range(3, 200) if n & (n - 1)] + [4, 8, 16, 32, 64, 128])
    key = math.ceil(math.log2(k))
    ratio = solutions(TOPIC).compression_ratio(10**6, k)
    if round((32 * 10**6 / ratio - 32 * k) / 10**6) != key:
        raise AssertionError("the reference disagrees")
    return {
        "k": k,
        "key": key,
        "fewer": key - 1,
        "power": 2**key,
        "less_power": 2 ** (key - 1),
    }


@generator
def kmeans_step(rng: Random) -> Values:
    """New centroids after one step of k-means in one dimension."""
    values = sorted(rng.sample(range(-20, 40), 6))
    start = [float(values[0] - rng.randint(0, 3)), float(values[-1] + rng.randint(0, 3))]
    middle = sum(start) / 2
    groups = [[v for v in values if v < middle], [v for v in values if v > middle]]
    if any(v == middle for v in values) or min(map(len, groups)) < 2:
        return None
    codes = torch.tensor([0] * len(groups[0]) + [1] * len(groups[1]))
    gradient = solutions(TOPIC).centroid_gradient(_tensor([float(v) for v in values]), codes, 2)
    pick = rng.randrange(2)
    # The sum over a cluster is what the reference adds up for a gradient as well.
    key = float(gradient[pick]) / len(groups[pick])
    return {
        "values": values,
        "first": start[0],
        "second": start[1],
        "middle": show(middle, 1),
        "number": pick + 1,
        "group": groups[pick],
        "size": len(groups[pick]),
        "sum": summed([float(v) for v in groups[pick]]),
        "key": key,
        "key_shown": show(key, 3),
        "mean_of_all": sum(values) / 6,
        "midrange": (groups[pick][0] + groups[pick][-1]) / 2,
    }


@generator
def kmeans_converged(rng: Random) -> Values:
    """The larger centroid when k-means with k = 2 has converged."""
    low = sorted(rng.sample(range(0, 12), 3))
    high = sorted(rng.sample(range(25, 45), 3))
    values = low + high
    rng.shuffle(values)
    codebook, _ = solutions(TOPIC).kmeans_1d(_tensor([float(v) for v in values]), 2)
    return {
        "values": values,
        "low": low,
        "high": high,
        "key": float(codebook[1]),
        "key_shown": show(float(codebook[1]), 3),
        "small": float(codebook[0]),
        "small_shown": show(float(codebook[0]), 3),
        "largest": high[-1],
    }


@generator
def nearest_codes(rng: Random) -> Values:
    """Codes of five weights for a given codebook."""
    codebook = sorted(rng.sample(range(-9, 10), 4))
    book = [value / 10 for value in codebook]
    weights = [rng.randint(-110, 110) / 100 for _ in range(5)]
    distances = [sorted(abs(w - c) for c in book) for w in weights]
    if any(d[1] - d[0] < 0.03 for d in distances):
        return None
    key = [min(range(4), key=lambda n: abs(w - book[n])) for w in weights]
    loss = solutions(TOPIC).cluster_loss(_tensor(weights), _tensor(book))
    if abs(float(loss) - sum((w - book[n]) ** 2 for w, n in zip(weights, key, strict=True))) > 1e-9:
        raise AssertionError("the reference disagrees")
    return {
        "book": book,
        "weights": weights,
        "shared": [book[n] for n in key],
        "key": key,
        "from_one": [n + 1 for n in key],
    }


@generator
def cluster_loss(rng: Random) -> Values:
    """L_cluster of four weights."""
    book = [value / 10 for value in sorted(rng.sample(range(-8, 9), 2))]
    weights = [rng.randint(-90, 90) / 100 for _ in range(4)]
    if any(abs(abs(w - book[0]) - abs(w - book[1])) < 0.03 for w in weights):
        return None
    key = float(solutions(TOPIC).cluster_loss(_tensor(weights), _tensor(book)))
    distances = [min(abs(w - c) for c in book) for w in weights]
    if key < 0.01:
        return None
    return {
        "weights": weights,
        "book": book,
        "nearest": [min(book, key=lambda c: abs(w - c)) for w in weights],
        "squares": summed([d**2 for d in distances], 4),
        "key": key,
        "key_shown": show(key),
        "mean": key / 4,
        "absolute": sum(distances),
        "all_pairs": sum((w - c) ** 2 for w in weights for c in book),
    }


@generator
def cluster_loss_gradient(rng: Random) -> Values:
    """Gradient of L_cluster for one weight."""
    book = [value / 10 for value in sorted(rng.sample(range(-8, 9), 3))]
    weight = rng.randint(-95, 95) / 100
    distances = sorted(abs(weight - c) for c in book)
    if distances[1] - distances[0] < 0.04 or distances[0] < 0.03:
        return None
    x = torch.tensor([weight], dtype=torch.float64, requires_grad=True)
    solutions(TOPIC).cluster_loss(x, _tensor(book)).backward()
    nearest = min(book, key=lambda c: abs(weight - c))
    key = float(x.grad[0])
    return {
        "weight": show(weight, 2),
        "book": book,
        "nearest": show(nearest, 1),
        "difference": show(weight - nearest, 2),
        "key": key,
        "key_shown": show(key, 3),
        "half": key / 2,
        "sign": -key,
    }


@generator
def centroid_gradient(rng: Random) -> Values:
    """Gradient of one centroid: the sum over its weights."""
    gradients = [rng.choice([-1, 1]) * rng.randint(1, 40) / 100 for _ in range(6)]
    codes = [rng.randrange(3) for _ in range(6)]
    pick = rng.randrange(3)
    count = codes.count(pick)
    if count < 2:
        return None
    found = solutions(TOPIC).centroid_gradient(_tensor(gradients), torch.tensor(codes), 3)
    key = float(found[pick])
    if abs(key) < 0.05:
        return None
    mine = [g for g, c in zip(gradients, codes, strict=True) if c == pick]
    return {
        "gradients": gradients,
        "codes": codes,
        "pick": pick,
        "sum": summed(mine, 2),
        "key": key,
        "key_shown": show(key, 2),
        "mean": key / count,
        "last": mine[-1],
    }


@generator
def huffman_bits(rng: Random) -> Values:
    """Total bits of a Huffman code for four symbols."""
    counts = sorted((rng.randint(1, 40) for _ in range(4)), reverse=True)
    counts[0] += 20
    if len(set(counts)) < 4:
        return None
    codes = torch.tensor([symbol for symbol, count in enumerate(counts) for _ in range(count)])
    lengths, total = solutions(TOPIC).huffman_code(codes)
    sums = sorted(counts)
    merged = f"{sums[0]} + {sums[1]} = {sums[0] + sums[1]}"
    if total >= 2 * sum(counts):
        return None
    return {
        "a": counts[0], "b": counts[1], "c": counts[2], "d": counts[3],
        "merged": merged,
        "lengths": [lengths[symbol] for symbol in range(4)],
        "terms": " + ".join(rf"{n} \times {lengths[s]}" for s, n in enumerate(counts)),
        "key": total,
        "fixed": 2 * sum(counts),
    }  # fmt: skip


@generator
def ratio_curve(rng: Random) -> Values:
    """Accuracy against k: the smallest k within one point of the original."""
    base = rng.randint(880, 940) / 10
    ks = [2, 4, 8, 16, 32, 64]
    good = rng.randint(2, 4)
    drops = [14, 3.5, 2.2, 1.6, 1.3, 1.2]
    ys = [base - drops[n] if n < good else base - 0.4 for n in range(6)]
    return {
        "x": ks,
        "y": [round(y, 1) for y in ys],
        "base": base,
        "limit": round(base - 1, 1),
        "key": ks[good],
        "too_small": ks[good - 1],
        "largest": 64,
        "bits": good + 1,
    }
