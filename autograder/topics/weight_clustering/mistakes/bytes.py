"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake


@mistake(
    "pack_codes",
    caught_by="test_widths_that_cross_bytes",
    hint="each byte holds only whole codes, so 3, 5, 6 and 7 bits waste space",
)
def pack_codes__whole_codes_per_byte(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    flat, each = codes.flatten(), 8 // bits
    flat = F.pad(flat, (0, -len(flat) % each)).reshape(-1, each)
    return (flat << (bits * torch.arange(each))).sum(1).to(torch.uint8)


@mistake(
    "pack_codes",
    caught_by="test_last_partial_byte",
    hint="the last byte is cut off when it is not full",
)
def pack_codes__last_byte_lost(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    stream = (codes.flatten()[:, None] >> torch.arange(bits) & 1).flatten()
    stream = stream[: len(stream) // 8 * 8]
    return (stream.reshape(-1, 8) << torch.arange(8)).sum(1).to(torch.uint8)


@mistake(
    "pack_codes",
    caught_by="test_packs_four_bits",
    hint="one more byte than needed: ceil(count * bits / 8)",
)
def pack_codes__one_byte_more(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    stream = (codes.flatten()[:, None] >> torch.arange(bits) & 1).flatten()
    stream = F.pad(stream, (0, 8 - len(stream) % 8))
    return (stream.reshape(-1, 8) << torch.arange(8)).sum(1).to(torch.uint8)


@mistake(
    "pack_codes",
    caught_by="test_packs_four_bits",
    hint="one byte per code: nothing is packed",
)
def pack_codes__one_byte_each(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    return codes.flatten().to(torch.uint8)


@mistake(
    "pack_codes",
    caught_by="test_packs_four_bits",
    hint="the result is not uint8",
)
def pack_codes__int64(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    stream = (codes.flatten()[:, None] >> torch.arange(bits) & 1).flatten()
    stream = F.pad(stream, (0, -len(stream) % 8))
    return (stream.reshape(-1, 8) << torch.arange(8)).sum(1)


@mistake(
    "pack_codes",
    caught_by="test_widths_that_cross_bytes",
    hint="a code that runs over the border of a byte loses its upper bits",
)
def pack_codes__overhang_lost(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    flat = codes.flatten()
    packed = torch.zeros(math.ceil(len(flat) * bits / 8), dtype=torch.int64)
    for number, code in enumerate(flat.tolist()):
        packed[number * bits // 8] |= code << (number * bits % 8) & 255
    return packed.to(torch.uint8)


@mistake(
    "pack_codes",
    caught_by="test_codes_in_the_shape_of_a_weight",
    hint="every row is packed by itself: flatten the codes first",
)
def pack_codes__row_by_row(codes, bits):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    rows = []
    for row in codes.reshape(len(codes), -1) if codes.dim() > 1 else [codes]:
        stream = (row[:, None] >> torch.arange(bits) & 1).flatten()
        stream = F.pad(stream, (0, -len(stream) % 8))
        rows.append((stream.reshape(-1, 8) << torch.arange(8)).sum(1))
    return torch.cat(rows).to(torch.uint8)


@mistake(
    "pack_codes",
    caught_by="test_packing_rejects_widths",
    hint="a width outside 1 .. 8 is not rejected",
)
def pack_codes__any_width(codes, bits):
    stream = (codes.flatten()[:, None] >> torch.arange(max(bits, 1)) & 1).flatten()
    stream = F.pad(stream, (0, -len(stream) % 8))
    return (stream.reshape(-1, 8) << torch.arange(8)).sum(1).to(torch.uint8)


@mistake(
    "unpack_codes",
    caught_by="test_undoes_packing",
    hint="the bits are read in another order than pack_codes wrote them",
)
def unpack_codes__other_order(packed, bits, count):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    require(count >= 0, "count")
    stream = (packed.long()[:, None] >> torch.arange(7, -1, -1) & 1).flatten()
    matrix = stream[: count * bits].reshape(count, bits)
    return (matrix << torch.arange(bits - 1, -1, -1)).sum(1)


@mistake(
    "unpack_codes",
    caught_by="test_unpacks_a_partial_byte",
    hint="the padding at the end is returned as codes: only count of them mean something",
)
def unpack_codes__padding_too(packed, bits, count):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    require(count >= 0, "count")
    stream = (packed.long()[:, None] >> torch.arange(8) & 1).flatten()
    stream = stream[: len(stream) // bits * bits].reshape(-1, bits)
    return (stream << torch.arange(bits)).sum(1)


@mistake(
    "unpack_codes",
    caught_by="test_undoes_packing",
    hint="the codes are not int64",
)
def unpack_codes__uint8(packed, bits, count):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    require(count >= 0, "count")
    stream = (packed.long()[:, None] >> torch.arange(8) & 1).flatten()
    matrix = stream[: count * bits].reshape(count, bits)
    return (matrix << torch.arange(bits)).sum(1).to(torch.uint8)


@mistake(
    "unpack_codes",
    caught_by="test_unpacks_every_width",
    hint="codes that run over the border of a byte are read from one byte only",
)
def unpack_codes__one_byte_only(packed, bits, count):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    require(count >= 0, "count")
    places = torch.arange(count) * bits
    return (packed.long()[places // 8] >> places % 8) & (2**bits - 1)


@mistake(
    "unpack_codes",
    caught_by="test_unpacks_every_width",
    hint="each byte is taken to hold whole codes only",
)
def unpack_codes__whole_codes_per_byte(packed, bits, count):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    require(count >= 0, "count")
    each = 8 // bits
    parts = packed.long()[:, None] >> (bits * torch.arange(each)) & (2**bits - 1)
    return F.pad(parts.flatten(), (0, count))[:count]


@mistake(
    "unpack_codes",
    caught_by="test_unpacking_rejects_impossible_arguments",
    hint="a width outside 1 .. 8 or a negative count is not rejected",
)
def unpack_codes__anything_goes(packed, bits, count):
    bits, count = max(bits, 1), max(count, 0)
    stream = (packed.long()[:, None] >> torch.arange(8) & 1).flatten()
    matrix = stream[: count * bits].reshape(-1, bits)
    return (matrix << torch.arange(bits)).sum(1)


@mistake(
    "compression_ratio",
    caught_by="test_codebook_counts",
    hint="the codebook is forgotten: its k centroids are stored too",
)
def compression_ratio__no_codebook(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    return weight_bits / (k - 1).bit_length()


@mistake(
    "compression_ratio",
    caught_by="test_code_bits_are_rounded_up",
    hint="log2 k is not rounded up: a code has a whole number of bits",
)
def compression_ratio__not_rounded(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    return num_weights * weight_bits / (num_weights * math.log2(k) + k * weight_bits)


@mistake(
    "compression_ratio",
    caught_by="test_code_bits_are_rounded_up",
    hint="log2 k is rounded down or to the nearest: always up",
)
def compression_ratio__rounded_down(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    return num_weights * weight_bits / (num_weights * int(math.log2(k)) + k * weight_bits)


@mistake(
    "compression_ratio",
    caught_by="test_ratio_of_a_large_layer",
    hint="one bit too many at powers of two: k.bit_length() where (k - 1).bit_length() is meant",
)
def compression_ratio__bit_length_of_k(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    return num_weights * weight_bits / (num_weights * k.bit_length() + k * weight_bits)


@mistake(
    "compression_ratio",
    caught_by="test_ratio_of_a_large_layer",
    hint="the fraction is upside down: before divided by after",
)
def compression_ratio__inverted(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    return (num_weights * (k - 1).bit_length() + k * weight_bits) / (num_weights * weight_bits)


@mistake(
    "compression_ratio",
    caught_by="test_bits_of_a_weight",
    hint="centroids are counted with 32 bits, whatever weight_bits says",
)
def compression_ratio__codebook_always_32(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    return num_weights * weight_bits / (num_weights * (k - 1).bit_length() + k * 32)


@mistake(
    "compression_ratio",
    caught_by="test_codebook_counts",
    hint="the size is rounded up to bytes: the ratio counts bits",
)
def compression_ratio__rounds_to_bytes(num_weights, k, weight_bits=32):
    require(num_weights >= 1 and k >= 2, "num_weights or k")
    size = math.ceil(num_weights * (k - 1).bit_length() / 8) * 8 + k * weight_bits
    return num_weights * weight_bits / size


@mistake(
    "compression_ratio",
    caught_by="test_ratio_rejects_impossible_arguments",
    hint="k below 2 or no weights are not rejected",
)
def compression_ratio__anything_goes(num_weights, k, weight_bits=32):
    bits = max(k - 1, 1).bit_length()
    return num_weights * weight_bits / max(num_weights * bits + k * weight_bits, 1)


@mistake(
    "unpack_codes",
    caught_by="test_unpacking_rejects_impossible_arguments",
    hint="more codes than the bytes hold are made up from zeros: reject such a count",
)
def unpack_codes__makes_up_codes(packed, bits, count):
    require(1 <= bits <= 8, "bits must lie in 1 .. 8")
    require(count >= 0, "count must be at least 0")
    stream = (packed.long()[:, None] >> torch.arange(8) & 1).flatten()
    stream = F.pad(stream, (0, max(0, count * bits - len(stream))))
    return (stream[: count * bits].reshape(count, bits) << torch.arange(bits)).sum(1)
