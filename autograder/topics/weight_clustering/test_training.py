"""Hidden checks: centroid_gradient and finetune_codebooks."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, small_network, snapshot, stripes
from autograder.topics.weight_clustering.toys import Clusters, random_clusters, tuned_weights
from course_utils.data import make_loader

# ---------------------------------------------------------------- centroid_gradient


def group_sums(gradient: Tensor, codes: Tensor, k: int) -> Tensor:
    """Return the sum for each code."""
    return torch.stack([gradient[codes == code].sum() for code in range(k)])


@check("centroid_gradient", gate=True)
def test_gradients_add_up(student: Student, rng: torch.Generator) -> None:
    gradient = torch.randn(40, generator=rng)
    codes = torch.arange(40) % 4
    got = expect.tensor(student.centroid_gradient(gradient, codes, 4), (4,))
    wanted = group_sums(gradient, codes, 4)
    if torch.allclose(got.detach(), wanted / 10, atol=1e-5):
        fail("these are means: all weights of a cluster move together, so gradients add up", "mean")
    expect.close(got, wanted, "the gradient of the centroids", atol=1e-5)


@check("centroid_gradient", weight=2)
def test_clusters_of_different_sizes(student: Student, rng: torch.Generator) -> None:
    codes = torch.tensor([0] * 1 + [1] * 30 + [2] * 4 + [3] * 11)
    codes = codes[torch.randperm(len(codes), generator=rng)]
    gradient = torch.randn(len(codes), generator=rng) + 0.5
    got = student.centroid_gradient(weight_gradient=gradient, codes=codes, k=4)
    expect.close(got, group_sums(gradient, codes, 4), "clusters of 1, 30, 4, 11 weights", atol=1e-5)


@check("centroid_gradient", weight=2)
def test_empty_clusters_have_no_gradient(student: Student, rng: torch.Generator) -> None:
    codes = torch.tensor([1, 3, 3, 1, 4])
    gradient = torch.randn(5, generator=rng)
    got = student.centroid_gradient(gradient, codes, 7)
    expect.close(got, group_sums(gradient, codes, 7), "k=7, only codes 1, 3, 4 occur", atol=1e-6)


@check("centroid_gradient")
def test_gradients_of_any_shape(student: Student, rng: torch.Generator) -> None:
    for shape in ((6, 5), (4, 3, 2, 2)):
        gradient, codes = torch.randn(shape, generator=rng), torch.randint(3, shape, generator=rng)
        before = gradient.clone(), codes.clone()
        got = student.centroid_gradient(gradient, codes, 3)
        expect.close(got, group_sums(gradient, codes, 3), f"shape {shape}", atol=1e-5)
        expect.unchanged(before, (gradient, codes), "weight_gradient or codes")


@check("centroid_gradient", weight=0.5)
def test_gradient_keeps_the_dtype(student: Student, rng: torch.Generator) -> None:
    codes = torch.randint(3, (20,), generator=rng)
    for dtype in (torch.float64, torch.float32):
        gradient = torch.randn(20, generator=rng, dtype=dtype)
        got = student.centroid_gradient(gradient, codes, 3)
        expect.tensor(got, (3,), dtype, f"the result for a {dtype} gradient")


@check("centroid_gradient", weight=0.5)
def test_no_clusters_are_rejected(student: Student, rng: torch.Generator) -> None:
    for k in (0, -1):
        with expect.value_error(f"k = {k}"):
            student.centroid_gradient(torch.randn(4, generator=rng), torch.zeros(4).long(), k)


# ---------------------------------------------------------------- finetune_codebooks


def loss_of(model: nn.Module, loader: DataLoader) -> float:
    """Return the cross-entropy over all images."""
    images, labels = loader.dataset.tensors
    with torch.no_grad():
        return float(F.cross_entropy(copy.deepcopy(model).eval()(images), labels))


def with_weights(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Return a copy with these weights."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in weights.items():
            twin.get_submodule(name).weight.copy_(weight)
    return twin


def untuned(clusters: Clusters) -> dict[str, Tensor]:
    """Return the weights before fine-tuning."""
    return {name: codebook[codes] for name, (codebook, codes) in clusters.items()}


def tuned_loss(model: nn.Module, got: Any, weights: dict[str, Tensor], loader: DataLoader) -> float:
    """Return the loss of the result: of the model if there is one, which may hold new biases."""
    parts = got if isinstance(got, tuple | list) else [got]
    models = [part for part in parts if isinstance(part, nn.Module)]
    return loss_of(models[0] if models else with_weights(model, weights), loader)


def task(rng: torch.Generator, k: int = 6) -> tuple[nn.Module, Clusters, DataLoader]:
    """Return a network, clusters without any sense for it, and the task of `stripes`."""
    model = small_network(rng)
    clusters = {
        name: (codebook / model.get_submodule(name).weight[0].numel() ** 0.5, codes)
        for name, (codebook, codes) in random_clusters(model, k, rng).items()
    }
    return model, clusters, stripes(rng)


@check("finetune_codebooks", gate=True)
def test_codes_stay_and_centroids_move(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    before = untuned(clusters)
    got = student.finetune_codebooks(model, clusters, loader, 2, 0.01)
    weights = tuned_weights(got, clusters, "after 2 epochs")
    for name, start in before.items():
        if torch.allclose(weights[name], start, atol=1e-5):
            fail(f"layer {name}: its centroids did not move", "one_layer_only")


@check("finetune_codebooks", weight=3)
def test_the_loss_falls(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    before = loss_of(with_weights(model, untuned(clusters)), loader)
    got = student.finetune_codebooks(model, clusters, loader, 12, 0.03)
    weights = tuned_weights(got, clusters, "after 12 epochs")
    after = tuned_loss(model, got, weights, loader)
    if not after < 0.9 * before:
        fail(
            f"12 epochs on a toy task: the loss was {before:.3f} and is {after:.3f}; expected a "
            "clear fall. Does the gradient add up over each cluster, and does every step change "
            "the weights?"
        )


@check("finetune_codebooks", weight=2)
def test_codes_never_change(student: Student, rng: torch.Generator) -> None:
    # Centroids out of order, and two that are equal: whoever assigns anew gets other codes.
    model, clusters, loader = task(rng, k=4)
    # One codebook is longer: k is a matter of each layer.
    for name, order in (("0", [2, 0, 3, 3]), ("3", [2, 0, 3, 3, 1, 1])):
        codebook, codes = clusters[name]
        clusters[name] = (codebook[torch.tensor(order)], codes)
    for epochs in (1, 4):
        got = student.finetune_codebooks(model, clusters, loader, epochs, 0.03)
        tuned_weights(got, clusters, f"after {epochs} epochs")


@check("finetune_codebooks")
def test_epochs_and_learning_rate_of_tuning_count(student: Student, rng: torch.Generator) -> None:
    model, clusters, _ = task(rng)
    loader = stripes(rng, count=64)
    start = untuned(clusters)

    def distance(epochs: int, lr: float) -> float:
        got = student.finetune_codebooks(model, copy.deepcopy(clusters), loader, epochs, lr)
        weights = tuned_weights(got, clusters, f"epochs={epochs}, lr={lr}")
        return sum(float((weights[name] - start[name]).abs().sum()) for name in start)

    usual = distance(1, 1e-3)
    message = "ten times the epochs moved the centroids no further: are all epochs trained?"
    expect.true(distance(10, 1e-3) > 1.3 * usual, message)
    message = "a learning rate 100 times smaller moved the centroids as far: is `lr` used?"
    expect.true(distance(1, 1e-5) < 0.3 * usual, message)


@check("finetune_codebooks")
def test_tuning_uses_every_batch(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    part = {"0": clusters["0"]}
    images, labels = (tensor[:64] for tensor in loader.dataset.tensors)
    images = images.clone()
    # Black images say nothing about the first layer: only the two batches in the middle count.
    images[:16] = images[48:] = 0
    start, loader = untuned(part)["0"], make_loader(images, labels, 16)
    got = student.finetune_codebooks(model, part, loader, 3, 0.01)
    moved = (tuned_weights(got, part, "four batches")["0"] - start).abs().mean()
    message = "of four batches only the second and third say something, and nothing was learnt"
    expect.true(float(moved) > 1e-5, f"{message}: is every batch used?")


@check("finetune_codebooks")
def test_only_the_centroids_learn(student: Student) -> None:
    # The input never changes, so biases or the next layer could learn the task as well. What they
    # learn is lost: the clusters hold only centroids.
    model = nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[1].weight.copy_(torch.eye(3))
    labels = torch.tensor([0] * 42 + [1] * 12 + [2] * 6)
    loader = make_loader(torch.full((60, 1), 0.5), labels, 60)
    clusters = {"0": (torch.zeros(3), torch.arange(3).reshape(3, 1))}
    got = student.finetune_codebooks(model, clusters, loader, 60, 0.3)
    weights = tuned_weights(got, clusters, "one layer of three weights")
    shares = torch.tensor([0.7, 0.2, 0.1])
    best, start = float(-(shares * shares.log()).sum()), math.log(3)
    loss = tuned_loss(model, got, weights, loader)
    if not loss < best + 0.4 * (start - best):
        fail(
            f"a toy task: with the trained centroids the loss is {loss:.3f}, it was {start:.3f} "
            f"and could be {best:.3f}. Is it the cross-entropy that falls, and do only the "
            "centroids learn, no biases and no other layers?"
        )


@check("finetune_codebooks", weight=2)
def test_without_epochs_nothing_changes(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    got = student.finetune_codebooks(model, clusters, loader, 0, 0.01)
    weights = tuned_weights(got, clusters, "epochs=0")
    for name, start in untuned(clusters).items():
        expect.close(weights[name], start, f"epochs=0, layer {name}: codebook[codes]", atol=1e-6)


@check("finetune_codebooks")
def test_some_layers_only(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    for name in list(clusters):
        part = {name: clusters[name]}
        got = student.finetune_codebooks(model, part, loader, 2, 0.01)
        weights = tuned_weights(got, part, f"clusters for layer {name} only")
        if torch.allclose(weights[name], untuned(part)[name], atol=1e-5):
            fail(f"clusters for layer {name} only: its centroids did not move")


@check("finetune_codebooks", weight=2)
def test_tuning_leaves_its_arguments(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    model = lived_in(model, rng)
    before, given = snapshot(model), copy.deepcopy(clusters)
    for epochs in (0, 1):
        arguments = {"loader": loader, "epochs": epochs, "lr": 0.01}
        student.finetune_codebooks(model=model, clusters=clusters, **arguments)
        expect.unchanged(before, model, "the caller's model", "changes_the_model")
        expect.unchanged(given, clusters, "clusters", "changes_the_clusters")


@check("finetune_codebooks", weight=0.5)
def test_tuning_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model, clusters, loader = task(rng)
    with expect.value_error("clusters for 'conv9', which the model does not have"):
        student.finetune_codebooks(model, {**clusters, "conv9": clusters["0"]}, loader, 1, 0.01)
    with expect.value_error("epochs = -1"):
        student.finetune_codebooks(model, clusters, loader, -1, 0.01)
    for lr in (0, -0.1):
        with expect.value_error(f"lr = {lr}"):
            student.finetune_codebooks(model, clusters, loader, 1, lr)
