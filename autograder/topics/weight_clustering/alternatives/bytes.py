"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import math

import numpy as np
import torch

from autograder.authoring.answers import alternative


@alternative("pack_codes")
def pack_codes__numpy_big_endian(codes, bits):
    if not 1 <= bits <= 8:
        raise ValueError("bits")
    flat = codes.reshape(-1).numpy().astype(np.uint8)
    matrix = np.unpackbits(flat[:, None], axis=1)[:, 8 - bits :]
    return torch.from_numpy(np.packbits(matrix))


@alternative("pack_codes")
def pack_codes__one_large_number(codes, bits):
    if bits not in range(1, 9):
        raise ValueError("bits must be 1 to 8")
    number, flat = 0, codes.flatten().tolist()
    for code in flat:
        number = number << bits | code
    size = (len(flat) * bits + 7) // 8
    return torch.tensor(list(number.to_bytes(size, "little")), dtype=torch.uint8)


@alternative("pack_codes")
def pack_codes__bit_planes(codes, bits):
    if bits < 1 or bits > 8:
        raise ValueError("bits")
    flat = codes.flatten()
    planes = torch.cat([(flat >> bit) & 1 for bit in range(bits)])
    missing = (8 - len(planes) % 8) % 8
    planes = torch.cat([planes, torch.ones(missing, dtype=torch.int64)])  # the rest is free
    weights = 2 ** torch.arange(7, -1, -1)
    return (planes.view(-1, 8) * weights).sum(-1).type(torch.uint8)


@alternative("unpack_codes")
def unpack_codes__numpy(packed, bits, count):
    if not 1 <= bits <= 8 or count < 0:
        raise ValueError("bits or count")
    stream = np.unpackbits(packed.numpy(), bitorder="little")[: count * bits]
    weights = 2 ** np.arange(bits)
    return torch.from_numpy((stream.reshape(count, bits) @ weights).astype(np.int64))


@alternative("unpack_codes")
def unpack_codes__one_large_number(packed, bits, count):
    if bits < 1 or bits > 8:
        raise ValueError("bits")
    if not 0 <= bits * count <= 8 * len(packed):
        raise ValueError("count")
    number = int.from_bytes(bytes(packed.tolist()), "little")
    mask = 2**bits - 1
    return torch.tensor([number >> (bits * i) & mask for i in range(count)], dtype=torch.int64)


@alternative("compression_ratio")
def compression_ratio__by_log(num_weights, k, weight_bits=32):
    if k < 2 or num_weights < 1:
        raise ValueError("k or num_weights")
    before = num_weights * weight_bits
    return before / (num_weights * math.ceil(math.log2(k)) + k * weight_bits)


@alternative("compression_ratio")
def compression_ratio__counting_up(num_weights, k, weight_bits=32):
    if num_weights <= 0:
        raise ValueError("num_weights")
    if k <= 1:
        raise ValueError("k")
    bits = 0
    while 2**bits < k:
        bits += 1
    return 1 / (bits / weight_bits + k / num_weights)


@alternative("huffman_code")
def huffman_code__recursive_tree(codes):
    from collections import Counter

    counts = Counter(codes.reshape(-1).tolist())
    nodes = [(count, symbol) for symbol, count in counts.items()]
    while len(nodes) > 1:
        nodes.sort(key=lambda node: -node[0])
        right, left = nodes.pop(), nodes.pop()
        nodes.append((left[0] + right[0], (left, right)))
    lengths = {}

    def walk(node, depth):
        if isinstance(node[1], tuple):
            for child in node[1]:
                walk(child, depth + 1)
        else:
            lengths[node[1]] = max(depth, 1)

    walk(nodes[0], 0)
    return lengths, sum(counts[symbol] * length for symbol, length in lengths.items())


@alternative("huffman_code")
def huffman_code__two_queues(codes):
    symbols, counts = torch.unique(codes, return_counts=True)
    order = counts.argsort()
    leaves = [(int(counts[i]), {int(symbols[i]): 0}) for i in order]
    if len(leaves) == 1:
        return {int(symbols[0]): 1}, int(counts[0])
    joined, total = [], 0

    def smallest():
        if not joined or (leaves and leaves[0][0] <= joined[0][0]):
            return leaves.pop(0)
        return joined.pop(0)

    while len(leaves) + len(joined) > 1:
        a, b = smallest(), smallest()
        total += a[0] + b[0]
        deeper = {symbol: depth + 1 for part in (a[1], b[1]) for symbol, depth in part.items()}
        joined.append((a[0] + b[0], deeper))
    return joined[0][1], total
