"""What the checks of this topic expect, measured."""

from __future__ import annotations

from types import ModuleType

import torch

from autograder.authoring.calibration import measurement
from autograder.judge.course import Course
from autograder.topics.weight_clustering.toys import HIDDEN_IMAGES, sse


@measurement(unit="fraction", margin=0.01)
def lost_variance(reference: ModuleType, course: Course, seed: int) -> float:
    """Share of conv2's variance that clustering with k = 8 loses; random start but for seed 0."""
    torch.manual_seed(seed)
    values = course.checkpoint("lenet").conv2.weight.detach().flatten()
    codebook, codes = reference.kmeans_1d(values, 8, "random" if seed else "linear")
    return sse(values, codebook, codes) / float((values - values.mean()).double().square().sum())


@measurement(unit="fraction", margin=0.02)
def clustered_eight(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images of the LeNet with k = 8; random start but for seed 0."""
    torch.manual_seed(seed)
    model = course.checkpoint("lenet")
    clusters = {
        name: reference.kmeans_1d(layer.weight, 8, "random" if seed else "linear")
        for name, layer in model.named_children()
    }
    clustered = reference.apply_codebooks(model, clusters)
    return course.hidden_accuracy(clustered, HIDDEN_IMAGES)


@measurement(unit="fraction", margin=0.02)
def tuned_two(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images: k = 2, centroids tuned for one epoch on 4,000 images."""
    torch.manual_seed(seed)
    model = course.checkpoint("lenet")
    loader = course.loader("train", limit=4000, batch_size=64, seed=seed)
    clusters = reference.cluster_weights(model, 2)
    tuned = reference.finetune_codebooks(model, clusters, loader, 1, 1e-3)
    return course.hidden_accuracy(reference.apply_codebooks(model, tuned), HIDDEN_IMAGES)


@measurement(unit="fraction", margin=0.02)
def untuned_two(reference: ModuleType, course: Course, seed: int) -> float:
    """Accuracy on hidden images: k = 2 without any training."""
    model = course.checkpoint("lenet")
    clustered = reference.apply_codebooks(model, reference.cluster_weights(model, 2))
    return course.hidden_accuracy(clustered, HIDDEN_IMAGES)
