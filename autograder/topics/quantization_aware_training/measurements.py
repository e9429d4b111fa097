"""What the checks of this topic expect, measured."""

from __future__ import annotations

from types import ModuleType

import torch

from autograder.authoring.calibration import measurement
from autograder.judge.course import Course
from autograder.topics.quantization_aware_training.toys import (
    HIDDEN_IMAGES,
    folded_checkpoint,
    frozen_grids,
)


def _loader(course: Course, seed: int) -> torch.utils.data.DataLoader:
    torch.manual_seed(seed)
    return course.loader("train", limit=2000, batch_size=64, seed=seed)


@measurement(unit="fraction", margin=0.02)
def after_ptq_two_bits(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images: 2-bit weights, frozen scales, one epoch on 2,000 images."""
    model = folded_checkpoint(course)
    grids = frozen_grids(model, 2)
    tuned = reference.finetune_after_ptq(model, grids, _loader(course, seed), 1, 2e-3)
    return course.hidden_accuracy(tuned, HIDDEN_IMAGES)


@measurement(unit="fraction", margin=0.02)
def ptq_two_bits(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images: the same 2-bit weights before any training."""
    model = folded_checkpoint(course)
    grids = frozen_grids(model, 2)
    rounded = reference.finetune_after_ptq(model, grids, _loader(course, seed), 0, 2e-3)
    return course.hidden_accuracy(rounded, HIDDEN_IMAGES)


@measurement(unit="fraction", margin=0.02)
def qat_three_bits(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images: 3-bit weights, 8-bit inputs, one epoch on 2,000 images."""
    prepared = reference.prepare_qat(folded_checkpoint(course), 3, 8)
    trained = reference.train_qat(prepared, _loader(course, seed), 1, 2e-3)
    return course.hidden_accuracy(trained, HIDDEN_IMAGES)


@measurement(unit="fraction", margin=0.005)
def converted_agreement(reference: ModuleType, course: Course, seed: int) -> float:
    """Share of hidden images that the converted and the fake-quantized model call the same."""
    prepared = reference.prepare_qat(folded_checkpoint(course), 4, 4)
    trained = reference.train_qat(prepared, _loader(course, seed), 1, 1e-3)
    images, _ = course.images("grading", HIDDEN_IMAGES)
    with torch.no_grad():
        first, second = trained(images), reference.convert(trained)(images)
    return float((first.argmax(1) == second.argmax(1)).double().mean())
