"""Small teachers, students and tasks for the checks of this topic."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from course_utils.data import make_loader
from course_utils.models import BatchNormCNN

SIDE = 4
CLASSES = 3


def moody_teacher(rng: torch.Generator) -> nn.Sequential:
    """Return a teacher that says other things in train mode: it has batch norm and dropout.

    It takes images (N, 1, 4, 4) and knows 3 classes. Its running statistics are far from those
    of images with mean 0 and deviation 1.
    """
    pixels = SIDE * SIDE
    norm = nn.BatchNorm1d(pixels)
    norm.running_mean = 1.5 * torch.randn(pixels, generator=rng)
    norm.running_var = 0.3 + torch.rand(pixels, generator=rng)
    last = nn.Linear(pixels, CLASSES)
    with torch.no_grad():
        last.weight.copy_(torch.randn(last.weight.shape, generator=rng))
        last.bias.copy_(torch.randn(CLASSES, generator=rng))
        # Every class wins at some images: the mean logits are equal.
        last.bias -= last(-norm.running_mean / norm.running_var.sqrt())
    return nn.Sequential(nn.Flatten(), norm, nn.Dropout(0.5), last)


def small_teacher(rng: torch.Generator) -> BatchNormCNN:
    """Return a small batch-norm network with statistics and weights of its own."""
    model = BatchNormCNN((3, 4, 5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=rng))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.abs_()
                module.running_mean = 0.4 * torch.randn(module.num_features, generator=rng)
                module.running_var = 0.5 + torch.rand(module.num_features, generator=rng)
    return model.eval()


def noise_task(rng: torch.Generator, count: int = 96, batch_size: int = 32) -> DataLoader:
    """Return random images (count, 1, 4, 4) with labels that nobody can guess."""
    images = torch.randn(count, 1, SIDE, SIDE, generator=rng)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    return make_loader(images, labels, batch_size, shuffle=True)


def fixed_teacher(logits: list[float], side: int = SIDE) -> nn.Sequential:
    """Return a teacher that gives every image the same logits."""
    layer = nn.Linear(side * side, len(logits))
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(logits))
    return nn.Sequential(nn.Flatten(), layer).eval()


def bias_only(classes: int = CLASSES) -> nn.Sequential:
    """Return a student that is blind: it averages the two pixels of an image and gets 0.

    Use it with `blind_task`; only its bias can learn.
    """
    student = nn.Sequential(nn.AvgPool2d((1, 2)), nn.Flatten(), nn.Linear(1, classes))
    for parameter in student.parameters():
        nn.init.zeros_(parameter)
    return student


def blind_task(label: int, batch_size: int = 8, batches: int = 8) -> DataLoader:
    """Return images of two pixels, half [1, -1] and half [-1, 1], all with one label."""
    images = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(batch_size * batches // 2, 1)
    labels = torch.full((len(images),), label)
    return make_loader(images.reshape(-1, 1, 1, 2), labels, batch_size)


def two_pixel_teacher(size: float) -> nn.Sequential:
    """Return a teacher of `blind_task`: logits [size, 0, 0] or [0, size, 0], half and half."""
    layer = nn.Linear(2, CLASSES)
    with torch.no_grad():
        half = size / 4
        layer.weight.copy_(torch.tensor([[half, -half], [-half, half], [0.0, 0.0]]))
        layer.bias.copy_(torch.tensor([size / 2, size / 2, 0.0]))
    return nn.Sequential(nn.Flatten(), layer).eval()
