"""Fashion-MNIST for the course: a small balanced subset in `data/`, the full set on request."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
MEAN, STD = 0.2860, 0.3530  # of the pixels of the full training set, scaled to [0, 1]
PACKAGE = Path(__file__).resolve().parent
# The wheel for Colab has the data inside the package; everywhere else it lies beside it.
_INSIDE = PACKAGE / "shipped_data"
DATA = _INSIDE if _INSIDE.is_dir() else PACKAGE.parent / "data"
SUBSET = DATA / "fashion_mnist_subset.npz"
CHECKSUMS = "SHA256SUMS"
FULL_SET_VARIABLE = "COURSE_FASHION_MNIST"
SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]
IDX_HEADER_BYTES = {"images": 16, "labels": 8}


def load_images(split: Split = "train", full: bool = False) -> tuple[Tensor, Tensor]:
    """Return the normalised images and the labels of one split.

    The subset holds 12,000 training, 2,000 validation and 2,000 test images, each balanced:
    the first 10 k images of a split hold k of every class.

    Args:
        split: "train", "validation" or "test".
        full: Take the full set instead: 58,000 training images (all but the validation images)
            and 10,000 test images. It is read from the folder that the environment variable
            COURSE_FASHION_MNIST names, or else downloaded once (30 MB).

    Returns:
        Images, float32 (N, 1, 28, 28), with the full training set's mean 0 and deviation 1,
        and labels, int64 (N,), in 0..9 (see `CLASS_NAMES`).

    Raises:
        ValueError: If the split is unknown, or the file is not the one the course ships.
        FileNotFoundError: If a file is missing.

    Source:
        Xiao et al. 2017, Fashion-MNIST: a Novel Image Dataset for Benchmarking ML Algorithms.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if not full or split == "validation":
        arrays = _subset_arrays(split)
        return normalise(arrays["images"], arrays["labels"])
    images, labels = read_full_set("train" if split == "train" else "t10k")
    if split == "train":
        keep = np.ones(len(labels), dtype=bool)
        keep[_subset_arrays("validation")["indices"]] = False
        images, labels = images[keep], labels[keep]
    return normalise(images, labels)


def make_loader(
    images: Tensor, labels: Tensor, batch_size: int = 128, shuffle: bool = False, seed: int = 0
) -> DataLoader:
    """Return a loader over tensors that takes a batch with one index operation.

    It is an ordinary `DataLoader`, several times faster than one that collates single images.

    Args:
        images: (N, ...).
        labels: (N,).
        batch_size: Images per batch, at least 1. The last batch may be smaller.
        shuffle: Whether every epoch has an order of its own.
        seed: Of these orders. The same seed gives the same sequence of epochs.

    Raises:
        ValueError: If there are not as many labels as images, or the batch size is not positive.
    """
    if len(images) != len(labels):
        raise ValueError(
            f"images and labels must have the same length; got {len(images)} and {len(labels)}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    return DataLoader(
        _BatchedTensors(images, labels),
        batch_size=batch_size,
        # Shuffling no images is an error in torch; there is nothing to shuffle.
        shuffle=shuffle and len(images) > 0,
        generator=torch.Generator().manual_seed(seed),
        collate_fn=_as_it_is,
    )


def load(
    split: Split,
    batch_size: int = 128,
    shuffle: bool | None = None,
    limit: int | None = None,
    seed: int = 0,
    full: bool = False,
) -> DataLoader:
    """Return a loader over one split.

    Args:
        split: "train", "validation" or "test".
        batch_size: Images per batch, at least 1.
        shuffle: None shuffles the training images only.
        limit: Take only the first so many images, at least 1. They are balanced.
        seed: Of the shuffling.
        full: Take the full set; see `load_images`.

    Raises:
        ValueError: If the split is unknown, or a number cannot be.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, or None for all images; got {limit}")
    images, labels = load_images(split, full)
    shuffled = split == "train" if shuffle is None else shuffle
    return make_loader(images[:limit], labels[:limit], batch_size, shuffled, seed)


def normalise(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Turn uint8 images (N, 28, 28) and labels (N,) into the tensors of `load_images`."""
    scaled = torch.tensor(images).to(torch.float32).div_(255).sub_(MEAN).div_(STD)
    return scaled.unsqueeze(1), torch.tensor(labels, dtype=torch.int64)


def read_full_set(part: Literal["train", "t10k"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the full set's images, uint8 (N, 28, 28), and labels, uint8 (N,).

    Args:
        part: "train" (60,000 images) or "t10k" (10,000).

    Raises:
        FileNotFoundError: If COURSE_FASHION_MNIST names a folder without the IDX files.
    """
    folder = os.environ.get(FULL_SET_VARIABLE)
    root = Path(folder) if folder else _downloaded()
    images = _idx_payload(root, f"{part}-images-idx3-ubyte", IDX_HEADER_BYTES["images"])
    labels = _idx_payload(root, f"{part}-labels-idx1-ubyte", IDX_HEADER_BYTES["labels"])
    return images.reshape(-1, 28, 28), labels


def read_checked(path: Path, root: Path = DATA) -> bytes:
    """Return the bytes of a file after comparing them with the checksum the course ships.

    Args:
        path: Somewhere below `root`.
        root: The folder with the list `SHA256SUMS`.

    Raises:
        FileNotFoundError: If the file or the list is missing.
        ValueError: If the file is not in the list, or is not what it was.
    """
    mend = f"get the folder {root.name}/ of the course again (`git checkout -- {root.name}`)"
    for wanted in (path, root / CHECKSUMS):
        if not wanted.is_file():
            raise FileNotFoundError(f"{wanted} is missing; {mend}")
    content = path.read_bytes()
    lines = (root / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    name = path.relative_to(root).as_posix()
    if sums.get(name) != hashlib.sha256(content).hexdigest():
        raise ValueError(f"{path} does not match its checksum in {CHECKSUMS}; {mend}")
    return content


class _BatchedTensors(TensorDataset):
    """A TensorDataset from which torch takes a whole batch at once."""

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        chosen = torch.tensor(indices)
        return tuple(tensor[chosen] for tensor in self.tensors)


def _as_it_is(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return batch


@lru_cache(maxsize=1)
def _subset_bytes() -> bytes:
    return read_checked(SUBSET)


def _subset_arrays(split: str) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(_subset_bytes())) as arrays:
        return {kind: arrays[f"{split}_{kind}"] for kind in ("images", "labels", "indices")}


def _idx_payload(folder: Path, name: str, header_bytes: int) -> np.ndarray:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            return np.frombuffer(content, dtype=np.uint8, offset=header_bytes)
    raise FileNotFoundError(
        f"no {name} or {name}.gz in {folder}; let {FULL_SET_VARIABLE} name the folder with the "
        "four IDX files, or unset it to download them"
    )


def _downloaded() -> Path:
    """Return the folder of the IDX files that torchvision fetches, fetched if need be."""
    from torchvision.datasets import FashionMNIST  # takes a second to import, rarely needed

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fashion_mnist"
    FashionMNIST(str(cache), train=True, download=True)
    return cache / "FashionMNIST" / "raw"
