"""What the checks of this topic expect, measured."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

import torch

from autograder.authoring.calibration import measurement
from autograder.judge.course import Course
from autograder.topics.combining_techniques.challenge import IMAGES_IN_BATCH, LENET_BYTES

POINTS_THAT_MAY_BE_LOST = 0.01


@measurement(unit="fraction", margin=0.0)
def accuracy_floor(reference: ModuleType, course: Course, seed: int) -> float:
    """Floor of the byte challenge: LeNet's accuracy on the hidden images less one point."""
    return course.hidden_accuracy(course.checkpoint("lenet")) - POINTS_THAT_MAY_BE_LOST


@lru_cache(maxsize=16)
def _blob(reference: ModuleType, course: Course, seed: int) -> bytes:
    torch.manual_seed(seed)
    loader = course.loader("train", batch_size=IMAGES_IN_BATCH, seed=seed)
    return reference.compress(course.checkpoint("lenet"), loader)


@measurement(unit="fraction", margin=0.005)
def challenge_accuracy(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy of the reference's rebuilt network on the hidden images."""
    return course.hidden_accuracy(reference.decompress(_blob(reference, course, seed)))


@measurement(unit="times smaller, without code", margin=2.0)
def challenge_ratio(reference: ModuleType, course: Course, seed: int) -> float:
    """Bytes of LeNet's file over bytes of the reference's blob."""
    return LENET_BYTES / len(_blob(reference, course, seed))


def _few(course: Course, seed: int, limit: int) -> torch.utils.data.DataLoader:
    torch.manual_seed(seed)
    return course.loader("train", limit=limit, batch_size=50, seed=seed)


@measurement(unit="fraction", margin=0.02)
def pruned_only(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on 1,000 hidden images: LeNet, 90 % of each layer pruned, no training."""
    lenet, loader = course.checkpoint("lenet"), _few(course, seed, 500)
    pruned = reference.prune_then_distill(lenet, lenet, loader, 0.9, 0, 1.0, 0.3, 2e-3)
    return course.hidden_accuracy(pruned, 1000)


@measurement(unit="fraction", margin=0.02)
def pruned_and_distilled(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on 1,000 hidden images: the same after two epochs on 1,500 images."""
    lenet, loader = course.checkpoint("lenet"), _few(course, seed, 1500)
    pruned = reference.prune_then_distill(lenet, lenet, loader, 0.9, 2, 1.0, 0.3, 2e-3)
    return course.hidden_accuracy(pruned, 1000)


@measurement(unit="fraction", margin=0.02)
def clustered(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on 1,000 hidden images: LeNet, 8 bits, k = 16, no training."""
    lenet, loader = course.checkpoint("lenet"), _few(course, seed, 500)
    model = reference.quantize_and_cluster(lenet, loader, 16, 8, 0, 1e-3)
    return course.hidden_accuracy(model, 1000)
