"""What to expect of the reference: measured, and written to expected.toml by a command.

Accuracies are fractions of the hidden grading images. Every seed has an order of training images
of its own; the checkpoint is the same for all.
"""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.authoring.calibration import measurement
from course_utils.measures import count_parameters, model_bytes
from course_utils.models import LeNet
from course_utils.speed import compare_model_speed, compare_speed

TRAINING_IMAGES = 12_000
FEW = 3_000  # for figures that need several trainings


def shuffled(course: Any, seed: int, limit: int = TRAINING_IMAGES, batch: int = 64) -> DataLoader:
    """Return a loader over training images, with an order that depends on the seed."""
    torch.manual_seed(seed)
    return course.loader("train", limit=limit, batch_size=batch, seed=seed)


def pruned_accuracy(reference: ModuleType, course: Any, sparsity: float, scope: str) -> float:
    """Return the accuracy of the checkpoint after one cut, without retraining."""
    model = course.checkpoint("lenet")
    reference.prune_weights(model, sparsity, scope)
    return course.hidden_accuracy(model)


def one_layer_accuracy(reference: ModuleType, course: Any, name: str) -> float:
    """Return the accuracy of the checkpoint with 90 % of one layer pruned."""
    loader = course.loader("grading", batch_size=500)
    return reference.sensitivity_scan(course.checkpoint("lenet"), loader, [0.9])[name][0]


def csr_speedup(sparsity: float, seed: int) -> float:
    """Return how much faster CSR is than dense on a 500 x 800 matrix and 64 vectors."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(500, 800, generator=generator)
    dense *= torch.rand(500, 800, generator=generator) >= sparsity
    x = torch.randn(800, 64, generator=generator)
    sparse = dense.to_sparse_csr()
    return compare_speed(lambda: dense @ x, lambda: sparse @ x).ratio


def hidden_layer_apoz(reference: ModuleType, course: Any) -> Tensor:
    """Return the APoZ of each neuron of fc1 of the checkpoint, on the validation images."""
    loader = course.loader("validation", batch_size=500)
    activations = reference.collect_activations(course.checkpoint("lenet"), "fc1", loader)
    return reference.apoz(activations)


def trimmed_accuracy(reference: ModuleType, course: Any, seed: int, reinitialize: bool) -> float:
    """Return the accuracy after one round of `trim` at threshold 0.7 and one epoch."""
    loader = shuffled(course, seed)
    model, _ = reference.trim(course.checkpoint("lenet"), loader, 1, 0.7, reinitialize)
    return course.hidden_accuracy(model)


@measurement(unit="fraction", margin=0.01)
def unpruned_accuracy(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy of the LeNet checkpoint."""
    return course.hidden_accuracy(course.checkpoint("lenet"))


@measurement(unit="fraction", margin=0.02)
def finetune_accuracy(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy at 90 % global sparsity after two epochs on 12,000 images, lr 3e-3."""
    model = course.checkpoint("lenet")
    masks = reference.prune_weights(model, 0.9, "global")
    tuned = reference.finetune_pruned(model, masks, shuffled(course, seed), 2, 3e-3)
    return course.hidden_accuracy(tuned)


@measurement(unit="fraction", margin=0.05)
def short_finetune_accuracy(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy at 95 % global sparsity after one epoch on 2,000 images, batches of 32, lr 5e-3."""
    model = course.checkpoint("lenet")
    masks = reference.prune_weights(model, 0.95, "global")
    loader = shuffled(course, seed, limit=2000, batch=32)
    return course.hidden_accuracy(reference.finetune_pruned(model, masks, loader, 1, 5e-3))


@measurement(unit="fraction", margin=0.02)
def one_shot_global_80(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy at 80 % sparsity, global, without retraining."""
    return pruned_accuracy(reference, course, 0.8, "global")


@measurement(unit="fraction", margin=0.02)
def one_shot_layer_80(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy at 80 % sparsity, layer by layer, without retraining."""
    return pruned_accuracy(reference, course, 0.8, "layer")


@measurement(unit="fraction", margin=0.02)
def sensitivity_conv1_90(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy with 90 % of conv1 pruned, the other layers whole."""
    return one_layer_accuracy(reference, course, "conv1")


@measurement(unit="fraction", margin=0.02)
def sensitivity_fc1_90(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy with 90 % of fc1 pruned, the other layers whole."""
    return one_layer_accuracy(reference, course, "fc1")


@measurement(unit="times", margin=0.2)
def csr_speedup_50(reference: ModuleType, course: Any, seed: int) -> float:
    """Speedup of CSR over dense at 50 % sparsity, 500 x 800 by 64 vectors; below 1: slower."""
    return csr_speedup(0.5, seed)


@measurement(unit="times", margin=1.0)
def csr_speedup_95(reference: ModuleType, course: Any, seed: int) -> float:
    """Speedup of CSR over dense at 95 % sparsity, 500 x 800 by 64 vectors."""
    return csr_speedup(0.95, seed)


@measurement(unit="fraction", margin=0.02)
def mean_apoz_fc1(reference: ModuleType, course: Any, seed: int) -> float:
    """Mean APoZ of fc1 of the checkpoint on the validation images."""
    return hidden_layer_apoz(reference, course).mean().item()


@measurement(unit="neurons", margin=5)
def dead_neurons_fc1(reference: ModuleType, course: Any, seed: int) -> float:
    """Neurons of fc1 that are zero on every validation image, of 500."""
    return float((hidden_layer_apoz(reference, course) == 1).sum())


@measurement(unit="fraction", margin=0.02)
def trim_accuracy_kept(reference: ModuleType, course: Any, seed: int) -> float:
    """Accuracy after one round of trim at threshold 0.7, weights kept."""
    return trimmed_accuracy(reference, course, seed, reinitialize=False)


@measurement(unit="fraction", margin=0.02)
def trim_gap_to_reinitialized(reference: ModuleType, course: Any, seed: int) -> float:
    """How much better kept weights are than fresh ones: one round at 0.7, 3,000 images."""
    accuracies = []
    for reinitialize in (False, True):
        loader = shuffled(course, seed, limit=FEW)
        model, _ = reference.trim(course.checkpoint("lenet"), loader, 1, 0.7, reinitialize)
        accuracies.append(course.hidden_accuracy(model))
    return accuracies[0] - accuracies[1]


@measurement(unit="times", margin=0.02)
def file_ratio_fc1_250(reference: ModuleType, course: Any, seed: int) -> float:
    """File size of the LeNet over that with half of fc1 removed."""
    model = course.checkpoint("lenet")
    small = copy.deepcopy(model)
    small.fc1, small.fc2 = reference.remove_neurons(model.fc1, model.fc2, torch.arange(250))
    return model_bytes(model) / model_bytes(small)


@measurement(unit="times", margin=0.02)
def parameter_ratio_conv2_25(reference: ModuleType, course: Any, seed: int) -> float:
    """Parameters of the LeNet over those with half of conv2's channels removed."""
    return count_parameters(course.checkpoint("lenet")) / count_parameters(LeNet(conv2=25))


@measurement(unit="times", margin=0.3)
def latency_ratio_conv2_25(reference: ModuleType, course: Any, seed: int) -> float:
    """Speedup of removing half of conv2's channels, 64 images, one thread."""
    model = course.checkpoint("lenet")
    small: nn.Module = copy.deepcopy(model)
    keep = torch.arange(0, 50, 2)
    small.conv2, small.fc1 = reference.remove_neurons(model.conv2, model.fc1, keep, spatial=16)
    images, _ = course.images("grading", 64)
    return compare_model_speed(model, small, images).ratio
