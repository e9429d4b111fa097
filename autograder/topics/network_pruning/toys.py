"""Small models and small tasks for the checks of this topic."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.course import Course
from autograder.judge.preparation import prepared
from autograder.judge.toys import prunable
from course_utils.data import make_loader
from course_utils.models import LeNet
from course_utils.training import train


def random_masks(model: nn.Module, rng: torch.Generator, keep: float) -> dict[str, Tensor]:
    """Return masks that keep about this fraction of every conv and linear layer."""
    return {
        name: torch.rand(weight.shape, generator=rng) < keep
        for name, weight in prunable(model).items()
    }


def mean_loss(model: nn.Module, loader: DataLoader) -> float:
    """Return the mean cross-entropy of `model` over the whole loader."""
    images, labels = loader.dataset.tensors
    with torch.no_grad():
        return float(nn.functional.cross_entropy(copy.deepcopy(model).eval()(images), labels))


@prepared
def _trained_lenet() -> LeNet:
    loader = make_loader(*Course().images("train", 1000), batch_size=50, shuffle=True)
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
