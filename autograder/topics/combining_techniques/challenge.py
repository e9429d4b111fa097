"""The byte challenge as its checks see it: one run of `compress`, one rebuilding elsewhere.

Both are done once for all checks of a judging, by whichever check comes first.
"""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn

from autograder.judge.checking import CheckFailure, describe, expect, fail, first_change
from autograder.judge.course import Course
from autograder.judge.student import Student, StudentError
from autograder.judge.toys import snapshot
from autograder.sandbox.session import Session

LENET_BYTES = 1_725_032
COMPRESS_SECONDS = 120  # students are told 60; a busy machine needs more for the same work
IMAGES_IN_BATCH = 64
FEW = 5
# A blob is the student's: a small one can unpack to more than the machine's memory.
UNPACKED_BYTES = 64 * 2**20
UNPACKERS = (
    zlib.decompressobj,
    partial(zlib.decompressobj, wbits=31),  # gzip
    lzma.LZMADecompressor,
    bz2.BZ2Decompressor,
)
# Protocol 4 or 5, then a frame of less than 16 MiB: entropy-coded bytes hardly ever look like it.
FRAMED_PICKLE = re.compile(rb"\x80[\x04\x05]\x95.{3}\x00{5}", re.DOTALL)


@dataclass(frozen=True)
class Compressed:
    """What one run of a submission's `compress` gave.

    Attributes:
        blob: what it returned.
        change: how it changed the given model; empty when it did not.
    """

    blob: Any
    change: str


@dataclass(frozen=True)
class Rebuilt:
    """What `decompress` made of the blob in a sandbox where nothing else is.

    Attributes:
        logits: for all hidden images, (4000, 10).
        training: names of the modules in train mode.
        alone: logits of the first few images, one image at a time.
        again: logits of the first few images, from a second call of decompress.
        here: the same from the first sandbox.
    """

    logits: Tensor
    training: list[str]
    alone: Tensor
    again: Tensor
    here: Tensor


_runs: WeakKeyDictionary[Session, Compressed] = WeakKeyDictionary()
_rebuilt: WeakKeyDictionary[Session, Rebuilt | Exception] = WeakKeyDictionary()


def compressed(student: Student, course: Course) -> Compressed:
    """Run the submission's `compress` as the challenge does, once for all checks of a judging."""
    session = getattr(student.process, "session", None)
    if session is not None and session in _runs:
        return _runs[session]
    model = course.checkpoint("lenet")
    before = snapshot(model)
    blob = student.compress(model, course.loader("train", batch_size=IMAGES_IN_BATCH))
    run = Compressed(blob, first_change(before, model))
    if session is not None:
        _runs[session] = run
    return run


def blob_of(student: Student, course: Course) -> bytes:
    """Return the blob, or fail where it is none."""
    blob = compressed(student, course).blob
    if not isinstance(blob, bytes):
        fail(f"compress: expected bytes, got {describe(blob)}", "a_list_of_parts")
    return blob


def rebuilt(student: Student, course: Course, request: pytest.FixtureRequest) -> Rebuilt:
    """Rebuild the network elsewhere, once for all checks of a judging; fail where that fails."""
    blob, session = blob_of(student, course), getattr(student.process, "session", None)
    found = _rebuilt.get(session) if session is not None else None
    if found is None:
        try:
            found = _rebuild(student, blob, course, request)
        except (CheckFailure, StudentError) as problem:
            found = problem
        if session is not None:
            _rebuilt[session] = found
    if isinstance(found, Exception):
        raise found
    return found


def _rebuild(
    student: Student, blob: bytes, course: Course, request: pytest.FixtureRequest
) -> Rebuilt:
    images, _ = course.images("grading")
    few = images[:FEW]
    here = _logits(_network(student, blob), few)
    if session := getattr(student.process, "session", None):
        # A process left there could hold locks on files that both sandboxes see, and their
        # places would tell the weights. Later checks start that sandbox anew.
        session.close()
    # Asked for only here: starting a sandbox takes seconds.
    elsewhere: Student = request.getfixturevalue("elsewhere")
    try:
        model = _network(elsewhere, blob)
    except StudentError as error:
        if error.fatal:
            raise
        fail(
            f"decompress raised {error} in a new sandbox without the course's files: it must need "
            "nothing but the blob",
            "needs_more_than_the_blob",
        )
    if isinstance(model, nn.Module):
        training = [name or "the model itself" for name, m in model.named_modules() if m.training]
    else:
        training = ["the model itself"] if model.training else []
    return Rebuilt(
        logits=torch.cat([_logits(model, part) for part in images.split(500)]),
        training=training,
        alone=torch.cat([_logits(model, image[None]) for image in few]),
        again=_logits(_network(elsewhere, blob), few),
        here=here,
    )


def _network(student: Student, blob: bytes) -> Any:
    model = student.decompress(blob)
    if not callable(model):
        fail(f"decompress: expected a network, got {describe(model)}", "returns_tensors")
    return model


def _logits(model: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        got = model(images)
    what = "the network of decompress: logits"
    expect.tensor(got, (len(images), 10), what=what)
    if not got.isfinite().all():
        fail(f"{what}: some are infinite or NaN")
    return got.detach()


def holds_pickle(blob: bytes) -> bool:
    """Tell whether a blob has a pickle or a file of torch.save in it, also plainly compressed."""
    return any(
        _has_pickle(content) for content in (blob, *(_unpack(new, blob) for new in UNPACKERS))
    )


def _unpack(new: Callable[[], Any], blob: bytes) -> bytes:
    """Return what the streams at the beginning of a blob hold, up to a limit."""
    content = b""
    while blob and len(content) < UNPACKED_BYTES:
        stream = new()
        try:
            content += stream.decompress(blob, UNPACKED_BYTES - len(content))
        except (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError):
            break
        blob = stream.unused_data
    return content


def _has_pickle(content: bytes) -> bool:
    try:
        # The table of contents is at the end: it is found behind a header, too.
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        names = []
    if any(name.endswith(".pkl") for name in names):
        return True
    starts = [match.start() for match in FRAMED_PICKLE.finditer(content)]
    return any(_is_pickle(content[start:]) for start in {0, *starts})


def _is_pickle(content: bytes) -> bool:
    if content[:1] != b"\x80":
        return False
    try:
        return any(code.name == "STOP" for code, _, _ in pickletools.genops(content))
    except Exception:  # no pickle after all
        return False
