"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import heapq
import math

from autograder.authoring.answers import mistake


@mistake(
    "huffman_code",
    caught_by="test_single_symbol",
    hint="a single symbol got 0 bits; it takes 1",
)
def huffman_code__single_symbol_zero(codes):
    symbols, counts = codes.unique(return_counts=True)
    lengths = dict.fromkeys(symbols.tolist(), 0)
    nodes = [(count, [s]) for s, count in zip(symbols.tolist(), counts.tolist(), strict=True)]
    heapq.heapify(nodes)
    total = 0
    while len(nodes) > 1:
        (a, first), (b, second) = heapq.heappop(nodes), heapq.heappop(nodes)
        for symbol in first + second:
            lengths[symbol] += 1
        total += a + b
        heapq.heappush(nodes, (a + b, first + second))
    return lengths, total


@mistake(
    "huffman_code",
    caught_by="test_clear_frequencies",
    hint="all symbols get the same number of bits: that is the fixed code",
)
def huffman_code__fixed_length(codes):
    symbols = codes.unique().tolist()
    bits = max(1, math.ceil(math.log2(len(symbols))))
    return dict.fromkeys(symbols, bits), bits * codes.numel()


@mistake(
    "huffman_code",
    caught_by="test_clear_frequencies",
    hint="lengths are ceil(-log2 of the share): that is a Shannon code, and it is longer",
)
def huffman_code__shannon(codes):
    symbols, counts = codes.unique(return_counts=True)
    lengths = {
        s: max(1, math.ceil(-math.log2(count / codes.numel())))
        for s, count in zip(symbols.tolist(), counts.tolist(), strict=True)
    }
    total = sum(lengths[s] * c for s, c in zip(symbols.tolist(), counts.tolist(), strict=True))
    return lengths, total


@mistake(
    "huffman_code",
    caught_by="test_random_counts",
    hint="the list is sorted once only: a joined node must go back to its place among the others",
)
def huffman_code__sorted_once(codes):
    symbols, counts = codes.unique(return_counts=True)
    pairs = sorted(zip(counts.tolist(), symbols.tolist(), strict=True))
    if len(pairs) == 1:
        return {pairs[0][1]: 1}, pairs[0][0]
    lengths = dict.fromkeys(symbols.tolist(), 0)
    inside = [pairs[0][1]]
    for _, symbol in pairs[1:]:
        inside.append(symbol)
        for member in inside:
            lengths[member] += 1
    return lengths, sum(lengths[symbol] * count for count, symbol in pairs)


@mistake(
    "huffman_code",
    caught_by="test_clear_frequencies",
    hint="the two most frequent are joined: join the two rarest",
)
def huffman_code__joins_the_largest(codes):
    symbols, counts = codes.unique(return_counts=True)
    by_symbol = dict(zip(symbols.tolist(), counts.tolist(), strict=True))
    lengths = dict.fromkeys(by_symbol, 0 if len(by_symbol) > 1 else 1)
    nodes = [(-count, [symbol]) for symbol, count in by_symbol.items()]
    heapq.heapify(nodes)
    while len(nodes) > 1:
        (a, first), (b, second) = heapq.heappop(nodes), heapq.heappop(nodes)
        for symbol in first + second:
            lengths[symbol] += 1
        heapq.heappush(nodes, (a + b, first + second))
    return lengths, sum(by_symbol[symbol] * length for symbol, length in lengths.items())


@mistake(
    "huffman_code",
    caught_by="test_clear_frequencies",
    hint="total_bits adds the lengths up without the counts",
)
def huffman_code__lengths_without_counts(codes):
    symbols, counts = codes.unique(return_counts=True)
    lengths = dict.fromkeys(symbols.tolist(), 0 if len(symbols) > 1 else 1)
    nodes = [(count, [s]) for s, count in zip(symbols.tolist(), counts.tolist(), strict=True)]
    heapq.heapify(nodes)
    while len(nodes) > 1:
        (a, first), (b, second) = heapq.heappop(nodes), heapq.heappop(nodes)
        for symbol in first + second:
            lengths[symbol] += 1
        heapq.heappush(nodes, (a + b, first + second))
    return lengths, sum(lengths.values())


@mistake(
    "huffman_code",
    caught_by="test_ties",
    hint="nodes are kept in a dictionary by count: equal counts overwrite each other",
)
def huffman_code__ties_overwrite(codes):
    symbols, counts = codes.unique(return_counts=True)
    by_symbol = dict(zip(symbols.tolist(), counts.tolist(), strict=True))
    lengths = dict.fromkeys(by_symbol, 0 if len(by_symbol) > 1 else 1)
    nodes = {count: [symbol] for symbol, count in by_symbol.items()}
    while len(nodes) > 1:
        a, b = sorted(nodes)[:2]
        members = nodes.pop(a) + nodes.pop(b)
        for symbol in members:
            lengths[symbol] += 1
        nodes[a + b] = members
    return lengths, sum(by_symbol[symbol] * length for symbol, length in lengths.items())


@mistake(
    "huffman_code",
    caught_by="test_clear_frequencies",
    hint="the entropy was returned: a real code has whole bits for each symbol",
)
def huffman_code__entropy(codes):
    symbols, counts = codes.unique(return_counts=True)
    share = counts.double() / codes.numel()
    lengths = dict(zip(symbols.tolist(), (-share.log2()).tolist(), strict=True))
    return lengths, float(-(counts * share.log2()).sum())


@mistake(
    "huffman_code",
    caught_by="test_codes_of_any_shape",
    hint="only codes of one dimension work: flatten them",
)
def huffman_code__flat_only(codes):
    counts = {}
    for code in codes.tolist():
        counts[code] = counts.get(code, 0) + 1
    lengths = dict.fromkeys(counts, 0 if len(counts) > 1 else 1)
    nodes = [(count, [symbol]) for symbol, count in counts.items()]
    heapq.heapify(nodes)
    while len(nodes) > 1:
        (a, first), (b, second) = heapq.heappop(nodes), heapq.heappop(nodes)
        for symbol in first + second:
            lengths[symbol] += 1
        heapq.heappush(nodes, (a + b, first + second))
    return lengths, sum(counts[symbol] * length for symbol, length in lengths.items())


@mistake(
    "huffman_code",
    caught_by="test_very_uneven_counts",
    hint="codes above 255 do not fit into uint8: different symbols become one",
)
def huffman_code__uint8(codes):
    require(codes.numel() > 0, "codes must have at least one element")
    symbols, counts = codes.to(torch.uint8).unique(return_counts=True)
    nodes = [
        (count, [symbol]) for symbol, count in zip(symbols.tolist(), counts.tolist(), strict=True)
    ]
    if len(nodes) == 1:
        return {nodes[0][1][0]: 1}, nodes[0][0]
    lengths, total = dict.fromkeys(symbols.tolist(), 0), 0
    heapq.heapify(nodes)
    while len(nodes) > 1:
        first_count, first = heapq.heappop(nodes)
        second_count, second = heapq.heappop(nodes)
        for symbol in first + second:
            lengths[symbol] += 1
        total += first_count + second_count
        heapq.heappush(nodes, (first_count + second_count, first + second))
    return lengths, total
