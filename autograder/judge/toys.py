"""Small models and small tasks that the checks of several topics share.

A check uses these beside the course's own networks: they train in a fraction of a second, and no
answer can have been tuned to them.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from course_utils.data import make_loader


def uniform(rng: torch.Generator, low: int, high: int) -> int:
    """Return a random whole number in low .. high - 1."""
    return int(torch.randint(low, high, (), generator=rng))


def redraw(model: nn.Module, rng: torch.Generator) -> nn.Module:
    """Give every parameter of `model` random values: biases and norm layers too."""
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / fan_in**0.5)
    return model


def lived_in(model: nn.Module, rng: torch.Generator) -> nn.Module:
    """Give `model` what a caller's model may have: gradients, and submodules in mixed modes."""
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=rng).to(parameter.dtype)
    for position, module in enumerate(model.modules()):
        module.training = position % 2 == 0
    return model


def snapshot(model: nn.Module) -> nn.Module:
    """Return a deep copy that keeps the gradients, which `copy.deepcopy` drops."""
    twin = copy.deepcopy(model)
    for mine, parameter in zip(twin.parameters(), model.parameters(), strict=True):
        mine.grad = None if parameter.grad is None else parameter.grad.clone()
    return twin


def eval_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of a copy in eval mode."""
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images)


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of conv and linear layers by parameter name."""
    return {
        f"{name}.weight": layer.weight.detach()
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


def small_network(rng: torch.Generator, *, batch_norm: bool = False) -> nn.Sequential:
    """Return a conv net for the images of `stripes`."""
    norm = [nn.BatchNorm2d(6)] if batch_norm else []
    layers = (nn.Conv2d(1, 6, 3), *norm, nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    return redraw(nn.Sequential(*layers), rng)


def stripes(rng: torch.Generator, count: int = 192, batch_size: int = 32) -> DataLoader:
    """Return an easy task: images (count, 1, 6, 6), one bright pair of rows for each class."""
    labels = torch.randint(3, (count,), generator=rng)
    images = 0.5 * torch.randn(count, 1, 6, 6, generator=rng)
    for row in (0, 1):
        images[torch.arange(count), 0, 2 * labels + row] += 1.5
    return make_loader(images, labels, batch_size, shuffle=True)
