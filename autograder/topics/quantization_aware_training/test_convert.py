"""Hidden checks: convert."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.judge.toys import small_network, stripes
from autograder.topics.quantization_aware_training.toys import (
    calibrate,
    expect_layer,
    fill,
    folded_checkpoint,
    linear,
    modes,
    outputs,
    prepare,
    same_state,
    state,
    tensors_of,
)

WHOLE = (torch.int8, torch.uint8)


def converted(student: Student, module: RemoteObject) -> Any:
    """Return the converted model."""
    got = student.convert(module)
    if isinstance(got, nn.Module):
        fail("the result still computes with plain float layers", "keeps_float_weights")
    return expect_layer(got, "convert")


def qat(
    student: Student, model: nn.Module, x: Tensor, weight_bits: int, activation_bits: int
) -> Any:
    """Return a prepared model that has seen x."""
    return calibrate(prepare(student, model, weight_bits, activation_bits), x)


def expect_whole_weights(
    student: Student,
    module: RemoteObject,
    weights: list[Tensor],
    bits: int,
    mistake: str = "keeps_float_weights",
) -> None:
    """Expect the weights as integers of at most 8 bits, and none of them in float."""
    found = tensors_of(student, module)
    numbers = {weight.numel() for weight in weights}
    for tensor in found:
        if tensor.is_floating_point() and tensor.numel() in numbers and tensor.numel() > 16:
            fail(
                f"a float tensor of {tensor.numel()} elements is left, as many as a weight has: "
                "only the integer codes are kept",
                mistake,
            )
    wide = [t.dtype for t in found if t.numel() in numbers and t.dtype not in WHOLE]
    if wide and min(numbers) > 16:
        fail(f"expected weights of at most 8 bits (int8, uint8), got {wide[0]}", "wide_integers")
    held = sum(tensor.numel() for tensor in found if tensor.dtype in WHOLE)
    needed = sum(weight.numel() for weight in weights) * bits / 8
    message = f"expected the weights as int8 or uint8: {needed:.0f} bytes or more, found {held}"
    expect.true(held >= 0.99 * needed, message)
    for tensor in found:
        if tensor.dtype in WHOLE and tensor.numel() in numbers:
            spread = int(tensor.max()) - int(tensor.min())
            message = (
                f"{bits} bits: the codes spread over {spread}, at most {2**bits - 1} is possible"
            )
            expect.true(spread < 2**bits, message, "codes_out_of_range")


def expect_same(
    module: RemoteObject,
    whole: RemoteObject,
    x: Tensor,
    step: float,
    what: str,
    mistake: str | None = None,
) -> None:
    """Expect the outputs of the fake-quantized model, to one step."""
    wanted = outputs(module, x)
    got = expect.tensor(outputs(whole, x), wanted.shape, what=what).float()
    gap = (got - wanted).abs()
    allowed = max(1.05 * step, 1e-4)
    if gap.max() > allowed:
        count = int((gap > allowed).sum())
        fail(
            f"{what}: expected the fake-quantized model's outputs to one step ({allowed:.3g}), "
            f"but {count} of {gap.numel()} differ more, by up to {float(gap.max()):.3g}",
            mistake,
        )


@check("convert", gate=True)
def test_linear_layer_becomes_whole_numbers(student: Student, rng: torch.Generator) -> None:
    layer, x = linear(rng, 24, 10), torch.rand(60, 24, generator=rng)
    module = qat(student, nn.Sequential(layer), x, 8, 8)
    whole = converted(student, module)
    expect_same(module, whole, x, 1.5 / 100, "a linear layer, inputs in [0, 1]")
    expect_whole_weights(student, whole, [layer.weight], 8)


@check("convert", weight=2)
def test_every_number_of_bits(student: Student, rng: torch.Generator) -> None:
    layer, x = linear(rng, 24, 10), torch.rand(60, 24, generator=rng)
    # Codes of 12 bits do not fit into int8 or uint8: that limit holds for weights only.
    for bits, activation_bits in ((2, 8), (3, 4), (4, 8), (5, 6), (7, 3), (8, 12)):
        module = qat(student, nn.Sequential(layer), x, bits, activation_bits)
        whole = converted(student, module)
        step = 1 / (2 ** (activation_bits - 1) - 1)
        what = f"weight_bits={bits}, activation_bits={activation_bits}"
        name = "bits_ignored" if activation_bits <= 8 else "input_codes_in_eight_bits"
        expect_same(module, whole, x, 1.5 * step, what, name)
        expect_whole_weights(student, whole, [layer.weight], bits)


@check("convert", weight=2)
def test_weights_with_outliers(student: Student, rng: torch.Generator) -> None:
    # Here the largest weight does not set the grid of `weight_scale`.
    layer, x = linear(rng, 24, 10), torch.rand(60, 24, generator=rng)
    with torch.no_grad():
        layer.weight.copy_(0.2 * torch.randn(10, 24, generator=rng)).clamp_(-0.8, 0.8)
        layer.weight[3, 5], layer.weight[7, 2] = 1.0, -1.0
    for bits in (2, 3, 5):
        module = qat(student, nn.Sequential(layer), x, bits, 8)
        whole = converted(student, module)
        what = f"weight_bits={bits}, a weight with outliers"
        expect_same(module, whole, x, 1.5 / 127, what, "scale_of_its_own")
        expect_whole_weights(student, whole, [layer.weight], bits)


@check("convert", weight=2)
def test_most_outputs_are_the_same(student: Student, rng: torch.Generator) -> None:
    # A whole step may lie between two outputs only where an input falls on the border of two codes.
    layer, x = linear(rng, 24, 10), torch.rand(60, 24, generator=rng)
    for bits in (3, 4):
        module = qat(student, nn.Sequential(layer), x, 8, bits)
        usual = (outputs(converted(student, module), x) - outputs(module, x)).abs().median()
        if usual > 0.02 / (2**bits - 1):
            fail(
                f"activation_bits={bits}: most outputs differ a little from those of the "
                f"fake-quantized model, by {float(usual):.2g}: the input is rounded to whole "
                "codes, and the bias stays in float",
                "input_not_rounded",
            )


@check("convert", weight=2)
def test_zero_points_count(student: Student, rng: torch.Generator) -> None:
    layer, x = linear(rng, 24, 10), torch.rand(60, 24, generator=rng)
    for what, batch in (
        ("inputs of both signs", 3 * x - 1),
        ("negative inputs", -2 * x),
        ("inputs far from 0", 4 + x),
    ):
        module = qat(student, nn.Sequential(layer), batch, 8, 8)
        step = float(batch.abs().max()) / 100
        expect_same(module, converted(student, module), batch, step, what, "zero_point_lost")


@check("convert", weight=2)
def test_conv_layers_with_padding(student: Student, rng: torch.Generator) -> None:
    x = 3 * torch.rand(6, 3, 9, 8, generator=rng) - 2
    for options in (
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)},
        {"kernel_size": 2, "dilation": 2, "bias": False},
    ):
        layer = fill(nn.Conv2d(3, 5, **options), rng)
        module = qat(student, nn.Sequential(layer), x, 8, 8)
        whole = converted(student, module)
        expect_whole_weights(student, whole, [layer.weight], 8)
        what = f"a conv layer, {options}"
        expect_same(module, whole, x, 3 / 100, what, "padding_or_geometry")


@check("convert")
def test_values_beyond_the_range_saturate(student: Student, rng: torch.Generator) -> None:
    layer, x = linear(rng, 24, 10), torch.rand(60, 24, generator=rng) - 0.3
    module = qat(student, nn.Sequential(layer), x, 8, 8)
    wild = 40 * (torch.rand(60, 24, generator=rng) - 0.5)
    expect_same(module, converted(student, module), wild, 1 / 50, "wild inputs", "wraps_around")


@check("convert")
def test_whole_network_after_training(student: Student, rng: torch.Generator) -> None:
    loader = stripes(rng)
    images = loader.dataset.tensors[0]
    model = small_network(rng)
    module = prepare(student, model, 4, 8)
    try:
        module = expect_layer(student.train_qat(module, loader, 2, 0.01), "train_qat")
    except StudentError:  # a missing train_qat has cost its own points
        calibrate(module, images)
    whole = converted(student, module)
    expect_whole_weights(student, whole, [model[0].weight, model[3].weight], 4)
    spread = float(outputs(module, images).abs().max())
    expect_same(module, whole, images, spread / 40, "a trained network", "trained_weights_lost")


@check("convert")
def test_layers_deep_inside(student: Student, rng: torch.Generator) -> None:
    conv, plain = fill(nn.Conv2d(1, 6, 3), rng), linear(rng, 96, 5, bias=False)
    model = nn.Sequential(nn.Sequential(nn.Sequential(conv), nn.ReLU(), nn.Flatten()), plain)
    x = torch.rand(20, 1, 6, 6, generator=rng)
    module = qat(student, nn.Sequential(model), x, 8, 8)
    whole = converted(student, module)
    expect_whole_weights(student, whole, [conv.weight, plain.weight], 8, "nested_forgotten")
    spread = float(outputs(module, x).abs().max())
    what = "layers inside other modules, the last one without a bias"
    expect_same(module, whole, x, spread / 40, what, "nested_forgotten")


@check("convert", timeout=30)
def test_course_network(student: Student, course: Course, rng: torch.Generator) -> None:
    images, _ = course.images("grading", 300)
    model = folded_checkpoint(course)
    module = qat(student, model, images[:100], 8, 8)
    whole = converted(student, module)
    wanted, got = outputs(module, images), outputs(whole, images)
    same = float((wanted.argmax(1) == got.argmax(1)).double().mean())
    message = f"expected the same class for 98 % of the images, got {same:.1%}"
    expect.true(same >= 0.98, message)
    far = (got - wanted).abs() > float(wanted.max() - wanted.min()) / 100
    message = f"{float(far.double().mean()):.1%} of the logits differ by more than a step"
    expect.true(far.double().mean() < 0.01, message)
    expect_whole_weights(student, whole, [model[0].weight, model[3].weight, model[6].weight], 8)


@check("convert", weight=2)
def test_converting_leaves_the_given_model(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(20, 24, generator=rng)
    model = nn.Sequential(linear(rng, 24, 10), nn.ReLU(), linear(rng, 10, 3))
    module = qat(student, model, x, 4, 8)
    before, flags = {k: t.detach() for k, t in state(module).items()}, modes(student, module)
    shown = outputs(module, x)
    whole = expect_layer(student.convert(model=module), "convert")
    if not same_state(before, state(module)) or not torch.equal(outputs(module, x), shown):
        fail("the given model was changed: convert a deep copy", "changes_the_model")
    expect.true(
        modes(student, module) == flags, "the given model's mode changed", "changes_the_model"
    )
    message = "expected the converted model in eval mode"
    expect.true(not any(modes(student, whole)), message, "left_in_train_mode")
    shown = outputs(whole, x)
    changed = {key: -value if value.dim() == 1 else value for key, value in before.items()}
    module.load_state_dict(changed, strict=False)
    if not torch.equal(outputs(whole, x), shown):
        fail(
            "the converted model changes with the given one: it shares tensors with it",
            "shares_tensors",
        )
    module.train()
    whole = expect_layer(student.convert(module), "convert")
    expect.true(not any(modes(student, whole)), message, "left_in_train_mode")
    message = "the given model was in train mode and no longer is"
    expect.true(all(modes(student, module)), message, "puts_the_given_model_into_eval")


@check("convert", weight=0.5)
def test_converting_rejects_what_cannot_be(student: Student, rng: torch.Generator) -> None:
    model, x = nn.Sequential(linear(rng, 24, 10)), torch.rand(20, 24, generator=rng)
    for bits in (9, 16):
        module = qat(student, model, x, bits, 8)
        with expect.value_error(f"a layer with weights of {bits} bits"):
            student.convert(module)
    module = prepare(student, model, 8, 8)
    with expect.value_error("a model that was never trained: the range of its input is unknown"):
        student.convert(module)
