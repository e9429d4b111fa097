"""What to expect of the reference: measured by `autograder calibrate knowledge_distillation`."""

from __future__ import annotations

from types import ModuleType

import torch

from autograder.authoring.calibration import measurement
from autograder.judge.course import Course
from course_utils.data import make_loader
from course_utils.models import MLP


@measurement(unit="fraction", margin=0.02)
def accuracy_without_labels(reference: ModuleType, course: Course, seed: int) -> float:
    """Hidden accuracy of an MLP taught by the CNN for 6 epochs on 600 images, labels shuffled."""
    torch.manual_seed(seed)
    images, labels = course.images("train", 600)
    labels = labels[torch.randperm(600)]
    loader = make_loader(images, labels, batch_size=50, shuffle=True, seed=seed)
    teacher = course.checkpoint("batch_norm_cnn")
    model = reference.distill(MLP((32,)), teacher, loader, 6, 2.0, 0.1, 5e-3)
    return course.hidden_accuracy(model, 1000)
