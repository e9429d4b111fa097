"""The course's data for checks and measurements: what students have, and the hidden images."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.authoring.datasets import load_grading_images
from autograder.judge.preparation import prepared
from course_utils.checkpoints import load_checkpoint
from course_utils.data import SPLITS, load_images, make_loader

HIDDEN_SPLIT = "grading"


class Course:
    """Images, loaders and checkpoints, loaded when first asked for."""

    def checkpoint(self, name: str) -> nn.Module:
        """Return a fresh copy of one of the course's checkpoints, in eval mode."""
        return load_checkpoint(name)

    def images(self, split: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """Return images (N, 1, 28, 28) and labels (N,) of a split.

        Args:
            split: "train", "validation", "test", or "grading", which students never see.
            limit: only the first so many.
        """
        images, labels = _load(split)
        return images[:limit].clone(), labels[:limit].clone()

    def loader(
        self,
        split: str,
        limit: int | None = None,
        batch_size: int = 128,
        seed: int = 0,
        shuffle: bool | None = None,
    ) -> DataLoader:
        """Return a loader over a split; it shuffles the training images unless told otherwise."""
        images, labels = self.images(split, limit)
        shuffled = split == "train" if shuffle is None else shuffle
        return make_loader(images, labels, batch_size=batch_size, shuffle=shuffled, seed=seed)

    def hidden_accuracy(self, model: nn.Module, limit: int | None = None) -> float:
        """Return the accuracy on the hidden images; `model` maps images to logits."""
        images, labels = self.images(HIDDEN_SPLIT, limit)
        with torch.no_grad():
            parts = [model(batch) for batch in images.split(500)]
        return float((torch.cat(parts).argmax(1) == labels).double().mean())


@lru_cache(maxsize=4)
def _load(split: str) -> tuple[Tensor, Tensor]:
    return load_grading_images() if split == HIDDEN_SPLIT else load_images(split)


@prepared
def _unpack_images() -> None:
    for split in (*SPLITS, HIDDEN_SPLIT):
        _load(split)
