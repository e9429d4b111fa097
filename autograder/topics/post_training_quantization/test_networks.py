"""Hidden checks: quantize_model.

How the result works inside is free. So it is only called on images, and the images are chosen so
that the numbers tell what is quantized: a layer whose input is one number gives at most 2^b
different results, and an image with a single 1 shows a column of the weights.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student, StudentError
from autograder.judge.toys import lived_in, redraw, snapshot
from autograder.topics.post_training_quantization.toys import (
    count_levels,
    loader_of,
    quantized,
    run,
)
from course_utils.models import MLP, BatchNormCNN, LeNet


def identity(width: int, bias: bool = False) -> nn.Sequential:
    """Return a linear layer that passes its input on: its weights lie on every symmetric grid."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(width, width, bias=bias))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(width))
    return model


def even(rng: torch.Generator, *shape: int) -> Tensor:
    """Return numbers spread evenly over -1 .. 1, both ends included, in random order."""
    count = int(torch.tensor(shape).prod())
    return torch.linspace(-1, 1, count)[torch.randperm(count, generator=rng)].reshape(shape)


def expect_levels(values: Tensor, bits: int, what: str, mistake: str | None = None) -> None:
    """Expect about 2^bits different values."""
    levels = count_levels(values)
    if levels > 2**bits:
        fail(
            f"{what}: with activation_bits={bits} it has at most {2**bits} levels, so the output "
            f"has at most {2**bits} different values here, but there are {levels}",
            mistake,
        )
    fewest = 2 ** (bits - 1) + max(1, 2 ** (bits - 3))
    if levels < fewest:
        fail(
            f"{what}: with activation_bits={bits} expected about {2**bits} levels, got {levels}; "
            "is the number of bits right, and the range that of the calibration images?"
        )


@check("quantize_model", gate=True)
def test_eight_bits_change_little(student: Student, rng: torch.Generator) -> None:
    images = torch.randn(150, 1, 28, 28, generator=rng)
    for kind, model in (("LeNet", LeNet(4, 6, 20)), ("MLP", MLP((30, 20)))):
        model = redraw(model, rng).eval()
        got = quantized(student, model, loader_of(images), 8, 8, True)
        logits = run(got, images)
        with torch.no_grad():
            wanted = model(images)
        expect.tensor(logits, wanted.shape, what=f"{kind}: output of the quantized model")
        error = float((logits - wanted).square().mean().sqrt() / wanted.std())
        if not error < 0.15:
            fail(
                f"{kind} with 8 bits everywhere: expected nearly the float model's outputs, got a "
                f"relative error of {error:.3f}"
            )


@check("quantize_model", weight=2)
def test_first_layers_input_is_quantized(student: Student, rng: torch.Generator) -> None:
    x = even(rng, 600, 1)
    for bits in (2, 3, 5):
        model = redraw(nn.Sequential(nn.Linear(1, 24), nn.ReLU(), nn.Linear(24, 1)), rng)
        got = quantized(student, model, loader_of(x), 8, bits, True)
        levels = count_levels(run(got, x))
        message = (
            f"the input of the first layer has at most {2**bits} levels with activation_bits="
            f"{bits}, so the output has as many different values at most, but there are {levels}"
        )
        expect.true(levels <= 2**bits, message, "first_layer_forgotten")


@check("quantize_model", weight=2)
def test_last_layers_input_is_quantized(student: Student, rng: torch.Generator) -> None:
    x = even(rng, 500, 8)
    for bits in (2, 3, 4):
        model = nn.Sequential(nn.Linear(8, 1, bias=False), nn.Linear(1, 2))
        with torch.no_grad():
            model[0].weight.fill_(1.0)
            model[1].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        got = quantized(student, model, loader_of(x), 8, bits, True)
        values = run(got, x)[:, 0]
        expect_levels(values, bits, "the input of the last layer", "last_layer_forgotten")


@check("quantize_model", weight=2)
def test_every_conv_layers_input_is_quantized(student: Student, rng: torch.Generator) -> None:
    x = even(rng, 500, 6, 1, 1)
    # A bottleneck of one channel stands before the layer in question.
    before = (nn.Conv2d(6, 1, 1, bias=False), nn.Conv2d(1, 20, 1), nn.ReLU())
    tail = (nn.Conv2d(20, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    for bits in (2, 3):
        model = redraw(nn.Sequential(nn.Sequential(*before), nn.Sequential(*tail)), rng)
        got = quantized(student, model, loader_of(x), 8, bits, False)
        levels = count_levels(run(got, x)[:, 0])
        message = (
            f"the input of a conv layer with one channel has at most {2**bits} levels with "
            f"activation_bits={bits}, but the output has {levels} different values"
        )
        expect.true(levels <= 2**bits, message, "activations_in_float")


@check("quantize_model", weight=2)
def test_levels_of_the_activations(student: Student, rng: torch.Generator) -> None:
    x = even(rng, 400, 3)
    for bits in (2, 3, 4, 6):
        got = quantized(student, identity(3), loader_of(x), 8, bits, False)
        values = run(got, x)
        expect_levels(values[:, 0], bits, "the input of the only layer", "bits_swapped")
        step = 1 / (2 ** (bits - 1) - 1)  # of a symmetric grid; an asymmetric one is finer
        error = float((values - x).abs().max())
        if error > 0.8 * step:
            fail(
                f"activation_bits={bits}: a number between -1 and 1 came back {error:.4f} off, "
                f"though half a step is {step / 2:.4f} at most"
            )


@check("quantize_model", weight=2)
def test_ranges_are_static(student: Student, rng: torch.Generator) -> None:
    x = even(rng, 300, 4)
    got = quantized(student, identity(4), loader_of(x), 8, 6, False)
    for sign in (1, -1):
        outside = sign * torch.tensor([[40.0, 3.0, 0.5, 0.0]])
        values = run(got, outside)
        message = (
            f"ranges are fixed by the calibration images (-1 .. 1): {sign * 40} must saturate near "
            f"{sign}, got {values[0, 0]:.3f}"
        )
        expect.true(float(values.abs().max()) < 1.3, message, "dynamic_ranges")
    alone, together = run(got, x[:1]), run(got, torch.cat([x[:1], 30 * x[1:60]]))[:1]
    expect.close(alone, together, "an image alone and among louder ones", atol=1e-4, rtol=1e-4)


@check("quantize_model")
def test_all_batches_calibrate(student: Student, rng: torch.Generator) -> None:
    for loud in (0, 2, 3):
        x = even(rng, 4, 100, 3)
        x[loud] *= 4
        x = x.reshape(400, 3)
        got = quantized(student, identity(3), loader_of(x, 100), 8, 8, False)
        top = float(run(got, torch.full((1, 3), 3.0)).min())
        message = (
            f"batch {loud + 1} of 4 reaches up to 4, so an input of 3 must come through, got "
            f"{top:.3f}: calibrate on every batch"
        )
        expect.true(2.7 < top < 3.3, message, "first_batch_only")


@check("quantize_model")
def test_method_of_calibration(student: Student, rng: torch.Generator) -> None:
    x = torch.rand(2500, 10, generator=rng)
    x[60:70, 3] = 4.0  # too few for two bits: percentile and mse cut them off
    # By method: where the range may end, and the mistake that gives the range of min-max.
    for method, lowest, highest, mistake in (
        ("minmax", 3.5, 4.5, None),
        ("percentile", 0.8, 2, "ignores_method"),
        ("mse", 0.5, 2.5, "mse_for_eight_bits"),
    ):
        try:
            got = quantized(student, identity(10), loader_of(x, 500), 8, 2, False, method=method)
        except StudentError as error:
            if "unexpected keyword argument" in error.message:
                return  # an answer that knows min-max only has no such argument
            raise
        top = float(run(got, torch.full((1, 10), 50.0)).max())
        message = (
            f"method={method!r}, activation_bits=2, inputs in 0 .. 1 and a few of 4: expected a "
            f"range that ends in {lowest} .. {highest}, got {top:.3g}; calibrate takes the method, "
            "and for 'mse' the activations' bits"
        )
        expect.true(lowest <= top <= highest, message, mistake if top > 3.5 else None)


def response(got: object, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return bias and weight of a one-layer model, read from its answers to single ones.

    Args:
        got: The model; it takes inputs of `shape`.
        shape: Of one input.
    """
    count = int(torch.tensor(shape).prod())
    singles = torch.cat([torch.zeros(1, count), torch.eye(count)]).reshape(-1, *shape)
    answers = run(got, singles).flatten(1)
    return answers[0], (answers[1:] - answers[0]).T


def basis_loader(rng: torch.Generator, shape: tuple[int, ...]) -> DataLoader:
    """Return a loader of inputs from 0 to 1, single ones among them."""
    count = int(torch.tensor(shape).prod())
    mixed = torch.rand(60, count, generator=rng).round(decimals=1)
    return loader_of(torch.cat([torch.eye(count), mixed]).reshape(-1, *shape))


def one_layer(rng: torch.Generator, conv: bool) -> tuple[nn.Sequential, tuple[int, ...], Tensor]:
    """Return a model of one layer with channels of different sizes, its input shape, its weight."""
    layer = nn.Conv2d(2, 6, 3) if conv else nn.Linear(15, 6)
    shape = (2, 3, 3) if conv else (15,)
    redraw(layer, rng)
    sizes = torch.tensor([1.0, 0.03, 4.0, 0.3, 0.002, 1.0])
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng))
        layer.weight.mul_(sizes.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    return nn.Sequential(layer), shape, layer.weight.detach().flatten(1)


def count_weights(weights: Tensor, step: float) -> int:
    """Return how many different weights there are; a tenth of a step makes no difference."""
    ordered = weights.flatten().double().sort().values
    return 1 + int((ordered.diff() > 0.1 * step).sum())


def expect_on_grid(got: Tensor, weight: Tensor, bits: int, what: str, mistake: str | None) -> None:
    """Expect weights within half a symmetric step, with at most 2^bits different values."""
    step = float(weight.abs().max()) / (2 ** (bits - 1) - 1)
    worst = float((got - weight).abs().max())
    noise = 2e-3 * float(weight.abs().max())
    if worst > 0.52 * step + noise:
        fail(
            f"{what}: with weight_bits={bits} the step is {step:.4g}, so a weight moves by "
            f"{step / 2:.4g} at most, but one moved by {worst:.4g}",
            mistake,
        )
    levels = count_weights(got, step)
    if levels > 2**bits:
        fail(f"{what}: expected at most {2**bits} different weights, got {levels}", mistake)


def other_scales(got: Tensor, weight: Tensor, bits: int) -> str | None:
    """Name the mistake when the scales are per tensor instead of per channel, or vice versa."""
    codes = 2 ** (bits - 1) - 1
    if torch.allclose(got, weight, atol=1e-3, rtol=1e-3):
        return None  # not quantized at all
    if count_weights(got, float(weight.abs().max()) / codes) <= 2**bits:
        return "always_per_tensor"
    sizes = weight.abs().amax(dim=1) / codes
    if all(
        count_weights(row, float(size)) <= 2**bits for row, size in zip(got, sizes, strict=True)
    ):
        return "always_per_channel"
    return None


@check("quantize_model", weight=3)
def test_weights_per_channel(student: Student, rng: torch.Generator) -> None:
    for conv in (False, True):
        for bits in (2, 3, 4):
            model, shape, weight = one_layer(rng, conv)
            got = quantized(student, model, basis_loader(rng, shape), bits, 16, True)
            _, columns = response(got, shape)
            for channel in (0, 2, 3, 5):
                what = f"per_channel=True, {'conv' if conv else 'linear'} channel {channel}"
                mistake = other_scales(columns, weight, bits)
                expect_on_grid(columns[channel], weight[channel], bits, what, mistake)


@check("quantize_model", weight=3)
def test_weights_per_tensor(student: Student, rng: torch.Generator) -> None:
    for conv in (False, True):
        for bits in (2, 3, 4):
            model, shape, weight = one_layer(rng, conv)
            got = quantized(student, model, basis_loader(rng, shape), bits, 16, False)
            _, columns = response(got, shape)
            what = f"per_channel=False, {'conv' if conv else 'linear'} layer"
            expect_on_grid(columns, weight, bits, what, other_scales(columns, weight, bits))


@check("quantize_model", weight=3)
def test_weights_of_every_layer(student: Student, rng: torch.Generator) -> None:
    # Three layers with widths of one between: the answer's slope is the product of three weights.
    for position in range(3):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        with torch.no_grad():
            for layer in model:
                layer.weight.copy_(torch.eye(2))
                layer.bias.zero_()
            model[position].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.3]]))
        x = torch.rand(200, 2, generator=rng)
        x[:2] = torch.eye(2)
        got = quantized(student, model, loader_of(x), 3, 16, False)
        value = float(run(got, torch.eye(2))[1, 1])
        # 1/3 on the symmetric grid; an asymmetric one, which is finer, gives 0.2857.
        if not 0.005 < abs(value - 0.3) < 0.17:
            fail(
                f"layer {position + 1} of 3 has the weights 1 and 0.3; with 3 bits 0.3 becomes "
                f"1/3, but it acts as {value:.4f}",
                "first_and_last_weights_in_float",
            )


@check("quantize_model")
def test_biases_stay_in_float(student: Student, rng: torch.Generator) -> None:
    for conv in (False, True):
        for per_channel in (True, False):
            model, shape, _ = one_layer(rng, conv)
            got = quantized(student, model, basis_loader(rng, shape), 2, 2, per_channel)
            bias, _ = response(got, shape)
            what = "output for an input of zeros (it is the float bias)"
            expect.close(bias, model[0].bias.detach(), what, 1e-4, 1e-4, "biases_quantized")


@check("quantize_model")
def test_batch_norm_stays_in_float(student: Student, rng: torch.Generator) -> None:
    layers = (nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Flatten())
    model = redraw(nn.Sequential(*layers), rng).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4).reshape(4, 4, 1, 1))  # on every symmetric grid
        model[1].weight.copy_(torch.tensor([1.0, 0.7, -0.4, 0.1]))
    got = quantized(student, model, basis_loader(rng, (4, 1, 1)), 2, 16, True)
    _, weights = response(got, (4, 1, 1))
    what = "factors of a batch normalisation (only conv and linear layers are quantized)"
    expect.close(weights.diagonal(), model[1].weight.detach(), what, 2e-3, 2e-3)


@check("quantize_model", weight=2)
def test_result_is_a_copy_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
    model = redraw(nn.Sequential(*layers, nn.Linear(64, 3)), rng)
    model[1].running_var.fill_(2.0)
    images = torch.randn(60, 1, 6, 6, generator=rng)
    with torch.no_grad():
        wanted = model.eval()(images)
    lived_in(model, rng)
    before = snapshot(model)
    got = quantized(
        student,
        model=model,
        loader=loader_of(images, 20),
        weight_bits=8,
        activation_bits=8,
        per_channel=True,
    )
    expect.unchanged(before, model, "the caller's model", "changes_the_callers_model")
    expect.true(not got.training, "the result must be in eval mode", "left_in_train_mode")
    values = run(got, images)
    error = float((values - wanted).square().mean().sqrt() / wanted.std())
    message = f"in eval mode 8 bits change little, but the relative error is {error:.3f}"
    expect.true(error < 0.15, message)
    again = run(got, images[:7])
    expect.close(again, values[:7], "the same images again, in a smaller batch", atol=1e-4)


@check("quantize_model")
def test_quantize_model_rejects_impossible_bits(student: Student, rng: torch.Generator) -> None:
    model, loader = identity(3), loader_of(even(rng, 30, 3))
    for bits in (1, 0, 17):
        with expect.value_error(f"weight_bits = {bits}"):
            quantized(student, model, loader, bits, 8, True)
        with expect.value_error(f"activation_bits = {bits}"):
            quantized(student, model, loader, 8, bits, True)


@check("quantize_model", weight=2, timeout=30)
def test_lenet_stays_accurate(student: Student, course: Course, expected: SimpleNamespace) -> None:
    model = course.checkpoint("lenet")
    loader = course.loader("train", limit=300, batch_size=100)
    images, labels = course.images("grading", 1000)
    for bits, figure in ((8, expected.lenet_w8a8_accuracy), (4, expected.lenet_w4a4_accuracy)):
        got = quantized(student, model, loader, bits, bits, True)
        right = float((run(got, images).argmax(1) == labels).double().mean())
        message = (
            f"LeNet with {bits} bits for weights and activations, per channel: expected an "
            f"accuracy of at least {figure.low:.1%} on hidden images, got {right:.1%}"
        )
        expect.true(right >= figure.low, message)


@check("quantize_model")
def test_batch_norm_network_works(student: Student, course: Course) -> None:
    model: BatchNormCNN = course.checkpoint("batch_norm_cnn")
    loader = course.loader("train", limit=200, batch_size=100)
    images, _ = course.images("grading", 400)
    got = quantized(student, model, loader, 8, 8, True)
    with torch.no_grad():
        wanted = model(images).argmax(1)
    same = float((run(got, images).argmax(1) == wanted).double().mean())
    message = f"BatchNormCNN with 8 bits: expected 95 % of the float answers, got {same:.1%}"
    expect.true(same >= 0.95, message)
