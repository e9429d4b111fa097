"""Hidden checks: magnitude_mask and prune_weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student, StudentError
from autograder.judge.toys import lived_in, prunable, redraw, uniform
from course_utils.models import MLP, BatchNormCNN, LeNet

NAN = float("nan")


def expect_smallest_pruned(mask: Tensor, weight: Tensor, sparsity: float, what: str) -> None:
    """Expect that the right number is pruned and nothing larger than what stays."""
    expect.tensor(mask, weight.shape, torch.bool, what)
    wanted, pruned = round(sparsity * weight.numel()), int((~mask).sum())
    if pruned != wanted:
        fail(
            f"{what}: expected round({sparsity:g} * {weight.numel()}) = {wanted} pruned (False), "
            f"got {pruned}; this usually comes from a threshold that cannot split ties, from "
            "int() in place of round(), or from an inverted mask"
        )
    magnitudes = weight.detach().abs()
    if 0 < pruned < weight.numel() and magnitudes[~mask].max() > magnitudes[mask].min():
        fail(
            f"{what}: expected the smallest magnitudes to go, but {magnitudes[~mask].max():.3g} "
            f"was pruned and {magnitudes[mask].min():.3g} kept; True means keep, and the sign of "
            "a weight does not count"
        )


# ---------------------------------------------------------------- magnitude_mask


@check("magnitude_mask", gate=True)
def test_keeps_the_largest_magnitudes(student: Student, rng: torch.Generator) -> None:
    for shape in ((40,), (7, 9), (6, 3, 5, 5)):
        weight = torch.randn(shape, generator=rng)
        for sparsity in (0.3, 0.5, 0.8):
            mask = student.magnitude_mask(weight, sparsity)
            expect_smallest_pruned(mask, weight, sparsity, f"mask of shape {shape}")


@check("magnitude_mask")
def test_mask_counts_signs_as_nothing(student: Student, rng: torch.Generator) -> None:
    weight = -torch.rand(4, 30, generator=rng) - 0.1
    mask = student.magnitude_mask(weight, 0.4)
    expect_smallest_pruned(mask, weight, 0.4, "mask of an all-negative weight")


@check("magnitude_mask")
def test_prunes_exactly_that_many_at_ties(student: Student, rng: torch.Generator) -> None:
    few_values = torch.randint(-2, 3, (8, 25), generator=rng).float()
    half_zero = torch.randn(10, 20, generator=rng).relu()
    for weight in (torch.ones(6, 7), -torch.ones(30), torch.zeros(5, 8), few_values, half_zero):
        for sparsity in (0.05, 0.25, 0.5, 0.9):
            mask = student.magnitude_mask(weight, sparsity)
            expect_smallest_pruned(mask, weight, sparsity, "mask where many magnitudes are equal")


@check("magnitude_mask")
def test_rounds_as_python_does(student: Student, rng: torch.Generator) -> None:
    for numel, sparsity in ((2, 0.25), (10, 0.25), (6, 0.75), (14, 0.25), (22, 0.75), (26, 0.75)):
        weight = torch.randn(numel, generator=rng)
        mask = student.magnitude_mask(weight, sparsity)
        expect_smallest_pruned(mask, weight, sparsity, "mask where sparsity * numel ends in .5")
    for _ in range(6):
        weight = torch.randn(uniform(rng, 5, 300), generator=rng)
        sparsity = round(float(torch.rand((), generator=rng)), 3) * 0.99
        mask = student.magnitude_mask(weight, sparsity)
        expect_smallest_pruned(mask, weight, sparsity, "mask of a random size")


@check("magnitude_mask")
def test_sparsity_zero_and_near_one(student: Student, rng: torch.Generator) -> None:
    with_zeros = torch.randn(12, 10, generator=rng).relu()
    for weight in (torch.randn(12, 10, generator=rng), with_zeros, torch.zeros(4)):
        for sparsity in (0, 0.0, 0.001, 0.99, 0.999, 0.9999):
            mask = student.magnitude_mask(weight, sparsity)
            expect_smallest_pruned(mask, weight, sparsity, f"mask at sparsity {sparsity}")


@check("magnitude_mask")
def test_mask_of_extreme_values(student: Student, rng: torch.Generator) -> None:
    exponents = torch.randperm(61, generator=rng) - 30
    signs = torch.randint(0, 2, (61,), generator=rng) * 2 - 1
    wide = signs * 10.0**exponents
    fine = 1 + torch.randperm(50, generator=rng).double() * 1e-12
    for weight, sparsity in ((wide, 0.5), (wide, 0.9), (fine, 0.3)):
        mask = student.magnitude_mask(weight, sparsity)
        expect_smallest_pruned(mask, weight, sparsity, f"mask of extreme values ({weight.dtype})")
    endless = torch.tensor([1.0, -float("inf"), 0.5, float("inf"), -2.0, 0.0])
    try:
        mask = student.magnitude_mask(endless, 0.5)
    except StudentError as error:
        if not error.is_a("ValueError"):  # to reject what is not finite is right, too
            raise
    else:
        expect_smallest_pruned(mask, endless, 0.5, "mask of a weight with infinite values")


@check("magnitude_mask")
def test_mask_leaves_the_weight_alone(student: Student, rng: torch.Generator) -> None:
    weight = torch.randn(6, 8, generator=rng)
    before = weight.clone()
    mask = student.magnitude_mask(weight=weight, sparsity=0.5)
    expect.unchanged(before, weight, "weight")
    expect_smallest_pruned(mask, before, 0.5, "mask")


@check("magnitude_mask")
def test_mask_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    weight = torch.randn(4, 5, generator=rng)
    for sparsity in (-0.1, -1e-6, 1.0, 1.5, 50, NAN):
        with expect.value_error(f"sparsity = {sparsity}"):
            student.magnitude_mask(weight, sparsity)
    weight[2, 3] = NAN
    with expect.value_error("a weight with NaN"):
        student.magnitude_mask(weight, 0.5)


# ---------------------------------------------------------------- prune_weights


def models(rng: torch.Generator) -> dict[str, nn.Module]:
    """Return models of many kinds, every parameter random."""
    nested = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(20, 7), nn.Dropout(0.5))),
        nn.Linear(7, 3, bias=False),
    )
    made = {
        "LeNet": LeNet(3, 5, 11),
        "BatchNormCNN": BatchNormCNN((3, 4, 5)),
        "MLP": MLP((9, 6)),
        "Sequential": nested,
    }
    return {name: redraw(model, rng) for name, model in made.items()}


def expect_pruned(
    masks: object, before: nn.Module, after: nn.Module, what: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Expect masks for the right parameters, and weights that are zero just where they say."""
    weights = prunable(before)
    if not isinstance(masks, dict):
        fail(f"{what}: expected a dict of masks by parameter name, got {type(masks).__name__}")
    if set(masks) != set(weights):
        fail(
            f"{what}: expected masks for {sorted(weights)}, got {sorted(map(str, masks))}; only "
            "the weights of conv and linear layers are pruned, never biases or norm layers, and "
            'masks are named by parameter ("conv1.weight")'
        )
    for name, weight in weights.items():
        mask = expect.tensor(masks[name], weight.shape, torch.bool, f"{what}: mask {name}")
        now = after.get_parameter(name).detach()
        message = (
            f"{what}: expected {name} to be zero where its mask is False and as before elsewhere; "
            "prune_weights changes the model in place, and True means keep"
        )
        expect.true(torch.equal(now, weight * mask), message)
    return masks, weights


@check("prune_weights", gate=True, in_place=True)
def test_every_layer_is_pruned_by_itself(student: Student, rng: torch.Generator) -> None:
    for kind, model in models(rng).items():
        before = copy.deepcopy(model)
        masks = student.prune_weights(model, 0.6, "layer")
        masks, weights = expect_pruned(masks, before, model, kind)
        for name, weight in weights.items():
            expect_smallest_pruned(masks[name], weight, 0.6, f"{kind}: mask {name}")


@check("prune_weights", in_place=True)
def test_global_compares_all_layers(student: Student, rng: torch.Generator) -> None:
    for kind, model in models(rng).items():
        with torch.no_grad():
            for factor, name in enumerate(prunable(model), 1):
                model.get_parameter(name).mul_(2.0 ** (-1) ** factor)
        for sparsity in (0.37, 0.85):
            pruned = copy.deepcopy(model)
            masks = student.prune_weights(pruned, sparsity, "global")
            masks, weights = expect_pruned(masks, model, pruned, f"{kind}, global")
            everything = torch.cat([weight.flatten() for weight in weights.values()])
            mask = torch.cat([masks[name].flatten() for name in weights])
            expect_smallest_pruned(mask, everything, sparsity, f"{kind}, all layers together")


@check("prune_weights", in_place=True)
def test_scope_is_layer_by_default(student: Student, rng: torch.Generator) -> None:
    model = redraw(MLP((12,)), rng)
    with torch.no_grad():
        model.fc1.weight.mul_(0.01)
    before = copy.deepcopy(model)
    masks, weights = expect_pruned(student.prune_weights(model, 0.5), before, model, "MLP")
    for name, weight in weights.items():
        expect_smallest_pruned(masks[name], weight, 0.5, f"default scope: mask {name}")


@check("prune_weights", in_place=True)
def test_biases_and_norm_layers_stay(student: Student, rng: torch.Generator) -> None:
    for scope in ("layer", "global"):
        for kind, model in models(rng).items():
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() == 1:  # smaller than any weight that may go
                        parameter.mul_(1e-6)
            before = copy.deepcopy(model)
            student.prune_weights(model, 0.7, scope)
            weights = prunable(before)
            for name, tensor in before.state_dict().items():
                if name not in weights:
                    expect.unchanged(tensor, model.state_dict()[name], f"{kind}: {name}")


@check("prune_weights", in_place=True)
def test_pruning_counts_at_ties_and_zeros(student: Student, rng: torch.Generator) -> None:
    with_zeros = redraw(nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)), rng)
    equal, dead = copy.deepcopy(with_zeros), copy.deepcopy(with_zeros)
    with torch.no_grad():
        with_zeros[0].weight.relu_()
        with_zeros[2].weight[:, ::2] = 0
        for layer in (equal[0], equal[2]):
            layer.weight.fill_(-0.25)
        dead[2].weight.zero_()
    for scope in ("layer", "global"):
        for start in (with_zeros, equal, dead):
            for sparsity in (0, 0.1, 0.5, 0.999):
                model = copy.deepcopy(start)
                masks = student.prune_weights(model, sparsity, scope)
                masks, weights = expect_pruned(masks, start, model, f"scope {scope}")
                pairs = [(masks[name].flatten(), w.flatten()) for name, w in weights.items()]
                if scope == "global":
                    pairs = [tuple(torch.cat(part) for part in zip(*pairs, strict=True))]
                for mask, weight in pairs:
                    what = f"scope {scope}, equal or zero weights: mask"
                    expect_smallest_pruned(mask, weight, sparsity, what)


@check("prune_weights", in_place=True)
def test_pruning_leaves_the_rest_of_the_model(student: Student, rng: torch.Generator) -> None:
    for scope in ("layer", "global"):
        model = lived_in(redraw(BatchNormCNN((3, 4, 5)), rng), rng)
        modes = {name: module.training for name, module in model.named_modules()}
        masks = student.prune_weights(model=model, sparsity=0.5, scope=scope)
        expect.true(isinstance(masks, dict), "expected a dict of masks by parameter name")
        after = {name: module.training for name, module in model.named_modules()}
        expect.equal(after, modes, "the train/eval mode of each submodule")
        frozen = [name for name, tensor in model.named_parameters() if not tensor.requires_grad]
        expect.equal(frozen, [], "parameters that can no longer be trained")


@check("prune_weights", in_place=True)
def test_pruning_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model = redraw(MLP((5,)), rng)
    for scope in ("layer", "global"):
        for sparsity in (-0.1, 1.0, 1.5, 90, NAN):
            with expect.value_error(f"sparsity = {sparsity}, scope {scope!r}"):
                student.prune_weights(model, sparsity, scope)
    for scope in ("neuron", "", "layers"):
        with expect.value_error(f"the unknown scope {scope!r}"):
            student.prune_weights(model, 0.5, scope)
    with torch.no_grad():
        model.fc2.weight[1, 2] = NAN
    for scope in ("layer", "global"):
        with expect.value_error(f"a model with NaN, scope {scope!r}"):
            student.prune_weights(copy.deepcopy(model), 0.5, scope)
