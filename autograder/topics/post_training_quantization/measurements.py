"""What to expect of quantized networks, measured on the reference."""

from __future__ import annotations

from types import ModuleType

import torch
from torch.utils.data import DataLoader

from autograder.authoring.calibration import measurement
from autograder.judge.course import Course
from course_utils.data import make_loader

IMAGES = 1000


def some_images(course: Course, seed: int, count: int = 300) -> DataLoader:
    """Return a loader over images that the seed chooses from the training images."""
    images, labels = course.images("train")
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:count]
    return make_loader(images[chosen], labels[chosen], batch_size=100)


def lenet_accuracy(reference: ModuleType, course: Course, seed: int, bits: int) -> float:
    """Return the hidden accuracy of LeNet with `bits` everywhere, weights per channel."""
    loader = some_images(course, seed)
    model = reference.quantize_model(course.checkpoint("lenet"), loader, bits, bits, True)
    return course.hidden_accuracy(model, IMAGES)


@measurement(unit="fraction", margin=0.02)
def lenet_w8a8_accuracy(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy of LeNet, W8A8 per channel, min-max, on 1,000 hidden images."""
    return lenet_accuracy(reference, course, seed, 8)


@measurement(unit="fraction", margin=0.04)
def lenet_w4a4_accuracy(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy of LeNet, W4A4 per channel, min-max, on 1,000 hidden images.

    The margin is wide, because other ways to calibrate are free.
    """
    return lenet_accuracy(reference, course, seed, 4)


def folded_network(reference: ModuleType, course: Course) -> torch.nn.Module:
    """Return the course's BatchNormCNN with its normalisations folded."""
    model = course.checkpoint("batch_norm_cnn")
    for number in (1, 2, 3):
        conv, bn = getattr(model, f"conv{number}"), getattr(model, f"bn{number}")
        setattr(model, f"conv{number}", reference.fold_batch_norm(conv, bn))
        setattr(model, f"bn{number}", torch.nn.Identity())
    return model


@measurement(unit="fraction", margin=0.02)
def mse_gain_at_3_bits(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy of the folded BatchNormCNN at W8A3: MSE calibration minus min-max."""
    model, loader = folded_network(reference, course), some_images(course, seed)
    accuracies = [
        course.hidden_accuracy(reference.quantize_model(model, loader, 8, 3, True, method), IMAGES)
        for method in ("mse", "minmax")
    ]
    return accuracies[0] - accuracies[1]


@measurement(unit="fraction", margin=0.02)
def per_channel_gain_at_4_bits(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy of the folded BatchNormCNN at W4A8: per channel minus per tensor."""
    model, loader = folded_network(reference, course), some_images(course, seed)
    accuracies = [
        course.hidden_accuracy(reference.quantize_model(model, loader, 4, 8, per), IMAGES)
        for per in (True, False)
    ]
    return accuracies[0] - accuracies[1]
