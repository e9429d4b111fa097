"""Hidden checks: pack_codes, unpack_codes, compression_ratio, huffman_code."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import uniform
from autograder.topics.weight_clustering.toys import fewest_bits

# ---------------------------------------------------------------- pack_codes


def random_codes(rng: torch.Generator, count: int, bits: int) -> Tensor:
    """Return codes of that width."""
    return torch.randint(2**bits, (count,), generator=rng)


def read_packed(got: Any, count: int, bits: int) -> Tensor:
    """Expect the bytes of that many codes."""
    what = f"{count} codes of {bits} bits"
    size = math.ceil(count * bits / 8)
    return expect.tensor(got, (size,), torch.uint8, f"{what}: the packed bytes")


def bits_of(packed: Tensor) -> Tensor:
    """Return the single bits of bytes."""
    return (packed.long()[:, None] >> torch.arange(8) & 1).flatten()


def expect_own_places(student: Student, codes: Tensor, bits: int) -> None:
    """Expect each bit of each code at a place of its own; which one is free.

    Flipping one bit of one code must flip just one bit of the bytes, always another one.
    """
    count = len(codes)
    what = f"{count} codes of {bits} bits"
    start = bits_of(read_packed(student.pack_codes(codes, bits), count, bits))
    places: list[int] = []
    for number in range(count):
        for bit in range(bits):
            other = codes.clone()
            other[number] ^= 1 << bit
            flipped = bits_of(read_packed(student.pack_codes(other, bits), count, bits)) != start
            where = flipped.nonzero().flatten().tolist()
            if len(where) != 1:
                happened = "changes nothing" if not where else f"changes {len(where)} bits"
                fail(f"{what}: another bit {bit} in code {number} {happened} of the bytes")
            places += where
    if len(set(places)) != count * bits:
        fail(f"{what}: two bits of the codes share one place in the bytes")


@check("pack_codes", gate=True)
def test_packs_four_bits(student: Student, rng: torch.Generator) -> None:
    expect_own_places(student, random_codes(rng, 6, 4), 4)


@check("pack_codes", weight=3)
def test_widths_that_cross_bytes(student: Student, rng: torch.Generator) -> None:
    for bits in (3, 5, 6, 7):
        expect_own_places(student, random_codes(rng, 8, bits), bits)


@check("pack_codes")
def test_one_two_and_eight_bits(student: Student, rng: torch.Generator) -> None:
    for bits in (1, 2, 8):
        expect_own_places(student, random_codes(rng, 8, bits), bits)


@check("pack_codes", weight=2)
def test_last_partial_byte(student: Student, rng: torch.Generator) -> None:
    for bits, count in ((1, 11), (3, 1), (3, 3), (5, 3), (7, 5), (2, 7), (4, 5), (6, 3)):
        expect_own_places(student, random_codes(rng, count, bits), bits)


@check("pack_codes")
def test_size_of_many_codes(student: Student, rng: torch.Generator) -> None:
    for bits in range(1, 9):
        count = uniform(rng, 500, 3000)
        codes = random_codes(rng, count, bits)
        first = read_packed(student.pack_codes(codes, bits), count, bits)
        other = codes.clone()
        place = uniform(rng, count - 8, count)
        other[place] ^= 1
        if torch.equal(first, student.pack_codes(other, bits)):
            fail(f"{count} codes of {bits} bits: code {place} leaves no trace in the bytes")


@check("pack_codes")
def test_codes_in_the_shape_of_a_weight(student: Student, rng: torch.Generator) -> None:
    for bits in (3, 8):
        codes = random_codes(rng, 90, bits).reshape(5, 2, 3, 3)
        before = codes.clone()
        got = read_packed(student.pack_codes(codes=codes, bits=bits), 90, bits)
        expect.unchanged(before, codes, "codes")
        flat = student.pack_codes(codes.flatten(), bits)
        expect.equal(got, flat, "codes of shape (5, 2, 3, 3), as for the flat codes")


@check("pack_codes", weight=0.5)
def test_packing_rejects_widths(student: Student) -> None:
    for bits in (0, 9, -1):
        with expect.value_error(f"bits = {bits}"):
            student.pack_codes(torch.zeros(4, dtype=torch.int64), bits)


# ---------------------------------------------------------------- unpack_codes


def expect_round_trip(student: Student, codes: Tensor, bits: int) -> None:
    """Expect unpacking to undo packing."""
    count = len(codes)
    packed = student.pack_codes(codes, bits)
    got = expect.tensor(
        student.unpack_codes(packed, bits, count),
        (count,),
        torch.int64,
        f"{count} codes of {bits} bits, packed by your pack_codes and unpacked",
    )
    expect.equal(got, codes, f"{count} codes of {bits} bits, packed and unpacked")


@check("unpack_codes", gate=True)
def test_undoes_packing(student: Student, rng: torch.Generator) -> None:
    for bits in (4, 8):
        expect_round_trip(student, random_codes(rng, 16, bits), bits)


@check("unpack_codes", weight=2)
def test_unpacks_every_width(student: Student, rng: torch.Generator) -> None:
    for bits in range(1, 9):
        expect_round_trip(student, random_codes(rng, 24, bits), bits)


@check("unpack_codes", weight=2)
def test_unpacks_a_partial_byte(student: Student, rng: torch.Generator) -> None:
    for bits in range(1, 9):
        for count in (1, 3, 7, uniform(rng, 40, 90)):
            expect_round_trip(student, random_codes(rng, count, bits), bits)


@check("unpack_codes")
def test_largest_and_smallest_codes(student: Student) -> None:
    for bits in (1, 5, 7, 8):
        for code in (0, 2**bits - 1):
            expect_round_trip(student, torch.full((13,), code), bits)


@check("unpack_codes", weight=0.5)
def test_unpacking_leaves_the_bytes(student: Student, rng: torch.Generator) -> None:
    codes = random_codes(rng, 21, 5)
    packed = student.pack_codes(codes, 5)
    before = packed.clone()
    got = student.unpack_codes(packed=packed, bits=5, count=21)
    expect.unchanged(before, packed, "the packed bytes")
    expect.equal(got, codes, "21 codes of 5 bits")


@check("unpack_codes", weight=0.5)
def test_unpacking_rejects_impossible_arguments(student: Student) -> None:
    packed = torch.zeros(8, dtype=torch.uint8)
    for bits in (0, 9, -1):
        with expect.value_error(f"bits = {bits}"):
            student.unpack_codes(packed, bits, 1)
    for bits, count in ((4, -1), (4, 17), (3, 22)):
        with expect.value_error(f"8 bytes, bits = {bits}, count = {count}"):
            student.unpack_codes(packed, bits, count)


# ---------------------------------------------------------------- compression_ratio


def ratio(num_weights: int, k: int, weight_bits: int = 32) -> float:
    """Return the lecture's ratio."""
    code_bits = math.ceil(math.log2(k))
    return num_weights * weight_bits / (num_weights * code_bits + k * weight_bits)


@check("compression_ratio", gate=True)
def test_ratio_of_a_large_layer(student: Student, rng: torch.Generator) -> None:
    count = uniform(rng, 300_000, 500_000)
    for k in (16, 256):
        got = student.compression_ratio(count, k)
        expect.close(got, ratio(count, k), f"{count} weights, k={k}", atol=0, rtol=0.01)


@check("compression_ratio", weight=2)
def test_codebook_counts(student: Student, rng: torch.Generator) -> None:
    for k in (2, 4, 16, 64):
        count = uniform(rng, 20, 200)
        got = student.compression_ratio(count, k)
        expect.close(got, ratio(count, k), f"{count} weights, k={k}", atol=1e-9, rtol=1e-6)


@check("compression_ratio", weight=2)
def test_code_bits_are_rounded_up(student: Student, rng: torch.Generator) -> None:
    for k in (3, 5, 6, 9, 17, 33, 100, 129, 257):
        count = uniform(rng, 900, 5000)
        got = student.compression_ratio(count, k)
        expect.close(got, ratio(count, k), f"{count} weights, k={k}", atol=1e-9, rtol=1e-6)


@check("compression_ratio")
def test_bits_of_a_weight(student: Student, rng: torch.Generator) -> None:
    for weight_bits in (8, 16, 64):
        count, k = uniform(rng, 50, 500), uniform(rng, 2, 40)
        got = student.compression_ratio(num_weights=count, k=k, weight_bits=weight_bits)
        wanted = ratio(count, k, weight_bits)
        what = f"{count} weights of {weight_bits} bits, k={k}"
        expect.close(got, wanted, what, atol=1e-9, rtol=1e-6)


@check("compression_ratio", weight=0.5)
def test_ratio_rejects_impossible_arguments(student: Student) -> None:
    for count, k in ((100, 1), (100, 0), (100, -4), (0, 4), (-3, 4)):
        with expect.value_error(f"num_weights={count}, k={k}"):
            student.compression_ratio(count, k)


# ---------------------------------------------------------------- huffman_code


def from_counts(counts: dict[int, int], rng: torch.Generator) -> Tensor:
    """Return codes that occur so often, in random order."""
    codes = torch.cat([torch.full((count,), symbol) for symbol, count in counts.items()])
    return codes[torch.randperm(len(codes), generator=rng)]


def expect_optimal(got: Any, counts: dict[int, int], what: str) -> None:
    """Expect the lengths of an optimal prefix code, and its total."""
    if not isinstance(got, tuple | list) or len(got) != 2 or not isinstance(got[0], dict):
        fail(f"{what}: expected (bits_per_symbol: dict, total_bits), got {describe(got)}")
    lengths = {}
    for symbol, length in got[0].items():
        if symbol in counts or length != 0:
            lengths[symbol] = expect.number(length, f"{what}: the bits of symbol {symbol}")
    if set(lengths) != set(counts):
        fail(f"{what}: expected an entry for the symbols {list(counts)}, got {list(lengths)}")
    for symbol, length in lengths.items():
        if length != int(length) or length < 1:
            fail(f"{what}: symbol {symbol} has {length} bits; expected a whole number, at least 1")
    if len(counts) > 1:
        kraft = sum(2.0**-length for length in lengths.values())
        if abs(kraft - 1) > 1e-9:
            kind = (
                "some strings could be shorter" if kraft < 1 else "no decoder can tell them apart"
            )
            fail(f"{what}: the sum of 2^-length is {kraft:.4g}, not 1: {kind}; lengths {lengths}")
    total = sum(counts[symbol] * length for symbol, length in lengths.items())
    best = fewest_bits(list(counts.values()))
    if total != best:
        fail(f"{what}: these lengths need {total:g} bits, an optimal code {best}; got {lengths}")
    expect.close(got[1], total, f"{what}: total_bits", atol=0, rtol=0)


@check("huffman_code", gate=True)
def test_clear_frequencies(student: Student, rng: torch.Generator) -> None:
    counts = {0: 41, 1: 30, 2: 15, 3: 9, 4: 5}
    expect_optimal(student.huffman_code(from_counts(counts, rng)), counts, "counts 41 30 15 9 5")


@check("huffman_code", weight=2)
def test_single_symbol(student: Student, rng: torch.Generator) -> None:
    for symbol, count in ((0, 1), (5, 17), (3, 2)):
        what = f"{count} times the symbol {symbol} and no other"
        expect_optimal(student.huffman_code(torch.full((count,), symbol)), {symbol: count}, what)
    counts = {1: 6, 4: 1}
    expect_optimal(student.huffman_code(from_counts(counts, rng)), counts, "two symbols")


@check("huffman_code", weight=2)
def test_ties(student: Student, rng: torch.Generator) -> None:
    for number in (3, 4, 5, 6, 8, 11):
        counts = dict.fromkeys(range(number), 7)
        what = f"{number} equally frequent symbols"
        expect_optimal(student.huffman_code(from_counts(counts, rng)), counts, what)
    counts = {0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3}
    expect_optimal(student.huffman_code(from_counts(counts, rng)), counts, "counts 1 1 2 2 3 3")


@check("huffman_code", weight=2)
def test_very_uneven_counts(student: Student, rng: torch.Generator) -> None:
    fibonacci = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
    counts = {37 * place: count for place, count in enumerate(fibonacci)}  # up to 407
    expect_optimal(student.huffman_code(from_counts(counts, rng)), counts, "Fibonacci counts")
    counts = {0: 900, 1: 30, 2: 29, 3: 28, 4: 27}
    expect_optimal(student.huffman_code(from_counts(counts, rng)), counts, "one symbol in nine")


@check("huffman_code", weight=2)
def test_random_counts(student: Student, rng: torch.Generator) -> None:
    for number in (7, 16, 40):
        counts = {symbol: uniform(rng, 1, 60) for symbol in range(number)}
        codes = from_counts(counts, rng)
        before = codes.clone()
        expect_optimal(student.huffman_code(codes=codes), counts, f"{number} random counts")
        expect.unchanged(before, codes, "codes")


@check("huffman_code")
def test_codes_of_any_shape(student: Student, rng: torch.Generator) -> None:
    counts = {0: 20, 2: 9, 7: 4, 9: 3}
    codes = from_counts(counts, rng).reshape(3, 4, 3)
    expect_optimal(student.huffman_code(codes), counts, "codes of shape (3, 4, 3)")
