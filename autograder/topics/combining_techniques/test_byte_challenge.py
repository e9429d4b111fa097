"""Hidden checks: compress and decompress, the byte challenge.

`compress` runs once for all checks, with all training images. Its bytes alone go to a sandbox of
their own, which has the submission's code, an empty folder, no network and no course data.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.topics.combining_techniques.challenge import (
    COMPRESS_SECONDS,
    FEW,
    LENET_BYTES,
    blob_of,
    compressed,
    holds_pickle,
    rebuilt,
)


@check("compress", gate=True, timeout=COMPRESS_SECONDS)
def test_compress_gives_bytes(student: Student, course: Course) -> None:
    blob = blob_of(student, course)
    expect.true(len(blob) > 0, "compress: expected bytes, got none at all")


@check("compress", timeout=COMPRESS_SECONDS)
def test_the_model_given_is_unchanged(student: Student, course: Course) -> None:
    change = compressed(student, course).change
    message = f"compress changed the given model: {change}. Work on a copy."
    expect.true(not change, message, "changes_the_model")


@check("compress", timeout=COMPRESS_SECONDS)
def test_the_blob_is_no_pickle(student: Student, course: Course) -> None:
    message = (
        "the blob is a pickle or a file of torch.save: loading it runs code; write numbers with "
        "struct.pack and tensors with tobytes"
    )
    expect.true(not holds_pickle(blob_of(student, course)), message, "pickle")


Board = Callable[[str, float], None]
Tier = Callable[[int], int]


@pytest.fixture
def tier(
    student: Student,
    course: Course,
    expected: SimpleNamespace,
    code_bytes: int,
    request: pytest.FixtureRequest,
) -> Tier:
    """Return what expects so many times fewer bytes, at the accuracy floor, and gives the bytes."""

    def reach(times: int) -> int:
        blob = blob_of(student, course)
        total, most = len(blob) + code_bytes, LENET_BYTES // times
        if total > most:
            fail(
                f"{times} times smaller means at most {most:,} bytes; got {len(blob):,} of the "
                f"blob and {code_bytes:,} of code, together {total:,}",
                "no_entropy_coding" if times > 10 else "raw_floats",
            )
        right = rebuilt(student, course, request).logits.argmax(1) == course.images("grading")[1]
        accuracy, floor = float(right.double().mean()), expected.accuracy_floor.value
        if accuracy < floor:
            fail(
                f"the rebuilt network: expected at least {floor:.2%} on hidden images (LeNet's "
                f"less one point), got {accuracy:.2%}",
                "below_the_floor",
            )
        return total

    return reach


@check("compress", weight=2, timeout=COMPRESS_SECONDS)
def test_tier_4_times(student: Student, tier: Tier, board: Board) -> None:
    board("bytes", tier(4))


@check("compress", weight=2, timeout=COMPRESS_SECONDS)
def test_tier_10_times(student: Student, tier: Tier) -> None:
    tier(10)


@check("compress", weight=2, timeout=COMPRESS_SECONDS)
def test_tier_20_times(student: Student, tier: Tier) -> None:
    tier(20)


@check("compress", weight=1, timeout=COMPRESS_SECONDS)
def test_tier_30_times(student: Student, tier: Tier) -> None:
    tier(30)


@check("decompress", gate=True, timeout=COMPRESS_SECONDS)
def test_the_network_comes_back_elsewhere(
    student: Student, course: Course, request: pytest.FixtureRequest
) -> None:
    rebuilt(student, course, request)


@check("decompress", weight=2, timeout=COMPRESS_SECONDS)
def test_it_classifies(student: Student, course: Course, request: pytest.FixtureRequest) -> None:
    labels = course.images("grading")[1]
    logits = rebuilt(student, course, request).logits
    right = float((logits.argmax(1) == labels).double().mean())
    message = (
        f"the rebuilt network: expected at least 60 % on hidden images, got {right:.0%}; are the "
        "layers read in the order and with the scales that compress wrote?"
    )
    expect.true(right >= 0.6, message, "weights_in_the_wrong_places")


@check("decompress", timeout=COMPRESS_SECONDS)
def test_it_is_in_eval_mode(
    student: Student, course: Course, request: pytest.FixtureRequest
) -> None:
    training = rebuilt(student, course, request).training
    message = f"decompress: expected eval mode everywhere, in train mode: {training}"
    expect.true(not training, message, "left_in_train_mode")


@check("decompress", timeout=COMPRESS_SECONDS)
def test_one_image_at_a_time(
    student: Student, course: Course, request: pytest.FixtureRequest
) -> None:
    found = rebuilt(student, course, request)
    same = torch.allclose(found.logits[:FEW], found.alone, atol=1e-3, rtol=1e-3)
    message = "the logits of an image depend on the others of its batch, or change between calls"
    expect.true(same, message, "depends_on_the_batch")


@check("decompress", timeout=COMPRESS_SECONDS)
def test_the_same_bytes_give_the_same_network(
    student: Student, course: Course, request: pytest.FixtureRequest
) -> None:
    found = rebuilt(student, course, request)
    for got, what in ((found.again, "called twice"), (found.here, "in two sandboxes")):
        message = f"decompress {what} on the same bytes gives two different networks"
        same = torch.allclose(got, found.alone, atol=1e-2, rtol=1e-2)
        expect.true(same, message, "another_network_each_time")
