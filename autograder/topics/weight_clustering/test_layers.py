"""Hidden checks: cluster_weights and apply_codebooks."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import eval_logits, lived_in, redraw, small_network, snapshot
from autograder.topics.weight_clustering.toys import (
    HIDDEN_IMAGES,
    Clusters,
    expect_means,
    expect_nearest,
    random_clusters,
    read,
)
from course_utils.models import BatchNormCNN, LeNet


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the conv and linear layers by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


def read_all(got: Any, model: nn.Module, k: int) -> Clusters:
    """Expect clusters of every conv and linear layer, and of no other."""
    if not isinstance(got, dict):
        fail(f"expected a dictionary, layer name -> (codebook, codes), got {describe(got)}")
    layers = layers_of(model)
    if set(got) != set(layers):
        fail(f"expected the layers {sorted(layers)}, got {sorted(map(str, got))}")
    return {
        name: read(got[name], layer.weight, k, f"layer {name}") for name, layer in layers.items()
    }


# ---------------------------------------------------------------- cluster_weights


@check("cluster_weights", gate=True)
def test_every_layer_is_clustered(student: Student, rng: torch.Generator) -> None:
    model = redraw(LeNet(3, 4, 9), rng)
    clusters = read_all(student.cluster_weights(model, 4), model, 4)
    for name, layer in layers_of(model).items():
        codebook, codes = clusters[name]
        lost = (layer.weight - codebook[codes]).square().sum() / layer.weight.var()
        share = float(lost.detach()) / layer.weight.numel()
        if share > 0.35:
            fail(f"layer {name}, k=4: codebook[codes] loses {share:.0%} of the variance")


@check("cluster_weights", weight=2)
def test_each_layer_has_its_own_codebook(student: Student, rng: torch.Generator) -> None:
    model = redraw(nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10)), rng)
    with torch.no_grad():
        model[0].weight.mul_(100).add_(7)
    clusters = read_all(student.cluster_weights(model, 5), model, 5)
    for name, layer in layers_of(model).items():
        what = f"two layers of very different size, layer {name}"
        expect_nearest(layer.weight, *clusters[name], what)
        expect_means(layer.weight, *clusters[name], what)


@check("cluster_weights")
def test_deep_inside_and_other_kinds(student: Student, rng: torch.Generator) -> None:
    inner = nn.Sequential(nn.Sequential(nn.Linear(12, 6)), nn.ReLU())
    conv = nn.Conv2d(2, 3, (1, 3), bias=False)
    model = redraw(nn.Sequential(conv, nn.BatchNorm2d(3), nn.Flatten(), inner), rng)
    read_all(student.cluster_weights(model, 3), model, 3)
    other = redraw(BatchNormCNN((3, 4, 5)), rng)
    read_all(student.cluster_weights(other, 2), other, 2)


@check("cluster_weights")
def test_a_layer_with_few_distinct_weights(student: Student, rng: torch.Generator) -> None:
    model = redraw(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), rng)
    clusters = read_all(student.cluster_weights(model, 20), model, 20)
    for name, layer in layers_of(model).items():
        codebook, codes = clusters[name]
        weight = layer.weight.detach()
        expect.close(codebook[codes], weight, f"layer {name}, k=20: codebook[codes]", atol=1e-6)


@check("cluster_weights")
def test_clustering_leaves_the_model(student: Student, rng: torch.Generator) -> None:
    model = lived_in(small_network(rng, batch_norm=True), rng)
    before = snapshot(model)
    student.cluster_weights(model=model, k=4)
    expect.unchanged(before, model, "the model", "changes_the_model")


@check("cluster_weights", weight=0.5)
def test_clustering_keeps_the_dtype(student: Student, rng: torch.Generator) -> None:
    for dtype in (torch.float64, torch.float32):
        model = small_network(rng).to(dtype)
        for name, (codebook, _) in read_all(student.cluster_weights(model, 3), model, 3).items():
            if codebook.dtype != dtype:
                fail(f"layer {name}: {dtype} weights have a {dtype} codebook, got {codebook.dtype}")


@check("cluster_weights", weight=0.5)
def test_clustering_rejects_no_clusters(student: Student, rng: torch.Generator) -> None:
    for k in (0, -1):
        with expect.value_error(f"k = {k}"):
            student.cluster_weights(small_network(rng), k)


@check("cluster_weights")
def test_accuracy_of_the_clustered_lenet(
    student: Student, course: Course, expected: SimpleNamespace
) -> None:
    model = course.checkpoint("lenet")
    clusters = read_all(student.cluster_weights(model, 8), model, 8)
    with torch.no_grad():
        for name, (codebook, codes) in clusters.items():
            model.get_submodule(name).weight.copy_(codebook[codes])
    right = course.hidden_accuracy(model, HIDDEN_IMAGES)
    low = expected.clustered_eight.low
    message = f"the LeNet with k=8 on hidden images: expected at least {low:.1%}, got {right:.1%}"
    expect.true(right >= low, message)


# ---------------------------------------------------------------- apply_codebooks


def looked_up(model: nn.Module, clusters: Clusters) -> nn.Module:
    """Return a copy with codebook[codes] as weights."""
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, (codebook, codes) in clusters.items():
            twin.get_submodule(name).weight.copy_(codebook[codes])
    return twin


def expect_model(got: Any, wanted: nn.Module, what: str) -> None:
    """Expect a model with the wanted parameters and buffers."""
    if not isinstance(got, nn.Module):
        fail(f"{what}: expected a model, got {describe(got)}")
    state, right = got.state_dict(), wanted.state_dict()
    if list(state) != list(right):
        fail(f"{what}: expected the tensors {list(right)}, got {list(state)}")
    for name, value in right.items():
        expect.tensor(state[name], value.shape, value.dtype, f"{what}: {name}")
        if not torch.allclose(state[name].double(), value.double(), atol=1e-6):
            kind = "codebook[codes]" if name.endswith("weight") else "as in the given model"
            fail(f"{what}: {name} has other values than expected ({kind})")


@check("apply_codebooks", gate=True)
def test_weights_come_from_the_codebook(student: Student, rng: torch.Generator) -> None:
    model = redraw(nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)), rng)
    clusters = random_clusters(model, 4, rng)
    got = student.apply_codebooks(model, clusters)
    if not isinstance(got, nn.Module):
        fail(f"expected a model, got {describe(got)}")
    x = torch.randn(7, 8, generator=rng)
    wanted = eval_logits(looked_up(model, clusters), x)
    expect.close(eval_logits(got, x), wanted, "the outputs of the result", atol=1e-5)


@check("apply_codebooks")
def test_conv_layers_keep_their_shape(student: Student, rng: torch.Generator) -> None:
    model = redraw(LeNet(3, 4, 9), rng)
    clusters = random_clusters(model, 5, rng)
    got = student.apply_codebooks(model, clusters)
    expect_model(got, looked_up(model, clusters), "LeNet")


@check("apply_codebooks", weight=2)
def test_everything_else_stays(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng, batch_norm=True)
    with torch.no_grad():
        model[1].running_mean.copy_(torch.rand(6, generator=rng))
    clusters = random_clusters(model, 3, rng)
    for left_out in (None, "0", "4"):
        part = {name: entry for name, entry in clusters.items() if name != left_out}
        got = student.apply_codebooks(model, part)
        expect_model(got, looked_up(model, part), f"clusters for {list(part)}")
    nested = redraw(nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(6, 2))), rng)
    clusters = random_clusters(nested, 3, rng)
    got = student.apply_codebooks(nested, clusters)
    expect_model(got, looked_up(nested, clusters), "a layer deep inside")


@check("apply_codebooks", weight=2)
def test_it_is_a_copy_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    model = lived_in(small_network(rng, batch_norm=True), rng)
    clusters = random_clusters(model, 3, rng)
    before, given = snapshot(model), copy.deepcopy(clusters)
    got = student.apply_codebooks(model=model, clusters=clusters)
    expect.unchanged(before, model, "the given model", "changes_the_model")
    expect.unchanged(given, clusters, "clusters")
    modes = [part.training for part in got.modules()]
    expect.true(not any(modes), "expected the result in eval mode everywhere", "mode_kept")


@check("apply_codebooks", weight=0.5)
def test_unknown_layers_are_rejected(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    clusters = random_clusters(model, 3, rng)
    for name in ("conv9", "7"):
        with expect.value_error(f"clusters for {name!r}, which the model does not have"):
            student.apply_codebooks(model, {**clusters, name: clusters["0"]})
