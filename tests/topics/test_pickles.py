"""Pickles are found in a blob, and a blob cannot fill the judge's memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zlib

import pytest

from autograder.topics.combining_techniques import challenge

COMPRESS = [zlib.compress, gzip.compress, lzma.compress, bz2.compress]


@pytest.mark.parametrize("compress", COMPRESS)
def test_a_compressed_pickle_is_found(compress):
    packed = compress(pickle.dumps([1.5] * 20))
    assert challenge.holds_pickle(packed)
    assert challenge.holds_pickle(packed + b"more")
    assert not challenge.holds_pickle(compress(b"no pickle at all"))


@pytest.mark.parametrize("compress", COMPRESS)
def test_a_small_blob_does_not_unpack_without_end(compress, monkeypatch):
    sizes = []
    monkeypatch.setattr(challenge, "UNPACKED_BYTES", 5_000)
    monkeypatch.setattr(challenge, "_has_pickle", lambda content: sizes.append(len(content)))
    challenge.holds_pickle(compress(bytes(1_000_000)))
    assert max(sizes) == 5_000
