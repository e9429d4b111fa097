"""Small models and small tasks for the checks of this topic."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from course_utils.data import load_images, make_loader
from course_utils.models import LeNet
from course_utils.training import train


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


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of conv and linear layers by parameter name."""
    return {
        f"{name}.weight": layer.weight.detach()
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


def random_masks(model: nn.Module, rng: torch.Generator, keep: float) -> dict[str, Tensor]:
    """Return masks that keep about this fraction of every conv and linear layer."""
    return {
        name: torch.rand(weight.shape, generator=rng) < keep
        for name, weight in prunable(model).items()
    }


def small_network(rng: torch.Generator) -> nn.Sequential:
    """Return a conv net for the images of `stripes`, with batch normalisation."""
    layers = (nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    return redraw(nn.Sequential(*layers), rng)


def stripes(rng: torch.Generator, count: int = 192, batch_size: int = 32) -> DataLoader:
    """Return an easy task: images (count, 1, 6, 6), one bright pair of rows for each class."""
    labels = torch.randint(3, (count,), generator=rng)
    images = 0.5 * torch.randn(count, 1, 6, 6, generator=rng)
    for row in (0, 1):
        images[torch.arange(count), 0, 2 * labels + row] += 1.5
    return make_loader(images, labels, batch_size, shuffle=True)


def mean_loss(model: nn.Module, loader: DataLoader) -> float:
    """Return the mean cross-entropy of `model` over the whole loader."""
    images, labels = loader.dataset.tensors
    with torch.no_grad():
        return float(nn.functional.cross_entropy(copy.deepcopy(model).eval()(images), labels))


@lru_cache(maxsize=1)
def _trained_lenet() -> LeNet:
    images, labels = load_images("train")
    loader = make_loader(images[:1000], labels[:1000], batch_size=50, shuffle=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several threads wait for each other
    try:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return train(LeNet(6, 12, 60), loader, epochs=4, lr=5e-3, progress=False)
    finally:
        torch.set_num_threads(threads)


def trained_lenet() -> LeNet:
    """Return a LeNet of unusual widths (6, 12, 60) that has learnt a little."""
    return copy.deepcopy(_trained_lenet())


def hidden_apoz(model: LeNet, images: Tensor) -> Tensor:
    """Return the APoZ of every neuron of fc1 over the images, float64."""
    outputs: list[Tensor] = []
    handle = model.fc1.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output))
    with torch.no_grad():
        model(images)
    handle.remove()
    return (outputs[0] <= 0).double().mean(dim=0)


def gap_near(values: Tensor, wanted: float) -> float:
    """Return a threshold near `wanted`, in the middle between two different values."""
    levels = values.unique()
    middles = (levels[1:] + levels[:-1]) / 2
    return float(middles[(middles - wanted).abs().argmin()])
