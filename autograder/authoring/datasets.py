"""Builds the course's data from the full Fashion-MNIST: the students' subset, the hidden images.

The same input gives the same bytes, so `git diff` tells whether anything changed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from autograder.settings import GRADING_DATA
from course_utils.data import CHECKSUMS, DATA, SUBSET, normalise, read_checked, read_full_set

SEED = 20170825  # the day on which Fashion-MNIST appeared
NUM_CLASSES = 10
# Images per class. The parts that come from the same file are disjoint.
FROM_TRAIN = {"train": 1200, "validation": 200}
FROM_TEST = {"test": 200, "grading": 400}
GRADING_IMAGES = GRADING_DATA / "fashion_mnist_grading.npz"
CHECKED_SUFFIXES = (".json", ".npz", ".safetensors")
# Of images and labels together, as uint8 without headers.
SOURCE_SHA256 = {
    "train": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
    "t10k": "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
}

Arrays = dict[str, np.ndarray]


def build_datasets() -> list[Path]:
    """Write the students' subset and the grading images, and the lists of checksums.

    The full set is read from the folder that COURSE_FASHION_MNIST names, or else downloaded.

    Returns:
        The files written.

    Raises:
        ValueError: If the full set is not the original one.
    """
    from_train = _choose("train", FROM_TRAIN)
    from_test = _choose("t10k", FROM_TEST)
    grading = {key: value for key, value in from_test.items() if key.startswith("grading_")}
    rest = {key: value for key, value in from_test.items() if key not in grading}
    write_npz(SUBSET, from_train | rest)
    write_npz(GRADING_IMAGES, grading)
    return [SUBSET, GRADING_IMAGES, write_checksums(DATA), write_checksums(GRADING_DATA)]


@lru_cache(maxsize=1)
def load_grading_images() -> tuple[Tensor, Tensor]:
    """Return the hidden images (4000, 1, 28, 28) and labels (4000,), as `load_images` does.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it does not match its checksum.
    """
    with np.load(io.BytesIO(read_checked(GRADING_IMAGES, GRADING_DATA))) as arrays:
        return normalise(arrays["grading_images"], arrays["grading_labels"])


def balanced_parts(labels: np.ndarray, per_class: dict[str, int], seed: int) -> Arrays:
    """Choose disjoint parts with equally many images of every class.

    Args:
        labels: (N,), in 0..9.
        per_class: Images per class, by name of the part.
        seed: Of the choice and of the order.

    Returns:
        By name of the part: positions, uint16. Among the first 10 k of them, k of every class.

    Raises:
        ValueError: If a class has too few images.
    """
    # RandomState, because numpy promises that its numbers never change.
    random = np.random.RandomState(seed)
    shuffled = [random.permutation(np.flatnonzero(labels == c)) for c in range(NUM_CLASSES)]
    fewest, needed = min(map(len, shuffled)), sum(per_class.values())
    if fewest < needed:
        raise ValueError(f"a class has {fewest} images, {needed} are needed; lower per_class")
    parts, start = {}, 0
    for name, count in per_class.items():
        rounds = np.stack([positions[start : start + count] for positions in shuffled], axis=1)
        order = np.stack([random.permutation(NUM_CLASSES) for _ in range(count)])
        chosen = np.take_along_axis(rounds, order, axis=1)  # (count, 10)
        parts[name] = chosen.reshape(-1).astype(np.uint16)
        start += count
    return parts


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write a compressed npz whose bytes depend on the arrays only, not on the clock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0))
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # the same on every system
            archive.writestr(entry, content.getvalue(), compresslevel=9)


def write_checksums(folder: Path) -> Path:
    """Write the SHA-256 sums of a folder's data files, in the form of `sha256sum`."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in CHECKED_SUFFIXES)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    listing = folder / CHECKSUMS
    listing.write_text("".join(lines), encoding="utf-8", newline="\n")
    return listing


def _choose(source: Literal["train", "t10k"], per_class: dict[str, int]) -> Arrays:
    images, labels = read_full_set(source)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if digest != SOURCE_SHA256[source]:
        raise ValueError(
            f"the full set's {source!r} files are not the original ones (SHA-256 {digest}); "
            "get them again from https://github.com/zalandoresearch/fashion-mnist"
        )
    arrays: Arrays = {}
    for name, positions in balanced_parts(labels, per_class, SEED).items():
        arrays[f"{name}_images"] = images[positions]
        arrays[f"{name}_labels"] = labels[positions]
        arrays[f"{name}_indices"] = positions
    return arrays
