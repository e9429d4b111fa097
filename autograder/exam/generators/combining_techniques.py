"""Fresh numbers for comparing and combining techniques; keys from the reference solutions."""

from __future__ import annotations

from random import Random

from autograder.exam.generators import Values, fixed, generator, grouped, solutions

CAPSTONE = "combining_techniques"


@generator
def pruned_and_quantized(rng: Random) -> Values:
    """Size ratio of a layer that is pruned and quantized, its positions kept in a bit mask."""
    count = rng.choice([50_000, 100_000, 200_000, 400_000])
    percent, bits = rng.choice([50, 60, 75, 80, 90, 95]), rng.choice([2, 4, 8])
    left = count * (100 - percent) // 100
    after = count + left * bits
    return {
        "count": grouped(count),
        "percent": percent,
        "bits": bits,
        "left": grouped(left),
        "codes": grouped(left * bits),
        "after": grouped(after),
        "before": grouped(32 * count),
        "key": 32 * count / after,
        "key_shown": fixed(32 * count / after, 3),
        "no_mask": 32 * count / (left * bits),
        "product": 32 / bits,
    }


@generator
def clustered_and_quantized(rng: Random) -> Values:
    """Bytes of a clustered layer whose codebook is quantized, codes packed."""
    count, bits = rng.randint(10, 90) * 80, rng.choice([3, 4, 5, 6])
    packed = count * bits // 8
    ratio = solutions("weight_clustering").compression_ratio(count, 2**bits)
    # The reference's codebook has 32 bits an entry: what remains must be the codes.
    if round(32 * count / ratio - 32 * 2**bits) != packed * 8:
        raise AssertionError("the reference disagrees")
    key = packed + 2**bits
    return {
        "count": grouped(count),
        "k": 2**bits,
        "bits": bits,
        "packed": grouped(packed),
        "key": key,
        "key_shown": grouped(key),
        "float_book": packed + 4 * 2**bits,
        "no_book": packed,
    }


@generator
def deep_compression(rng: Random) -> Values:
    """Bits per weight after pruning, clustering and an index for each weight that is left."""
    percent, code, index = (
        rng.choice([80, 85, 90, 92, 95]),
        rng.choice([3, 4, 5]),
        rng.choice([4, 5]),
    )
    share = (100 - percent) / 100
    mean = share * (code + index)
    return {
        "percent": percent,
        "left": 100 - percent,
        "code": code,
        "index": index,
        "both": code + index,
        "mean": fixed(mean, 3),
        "key": 32 / mean,
        "key_shown": fixed(32 / mean, 2),
        "no_index": 32 / (share * code),
        "only_code": 32 / code,
    }


@generator
def pareto_points(rng: Random) -> Values:
    """How many of six networks are on the Pareto front."""
    sizes = rng.sample(range(5, 60), 6)
    accuracies = [rng.randint(80, 92) for _ in range(6)]
    points = [(float(s), a / 100) for s, a in zip(sizes, accuracies, strict=True)]
    front = set(solutions(CAPSTONE).pareto_front(points))
    if not 2 <= len(front) <= 4 or len(set(accuracies)) < 6:
        return None
    names = "ABCDEF"
    return {
        "sizes": sizes,
        "accuracies": accuracies,
        "names": list(names),
        "front": ", ".join(n for n, point in zip(names, points, strict=True) if point in front),
        "key": len(front),
        "dominated": 6 - len(front),
    }
