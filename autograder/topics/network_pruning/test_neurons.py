"""Hidden checks: apoz, select_neurons and remove_neurons."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, redraw, snapshot

NAN = float("nan")

# ---------------------------------------------------------------- apoz


def expect_apoz(student: Student, activations: Tensor, what: str) -> None:
    """Expect the fraction of exact zeros of each channel."""
    axes = [axis for axis in range(activations.dim()) if axis != 1]
    right = (activations == 0).double().mean(dim=axes)
    got = student.apoz(activations)
    expect.tensor(got, right.shape, what=what)
    expect.true(got.is_floating_point(), f"{what}: expected floats, got {got.dtype}")
    expect.close(got, right, f"{what}: the fraction of zeros of each neuron", atol=1e-5)


@check("apoz", gate=True)
def test_apoz_of_neurons_and_of_channels(student: Student, rng: torch.Generator) -> None:
    for shape in ((30, 7), (5, 12), (6, 4, 3, 5), (3, 8, 5, 2)):
        activations = torch.randn(shape, generator=rng)
        activations += torch.randn(shape[1], generator=rng).reshape(-1, *[1] * (len(shape) - 2))
        expect_apoz(student, activations.relu(), f"activations {shape}")


@check("apoz")
def test_apoz_where_axes_have_equal_sizes(student: Student, rng: torch.Generator) -> None:
    for shape in ((6, 6), (4, 4, 4, 4), (1, 5), (1, 3, 2, 2), (9, 1), (2, 3, 1, 1)):
        activations = torch.randn(shape, generator=rng).relu()
        activations[:, 0] = 0
        expect_apoz(student, activations, f"activations {shape}")


@check("apoz")
def test_apoz_counts_exact_zeros_only(student: Student, rng: torch.Generator) -> None:
    signed = torch.randn(20, 6, generator=rng)
    signed[torch.rand(20, 6, generator=rng) < 0.3] = 0
    tiny = torch.where(torch.rand(8, 3, 4, 2, generator=rng) < 0.5, 1e-30, 0.0)
    expect_apoz(student, signed, "activations with negative values, which are not zeros")
    expect_apoz(student, tiny, "tiny activations, which are not zeros")
    expect_apoz(student, -signed.abs(), "activations from 0 down")


@check("apoz")
def test_apoz_of_dead_and_of_busy_neurons(student: Student, rng: torch.Generator) -> None:
    activations = torch.rand(25, 5, 3, 3, generator=rng) + 0.1
    activations[:, 1] = 0
    activations[:, 3, 1] = 0
    expect_apoz(student, activations, "activations with one dead channel")
    expect_apoz(student, activations[:, :, 1, 1].contiguous(), "activations with dead neurons")
    expect_apoz(student, torch.zeros(4, 3), "activations all zero")
    expect_apoz(student, activations.double(), "activations in float64")


@check("apoz")
def test_apoz_leaves_activations_alone(student: Student, rng: torch.Generator) -> None:
    for shape in ((9, 4), (3, 4, 5, 6)):
        activations = torch.randn(shape, generator=rng).relu()
        before = activations.clone()
        got = student.apoz(activations=activations)
        expect.unchanged(before, activations, "activations")
        expect.tensor(got, (4,), what="apoz by keyword")


@check("apoz")
def test_apoz_rejects_other_input(student: Student) -> None:
    for shape in ((6,), (4, 3, 5), (2, 3, 4, 5, 6)):
        with expect.value_error(f"activations of shape {shape}"):
            student.apoz(torch.ones(shape))
    for shape in ((4, 3), (2, 3, 4, 4)):
        activations = torch.ones(shape)
        activations[1, 1] = NAN
        with expect.value_error("activations with NaN"):
            student.apoz(activations)


# ---------------------------------------------------------------- select_neurons

EIGHTHS = torch.arange(9) / 8  # exact in float32, so that equal is equal in every reading


def expect_kept(got: object, values: Tensor, threshold: float) -> None:
    """Expect the indices of what is at or below the threshold, ascending."""
    wanted = (values <= threshold).nonzero().flatten()
    what = f"select_neurons({[round(value, 3) for value in values.tolist()]}, {threshold})"
    expect.tensor(got, wanted.shape if len(wanted) else (1,), torch.int64, what)
    if len(wanted):
        expect.equal(got, wanted, f"{what}: indices to keep, ascending; equal is kept")
    elif not 0 <= int(got) < len(values) or values[int(got)] != values.min():
        fail(
            f"{what}: all are above the threshold; expected the index of the single lowest, "
            f"{int(values.argmin())}, got {got.tolist()}"
        )


@check("select_neurons", gate=True)
def test_keeps_low_apoz(student: Student, rng: torch.Generator) -> None:
    for threshold in (0.3, 0.6, 0.85):
        values = torch.rand(25, generator=rng)
        values[3], values[7] = 0.1, 0.95
        expect_kept(student.select_neurons(values, threshold), values, threshold)


@check("select_neurons")
def test_keeps_what_equals_the_threshold(student: Student, rng: torch.Generator) -> None:
    for threshold in (0.0, 0.25, 0.5, 0.875, 1.0):
        values = EIGHTHS[torch.randperm(9, generator=rng)]
        for given in (values, values.double(), torch.full((4,), threshold)):
            expect_kept(student.select_neurons(given, threshold), given, threshold)
    for threshold in (0.25, 0.5, 0.875):  # so near that who rounds takes them for equal
        given = threshold + torch.tensor([2e-3, -2e-3, 1e-4, 0.0, -1e-4])
        expect_kept(student.select_neurons(given, threshold), given, threshold)


@check("select_neurons")
def test_never_removes_all_neurons(student: Student, rng: torch.Generator) -> None:
    for values in (
        (torch.randperm(20, generator=rng) + 20) / 40,
        torch.tensor([0.75, 0.5, 0.625]),
        torch.tensor([0.875, 0.625, 0.5, 0.5, 1.0]),
        torch.ones(6),
        torch.tensor([0.5]),
    ):
        for threshold in (0.0, 0.25, 0.49):
            expect_kept(student.select_neurons(values, threshold), values, threshold)


@check("select_neurons")
def test_keeps_all_or_only_some(student: Student, rng: torch.Generator) -> None:
    values = torch.rand(12, generator=rng) * 0.5
    expect_kept(student.select_neurons(values, 0.75), values, 0.75)
    expect_kept(student.select_neurons(values, 1), values, 1)
    single = torch.tensor([0.9, 0.8, 0.1, 0.7])
    expect_kept(student.select_neurons(single, 0.5), single, 0.5)
    last = torch.tensor([0.9, 0.8, 1.0, 0.25])
    expect_kept(student.select_neurons(last, 0.5), last, 0.5)


@check("select_neurons")
def test_selection_leaves_the_values_alone(student: Student, rng: torch.Generator) -> None:
    for threshold in (0.0, 0.5):
        values = torch.rand(10, generator=rng) + 0.01
        values /= values.max()
        before = values.clone()
        got = student.select_neurons(apoz_values=values, threshold=threshold)
        expect.unchanged(before, values, "apoz_values")
        expect_kept(got, before, threshold)


@check("select_neurons")
def test_selection_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    values = torch.rand(6, generator=rng)
    for threshold in (-0.1, 1.5, 60, NAN):
        with expect.value_error(f"threshold = {threshold}"):
            student.select_neurons(values, threshold)
    for place in (0, 5):
        broken = values.clone()
        broken[place] = NAN
        with expect.value_error("apoz_values with NaN"):
            student.select_neurons(broken, 0.5)


# ---------------------------------------------------------------- remove_neurons

CONV_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
Between = Callable[[Tensor], Tensor]


def linear_pair(rng: torch.Generator, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Return linear -> linear, 7 -> 9 -> 4."""
    return redraw(nn.Linear(7, 9, bias=bias), rng), redraw(nn.Linear(9, 4, bias=bias), rng)


def conv_pair(rng: torch.Generator, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Return conv -> conv with arguments that are not the defaults, 3 -> 8 -> 5 channels."""
    first = nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2), bias=bias)
    second = nn.Conv2d(8, 5, 3, padding="same", dilation=2, padding_mode="circular", bias=bias)
    return redraw(first, rng), redraw(second, rng)


def flat_pair(rng: torch.Generator, spatial: int, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Return conv -> flatten -> linear, 2 -> 6 channels, 6 * spatial -> 5."""
    first = nn.Conv2d(2, 6, 3, padding=1, bias=bias)
    return redraw(first, rng), redraw(nn.Linear(6 * spatial, 5, bias=bias), rng)


def remove(
    student: Student, layer: nn.Module, next_layer: nn.Module, keep: Tensor, *args: int, **kw: int
) -> object:
    """Call `remove_neurons` on copies, so that the originals still say what is right."""
    pair = copy.deepcopy(layer), copy.deepcopy(next_layer)
    return student.remove_neurons(*pair, keep.clone(), *args, **kw)


def expect_pair(
    got: object, layer: nn.Module, next_layer: nn.Module, keep: Tensor, spatial: int, what: str
) -> tuple[nn.Module, nn.Module]:
    """Expect the two smaller layers, in every detail."""
    if not isinstance(got, list | tuple) or len(got) != 2:
        fail(f"{what}: expected (layer, next_layer), got {describe(got)}")
    for old, new, place in ((layer, got[0], "layer"), (next_layer, got[1], "next_layer")):
        if type(new) is not type(old):
            fail(
                f"{what}: expected {place} to be a {type(old).__name__}, got {describe(new)}; do "
                "in_features, out_features, in_channels and out_channels tell the new sizes?"
            )
        for name in CONV_ARGUMENTS if isinstance(old, nn.Conv2d) else ():
            expect.equal(getattr(new, name), getattr(old, name), f"{what}: {place}.{name}")
        if (new.bias is None) != (old.bias is None):
            fail(f"{what}: {place} must have a bias just when the given layer has one")
        frozen = not all(parameter.requires_grad for parameter in new.parameters())
        expect.true(not frozen, f"{what}: the parameters of {place} can no longer be trained")
    columns = torch.cat([torch.arange(c * spatial, (c + 1) * spatial) for c in keep.tolist()])
    weights = {
        "layer.weight": (got[0].weight, layer.weight[keep]),
        "next_layer.weight": (got[1].weight, next_layer.weight[:, columns]),
    }
    if layer.bias is not None:
        weights["layer.bias"] = (got[0].bias, layer.bias[keep])
    if next_layer.bias is not None:
        weights["next_layer.bias"] = (got[1].bias, next_layer.bias)
    for name, (new, right) in weights.items():
        message = f"{what}: {name} (new neuron i is old neuron keep[i]; its columns follow)"
        expect.equal(new.detach(), right.detach(), message)
    return got[0], got[1]


@check("remove_neurons", gate=True)
def test_linear_to_linear(student: Student, rng: torch.Generator) -> None:
    layer, next_layer = linear_pair(rng)
    for keep in (torch.tensor([0, 2, 3, 8]), torch.tensor([4]), torch.arange(9)):
        got = remove(student, layer, next_layer, keep)
        expect_pair(got, layer, next_layer, keep, 1, f"linear -> linear, keep {keep.tolist()}")


@check("remove_neurons")
def test_conv_to_conv(student: Student, rng: torch.Generator) -> None:
    layer, next_layer = conv_pair(rng)
    for keep in (torch.tensor([1, 2, 6]), torch.tensor([7]), torch.arange(8)):
        got = remove(student, layer, next_layer, keep)
        expect_pair(got, layer, next_layer, keep, 1, f"conv -> conv, keep {keep.tolist()}")


@check("remove_neurons", weight=2)
def test_conv_to_flatten_to_linear(student: Student, rng: torch.Generator) -> None:
    for spatial in (4, 6, 16, 1):
        layer, next_layer = flat_pair(rng, spatial)
        for keep in (torch.tensor([1, 3, 4]), torch.tensor([5]), torch.arange(6)):
            got = remove(student, layer, next_layer, keep, spatial)
            what = f"conv -> flatten -> linear, spatial {spatial}, keep {keep.tolist()}"
            expect_pair(got, layer, next_layer, keep, spatial, what)


@check("remove_neurons", weight=2)
def test_order_of_keep_is_followed(student: Student, rng: torch.Generator) -> None:
    for layer, next_layer, spatial in (
        (*linear_pair(rng), 1),
        (*conv_pair(rng), 1),
        (*flat_pair(rng, 9), 9),
    ):
        outputs = len(layer.weight)
        for keep in (
            torch.arange(outputs).flip(0),
            torch.tensor([4, 0, 5, 2]),
            torch.randperm(outputs, generator=rng),
        ):
            got = remove(student, layer, next_layer, keep, spatial)
            kind = f"{type(layer).__name__} -> {type(next_layer).__name__}"
            what = f"{kind}, spatial {spatial}, keep {keep.tolist()}"
            expect_pair(got, layer, next_layer, keep, spatial, what)


@check("remove_neurons")
def test_layers_without_bias(student: Student, rng: torch.Generator) -> None:
    bare = (
        (*linear_pair(rng, bias=False), 1),
        (*conv_pair(rng, bias=False), 1),
        (*flat_pair(rng, 4, bias=False), 4),
        (linear_pair(rng)[0], linear_pair(rng, bias=False)[1], 1),
        (flat_pair(rng, 4, bias=False)[0], flat_pair(rng, 4)[1], 4),
    )
    keep = torch.tensor([3, 1, 5])
    for layer, next_layer, spatial in bare:
        got = remove(student, layer, next_layer, keep, spatial)
        expect_pair(got, layer, next_layer, keep, spatial, "layers without bias")


@check("remove_neurons")
def test_removing_keeps_the_dtype(student: Student, rng: torch.Generator) -> None:
    keep = torch.tensor([2, 0, 4])
    for pair, spatial in ((linear_pair(rng), 1), (conv_pair(rng), 1), (flat_pair(rng, 4), 4)):
        layer, next_layer = (part.double() for part in pair)
        got = remove(student, layer, next_layer, keep, spatial)
        expect_pair(got, layer, next_layer, keep, spatial, "layers in float64")


@check("remove_neurons")
def test_removing_silent_neurons_changes_nothing(student: Student, rng: torch.Generator) -> None:
    cases: tuple[tuple[nn.Module, nn.Module, int, Tensor, Between], ...] = (
        (*linear_pair(rng), 1, torch.randn(3, 7, generator=rng), nn.ReLU()),
        (*conv_pair(rng), 1, torch.randn(3, 3, 8, 8, generator=rng), nn.ReLU()),
        (*flat_pair(rng, 6), 6, torch.randn(3, 2, 2, 3, generator=rng), nn.Flatten()),
    )
    keep = torch.tensor([0, 2, 3, 5])
    for layer, next_layer, spatial, x, between in cases:
        gone = [c for c in range(len(layer.weight)) if c not in keep.tolist()]
        with torch.no_grad():
            layer.weight[gone] = 0
            layer.bias[gone] = 0
            right = next_layer(between(layer(x)))
            got = remove(student, layer, next_layer, keep, spatial=spatial)
            what = f"{type(layer).__name__} -> {type(next_layer).__name__}"
            small, small_next = expect_pair(got, layer, next_layer, keep, spatial, what)
            out = small_next(between(small(x)))
        expect.close(out, right, f"{what}: the output without silent neurons", atol=1e-4)


@check("remove_neurons")
def test_removing_leaves_the_given_layers(student: Student, rng: torch.Generator) -> None:
    for pair, spatial in ((linear_pair(rng), 1), (conv_pair(rng), 1), (flat_pair(rng, 4), 4)):
        layer, next_layer = (lived_in(part, rng) for part in pair)
        keep = torch.tensor([4, 1])
        before = snapshot(layer), snapshot(next_layer), keep.clone()
        got = student.remove_neurons(layer=layer, next_layer=next_layer, keep=keep, spatial=spatial)
        expect.unchanged(before, (layer, next_layer, keep), "an argument")
        expect_pair(got, before[0], before[1], before[2], spatial, "by keyword")


@check("remove_neurons")
def test_removing_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    layer, next_layer = linear_pair(rng)
    conv, flat = flat_pair(rng, 4)
    for keep in ([], [9], [0, 12], [-1], [2, -10]):
        indices = torch.tensor(keep, dtype=torch.int64)
        with expect.value_error(f"keep = {keep} of 9 neurons"):
            student.remove_neurons(copy.deepcopy(layer), next_layer, indices)
    keep = torch.tensor([0, 2])
    for spatial in (1, 3, 5, 0, -4):
        with expect.value_error(f"6 channels into 24 inputs with spatial = {spatial}"):
            student.remove_neurons(conv, flat, keep, spatial)
    with expect.value_error("9 neurons into 7 inputs"):
        student.remove_neurons(layer, copy.deepcopy(layer), keep)
    conv, next_conv = conv_pair(rng)
    for inputs in (7, 9, 16):
        other = redraw(nn.Conv2d(inputs, 5, 3), rng)
        with expect.value_error(f"8 channels into a conv layer with {inputs} input channels"):
            student.remove_neurons(conv, other, keep)
    with expect.value_error("8 channels into a conv layer with 8, spatial = 2"):
        student.remove_neurons(conv, next_conv, keep, 2)
