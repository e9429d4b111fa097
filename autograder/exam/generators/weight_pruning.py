"""Fresh numbers for weight pruning and whole networks; keys from the reference solutions."""

from __future__ import annotations

from random import Random

import torch

from autograder.exam.generators import Values, fixed, generator, grouped, matrix, show, solutions

TOPIC = "network_pruning"


def _weights(rng: Random, count: int) -> list[float]:
    """Draw weights with two decimals and different magnitudes, of both signs."""
    magnitudes = rng.sample(range(3, 100), count)
    return [rng.choice((-1, 1)) * magnitude / 100 for magnitude in magnitudes]


def _sparse(rng: Random, rows: int, columns: int, nonzeros: int) -> list[list[int]]:
    """Draw a matrix of small whole numbers; the last row is never empty by chance alone."""
    places = set(rng.sample(range(rows * columns), nonzeros))
    return [
        [rng.randint(1, 9) if r * columns + c in places else 0 for c in range(columns)]
        for r in range(rows)
    ]


@generator
def below_threshold(rng: Random) -> Values:
    """How many of ten weights a threshold on the magnitude prunes."""
    weights, threshold = _weights(rng, 10), rng.randint(20, 60) / 100 + 0.005
    small = [weight for weight in weights if abs(weight) < threshold]
    signed = sum(weight < threshold for weight in weights)
    if not small:
        return None
    return {
        "weights": weights,
        "threshold": show(threshold, 3),
        "small": small,
        "key": len(small),
        "signed": signed,
        "kept": len(weights) - len(small),
    }


@generator
def smallest_kept(rng: Random) -> Values:
    """Magnitude of the smallest weight that survives a given sparsity."""
    weights = _weights(rng, 10)
    sparsity = rng.choice([0.3, 0.4, 0.5, 0.6, 0.7])
    keep = solutions(TOPIC).magnitude_mask(torch.tensor(weights, dtype=torch.float64), sparsity)
    kept = [abs(w) for w, k in zip(weights, keep.tolist(), strict=True) if k]
    gone = sorted(abs(w) for w, k in zip(weights, keep.tolist(), strict=True) if not k)
    return {
        "weights": weights,
        "percent": round(100 * sparsity),
        "count": len(gone),
        "gone": gone,
        "key": min(kept),
        "largest_gone": gone[-1],
        "inverted": sorted(map(abs, weights))[len(kept)],
    }


@generator
def csr_pointers(rng: Random) -> Values:
    """Row pointers of a small matrix with one empty row."""
    rows = _sparse(rng, 4, 5, rng.randint(6, 9))
    rows[rng.randrange(1, 3)] = [0] * 5
    pointers = solutions(TOPIC).dense_to_csr(torch.tensor(rows, dtype=torch.float64))[2]
    counts = [sum(value != 0 for value in row) for row in rows]
    key = [int(pointer) for pointer in pointers]
    return {
        "matrix": matrix(rows),
        "counts": counts,
        "key": key,
        "short": key[:-1],
        "nonzeros": sum(counts),
    }


@generator
def csr_columns(rng: Random) -> Values:
    """Column indices of a small matrix."""
    rows = _sparse(rng, 3, 5, rng.randint(5, 7))
    columns = solutions(TOPIC).dense_to_csr(torch.tensor(rows, dtype=torch.float64))[1]
    pairs = [(r, c) for c in range(5) for r in range(3) if rows[r][c]]
    key = [int(column) for column in columns]
    return {
        "matrix": matrix(rows),
        "key": key,
        "from_one": [column + 1 for column in key],
        "rows_by_column": [row for row, _ in pairs],
    }


@generator
def csr_times_vector(rng: Random) -> Values:
    """One element of a matrix-vector product, from the three CSR arrays."""
    rows = _sparse(rng, 3, 4, rng.randint(6, 8))
    x = [rng.randint(1, 5) for _ in range(4)]
    reference = solutions(TOPIC)
    values, columns, pointers = reference.dense_to_csr(torch.tensor(rows, dtype=torch.float64))
    product = reference.csr_matvec(values, columns, pointers, torch.tensor(x, dtype=torch.float64))
    row = rng.randrange(1, 3)
    start, end = int(pointers[row]), int(pointers[row + 1])
    if end - start < 2:
        return None
    inside = range(start, end)
    return {
        "values": values.tolist(),
        "columns": columns.tolist(),
        "pointers": pointers.tolist(),
        "x": x,
        "row": row,
        "start": start,
        "end": end,
        "terms": " + ".join(rf"{values[n]:g} \times {x[int(columns[n])]}" for n in inside),
        "key": float(product[row]),
        "in_order": float(sum(values[n] * x[k] for k, n in enumerate(inside) if k < 4)),
    }


def _layout(rng: Random, layout: str) -> Values:
    rows, columns = rng.randint(2, 20) * 50, rng.randint(2, 20) * 50
    percent = rng.choice([60, 70, 75, 80, 90, 95])
    nonzeros = rows * columns * (100 - percent) // 100
    size = solutions(TOPIC).storage_bytes(rows, columns, nonzeros, layout)
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout]
    dense = solutions(TOPIC).storage_bytes(rows, columns, nonzeros, "dense")
    other = columns + 1 if layout == "csr" else rows + 1
    return {
        "rows": grouped(rows),
        "columns": grouped(columns),
        "percent": percent,
        "nonzeros": grouped(nonzeros),
        "entries": grouped(rows * columns),
        "pointers": grouped(pointers),
        "key": size,
        "key_shown": grouped(size),
        "dense": dense,
        "dense_shown": grouped(dense),
        "no_pointers": 8 * nonzeros,
        "swapped": 8 * nonzeros + 4 * other,
        "values_only": 4 * nonzeros,
        "ratio": dense / size,
        "ratio_shown": show(dense / size, 2),
        "naive": 100 / (100 - percent),
    }


@generator
def csr_bytes(rng: Random) -> Values:
    """Bytes of a sparse matrix in CSR."""
    return _layout(rng, "csr")


@generator
def csc_bytes(rng: Random) -> Values:
    """Bytes of a sparse matrix in CSC, of another shape than square."""
    return _layout(rng, "csc")


@generator
def coo_bytes(rng: Random) -> Values:
    """Bytes of a sparse matrix as a list of coordinates."""
    values = _layout(rng, "coo")
    return {**values, "one_index": values["no_pointers"]}


@generator
def csr_break_even(rng: Random) -> Values:
    """Sparsity above which CSR is smaller than dense."""
    rows, columns = rng.randint(2, 30) * 20, rng.randint(4, 40) * 20
    value_bytes, index_bytes = rng.choice([(4, 4), (4, 4), (4, 2), (4, 8), (2, 2), (2, 4)])
    sparsity = solutions(TOPIC).break_even_sparsity(rows, columns, "csr", value_bytes, index_bytes)
    entries, both = rows * columns, value_bytes + index_bytes
    return {
        "rows": rows,
        "columns": columns,
        "value_bytes": value_bytes,
        "index_bytes": index_bytes,
        "both": both,
        "dense": grouped(entries * value_bytes),
        "entries": grouped(entries),
        "pointers": rows + 1,
        "pointer_bytes": grouped((rows + 1) * index_bytes),
        "most": show((entries * value_bytes - (rows + 1) * index_bytes) / both, 1),
        "key": 100 * sparsity,
        "key_shown": show(100 * sparsity, 2),
        "density": 100 - 100 * sparsity,
        "no_index": 100 * (rows + 1) / entries,
    }


@generator
def overall_sparsity(rng: Random) -> Values:
    """Sparsity of a whole network from that of its layers."""
    counts = [rng.choice([500, 1000, 2000]), rng.randint(10, 40) * 1000, rng.randint(2, 9) * 1000]
    shares = rng.sample([20, 40, 50, 60, 80, 90, 95], 3)
    zeros = [count * share // 100 for count, share in zip(counts, shares, strict=True)]
    total = sum(counts)
    key = 100 * sum(zeros) / total
    return {
        "n1": grouped(counts[0]), "n2": grouped(counts[1]), "n3": grouped(counts[2]),
        "s1": shares[0], "s2": shares[1], "s3": shares[2],
        "zeros": " + ".join(map(grouped, zeros)),
        "all_zeros": grouped(sum(zeros)),
        "total": grouped(total),
        "key": key,
        "key_shown": show(key, 2),
        "mean": sum(shares) / 3,
        "density": 100 - key,
    }  # fmt: skip


@generator
def global_or_layer(rng: Random) -> Values:
    """How many weights of one layer go when two layers are pruned together."""
    first = [rng.choice((-1, 1)) * n / 100 for n in rng.sample(range(2, 50), 5)]
    second = [rng.choice((-1, 1)) * n / 100 for n in rng.sample(range(30, 99), 5)]
    if len({abs(weight) for weight in first + second}) < 10:
        return None
    percent = rng.choice([40, 50, 60])
    both = torch.tensor(first + second, dtype=torch.float64)
    mask = solutions(TOPIC).magnitude_mask(both, percent / 100)
    key = int((~mask[:5]).sum())
    gone = sorted(abs(float(w)) for w, keep in zip(both, mask, strict=True) if not keep)
    return {
        "first": first,
        "second": second,
        "percent": percent,
        "count": len(gone),
        "gone": gone,
        "key": key,
        "by_layer": round(5 * percent / 100),
        "kept": 5 - key,
    }


@generator
def measured_speedup(rng: Random) -> Values:
    """Speedup of a sparse product: time before over time after."""
    dense, sparse = rng.randint(40, 95) / 10, rng.randint(30, 180) / 10
    key = dense / sparse
    slower = key < 1
    return {
        "dense": show(dense, 1),
        "sparse": show(sparse, 1),
        "percent": rng.choice([60, 70, 75, 80]),
        "key": key,
        "key_shown": fixed(key, 3),
        "inverse": sparse / dense,
        "verdict": {
            "en": "below 1: it is slower" if slower else "above 1: it is faster",
            "zh": "小於 1，變慢（開倒車）" if slower else "大於 1，確實加速",
        },
    }


@generator
def speedup_curve(rng: Random) -> Values:
    """Speedup against sparsity; where it first exceeds 1."""
    sparsities = [50, 60, 70, 75, 80, 85, 90, 95]
    cross = rng.randint(4, 7)
    ratios = []
    for number in range(8):
        if number < cross:
            ratios.append((30 + 60 * number // cross + rng.randint(0, 5)) / 100)
        else:
            ratios.append((125 + 90 * (number - cross) + rng.randint(0, 30)) / 100)
    return {
        "x": sparsities,
        "y": ratios,
        "key": sparsities[cross],
        "last_slow": sparsities[cross - 1],
        "ratio": ratios[cross],
        "slow_ratio": ratios[cross - 1],
    }


@generator
def mask_picture(rng: Random) -> Values:
    """A mask of six neurons with eight inputs, with neurons that are gone altogether."""
    dead = sorted(rng.sample(range(6), rng.randint(1, 2)))
    rows = [[0 if row in dead else int(rng.random() < 0.45) for _ in range(8)] for row in range(6)]
    if sum(not any(row) for row in rows) != len(dead):
        return None
    zeros = sum(row.count(0) for row in rows)
    return {
        "rows": rows,
        "zeros": zeros,
        "key": 100 * zeros / 48,
        "key_shown": show(100 * zeros / 48, 1),
        "density": 100 - 100 * zeros / 48,
        "dead": len(dead),
        "dead_list": dead,
        "alive": 6 - len(dead),
        "dead_connections": 8 * len(dead),
    }
