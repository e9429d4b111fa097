"""Hidden checks: centroid_gradient, finetune_codebooks, cluster_loss, quantize_codebook."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student, StudentError
from autograder.judge.toys import lived_in, small_network, snapshot, stripes, uniform
from autograder.topics.weight_clustering.toys import Clusters, random_clusters, tuned_weights

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
    got = student.finetune_codebooks(model, clusters, loader, 12, 0.01)
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
    for name, (codebook, codes) in clusters.items():
        codebook = codebook[torch.tensor([2, 0, 3, 3])]
        clusters[name] = (codebook, codes)
    for epochs in (1, 4):
        got = student.finetune_codebooks(model, clusters, loader, epochs, 0.03)
        tuned_weights(got, clusters, f"after {epochs} epochs")


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


# ---------------------------------------------------------------- cluster_loss


def true_loss(weights: Tensor, codebook: Tensor) -> Tensor:
    """Return the lecture's sum."""
    return (weights.flatten()[:, None] - codebook).square().min(1).values.sum()


@check("cluster_loss", gate=True)
def test_sum_of_squared_distances(student: Student, rng: torch.Generator) -> None:
    for count, k in ((7, 2), (50, 4)):
        weights = torch.randn(count, generator=rng)
        codebook = torch.randn(k, generator=rng).sort().values
        got = student.cluster_loss(weights, codebook)
        wanted = true_loss(weights, codebook)
        distances = (weights[:, None] - codebook).abs().min(1).values
        value = expect.number(got, "the loss")
        for other, mistake, text in (
            (wanted / count, "mean", "this is the mean; the lecture's loss is a sum"),
            (distances.sum(), "absolute", "distances are squared, not absolute"),
            (wanted.sqrt(), "root", "no root is taken of the sum"),
        ):
            if abs(value - float(other)) < 1e-4 * float(other):
                fail(f"expected {float(wanted):.5g}, got {value:.5g}: {text}", mistake)
        expect.close(got, wanted, f"the loss of {count} weights, k={k}", atol=1e-5, rtol=1e-4)


@check("cluster_loss", weight=3)
def test_gradient_reaches_the_weights(student: Student, rng: torch.Generator) -> None:
    codebook = torch.tensor([-1.5, -0.25, 0.5, 2.0])
    weights = torch.randn(5, 8, generator=rng).requires_grad_()
    try:
        student.call_and_backward("cluster_loss", weights, codebook)
    except StudentError as problem:
        if "does not require grad" not in problem.message:
            raise
        fail("the loss is cut off from the weights: no gradient", "no_gradient")
    if weights.grad is None:
        fail("no gradient reached the weights", "no_gradient")
    flat = weights.detach()
    nearest = codebook[(flat[..., None] - codebook).abs().argmin(-1)]
    what = "the gradient, 2 (w - nearest centroid)"
    expect.close(weights.grad, 2 * (flat - nearest), what, atol=1e-5, rtol=1e-4)


@check("cluster_loss", weight=2)
def test_codebook_in_any_order(student: Student, rng: torch.Generator) -> None:
    for codebook in ([2.0, -1.0, 0.3], [0.5, 0.5, -2.0, 3.0], [0.7]):
        weights = 2 * torch.randn(40, generator=rng)
        wanted = true_loss(weights, torch.tensor(codebook))
        got = student.cluster_loss(weights, torch.tensor(codebook))
        expect.close(got, wanted, f"codebook {codebook}", atol=1e-5, rtol=1e-4)


@check("cluster_loss")
def test_weights_of_any_shape(student: Student, rng: torch.Generator) -> None:
    for shape in ((3, 4), (4, 2, 3, 3), (1,)):
        weights = torch.randn(shape, generator=rng)
        codebook = torch.tensor([-0.5, 0.1, 0.9, 1.4])
        before = weights.clone(), codebook.clone()
        got = student.cluster_loss(weights=weights, codebook=codebook)
        wanted = true_loss(weights, codebook)
        expect.close(got, wanted, f"weights of shape {shape}", atol=1e-5, rtol=1e-4)
        expect.unchanged(before, (weights, codebook), "weights or codebook")


@check("cluster_loss")
def test_no_distance_no_loss(student: Student, rng: torch.Generator) -> None:
    codebook = torch.tensor([-0.3, 0.2, 1.1])
    weights = codebook[torch.randint(3, (30,), generator=rng)].requires_grad_()
    got = student.call_and_backward("cluster_loss", weights, codebook)
    expect.close(got, 0.0, "all weights lie on centroids: the loss", atol=1e-6)
    flat = torch.zeros(30) if weights.grad is None else weights.grad
    expect.close(flat, torch.zeros(30), "all weights lie on centroids: the gradient", atol=1e-5)


# ---------------------------------------------------------------- quantize_codebook


def on_grid(codebook: Tensor, bits: int) -> Tensor:
    """Return the values rounded to the symmetric grid."""
    scale = float(codebook.abs().max()) / (2 ** (bits - 1) - 1) or 1.0
    return torch.round(codebook / scale) * scale


@check("quantize_codebook", gate=True)
def test_values_lie_on_the_grid(student: Student, rng: torch.Generator) -> None:
    for bits in (8, 4):
        codebook = torch.randn(16, generator=rng).sort().values
        got = student.quantize_codebook(codebook, bits)
        expect.close(got, on_grid(codebook, bits), f"{bits} bits", atol=1e-5)


@check("quantize_codebook", weight=2)
def test_every_width_of_the_grid(student: Student, rng: torch.Generator) -> None:
    for bits in (2, 3, 5, 12, 16):
        for factor in (0.02, 1.0, 50.0):
            codebook = factor * torch.randn(32, generator=rng)
            got = student.quantize_codebook(codebook=codebook, bits=bits)
            what = f"{bits} bits, values around {factor:g}"
            expect.close(got, on_grid(codebook, bits), what, atol=2e-6 * factor, rtol=1e-5)


@check("quantize_codebook", weight=2)
def test_one_sided_codebooks(student: Student, rng: torch.Generator) -> None:
    for sign in (1, -1):
        codebook = sign * (0.1 + torch.rand(9, generator=rng))
        what = f"all values {'positive' if sign > 0 else 'negative'}, 4 bits"
        got = student.quantize_codebook(codebook, 4)
        expect.close(got, on_grid(codebook, 4), what, atol=1e-5)
    codebook = torch.tensor([-2.0, 0.3, 0.9])
    got = student.quantize_codebook(codebook, 3)
    expect.close(got, on_grid(codebook, 3), "the largest magnitude is negative", atol=1e-5)


@check("quantize_codebook")
def test_halves_and_zeros(student: Student) -> None:
    got = student.quantize_codebook(torch.zeros(5), 8)
    expect.close(got, torch.zeros(5), "a codebook of zeros")
    got = student.quantize_codebook(torch.tensor([-3.0, 0.5, 1.5, 2.5]), 3)
    expect.close(got, torch.tensor([-3.0, 0.0, 2.0, 2.0]), "halves at scale 1 go to even")


@check("quantize_codebook")
def test_quantizing_keeps_dtype_and_argument(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.float32, torch.float64):
        codebook = torch.randn(uniform(rng, 3, 20), generator=rng, dtype=dtype)
        before = codebook.clone()
        got = student.quantize_codebook(codebook, 6)
        expect.tensor(got, codebook.shape, dtype, f"the result for a {dtype} codebook")
        expect.unchanged(before, codebook, "codebook")


@check("quantize_codebook", weight=0.5)
def test_quantizing_rejects_impossible_arguments(student: Student) -> None:
    codebook = torch.tensor([-1.0, 0.2, 0.7])
    for bits in (1, 0, 17):
        with expect.value_error(f"bits = {bits}"):
            student.quantize_codebook(codebook, bits)
    codebook[1] = float("nan")
    with expect.value_error("NaN in the codebook"):
        student.quantize_codebook(codebook, 8)
