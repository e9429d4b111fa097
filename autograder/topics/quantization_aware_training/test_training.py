"""Hidden checks: prepare_qat and train_qat."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.judge.toys import lived_in, redraw, small_network, snapshot, stripes
from autograder.topics.quantization_aware_training.toys import (
    HIDDEN_IMAGES,
    calibrate,
    different_rows,
    error,
    expect_layer,
    fill,
    find_parameter,
    folded_checkpoint,
    hits,
    modes,
    most_levels,
    outputs,
    prepare,
    read_linear,
    same_state,
    state,
)
from course_utils.data import make_loader
from course_utils.models import LeNet

SIZE = 16


def identity() -> nn.Linear:
    """Return a linear layer that passes its input on; every scheme represents it exactly."""
    layer = nn.Linear(SIZE, SIZE)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(SIZE))
        layer.bias.zero_()
    return layer


def random_layer(rng: torch.Generator) -> nn.Linear:
    """Return a linear layer with evenly spread weights and without offset."""
    layer = fill(nn.Linear(SIZE, SIZE), rng)
    with torch.no_grad():
        layer.bias.zero_()
    return layer


def expect_quantized(module: RemoteObject, what: str, mistake: str | None, bits: int = 3) -> None:
    """Expect a chain of linear layers to compute with a weight of few bits."""
    levels = most_levels(read_linear(module, SIZE), 5e-3)
    if levels > 2**bits:
        fail(f"{what}: {bits} bits allow {2**bits} levels of its weight, got {levels}", mistake)


# ---------------------------------------------------------------- prepare_qat


@check("prepare_qat", gate=True)
def test_prepared_model_is_near_the_float_model(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    x = torch.rand(20, 1, 6, 6, generator=rng)
    module = calibrate(prepare(student, model, 8, 8), x)
    with torch.no_grad():
        wanted = model(x)
    got = expect.tensor(outputs(module, x), wanted.shape)
    expect.true(error(got, wanted) < 0.06, f"8 bits: off by {error(got, wanted):.1%}")
    rough = calibrate(prepare(student, model, 2, 2), x)
    message = "2 bits: the outputs are those of the float model, so nothing was quantized"
    # One layer that stays in float is for the checks below to name, so any difference is enough.
    expect.true(error(outputs(rough, x), wanted) > 1e-3, message, "nothing_wrapped")


@check("prepare_qat", weight=2)
def test_every_linear_layer_is_wrapped(student: Student, rng: torch.Generator) -> None:
    mistakes = {0: "first_layer_forgotten", 2: "last_layer_forgotten"}
    for place, what in enumerate(("the first layer", "the middle layer", "the last layer")):
        layers = [identity(), identity(), identity()]
        layers[place] = random_layer(rng)
        module = prepare(student, nn.Sequential(*layers), 3, 16)
        expect_quantized(module, f"{what} of three", mistakes.get(place))
    nested = nn.Sequential(nn.Sequential(nn.Identity(), nn.Sequential(random_layer(rng))))
    expect_quantized(
        prepare(student, nested, 3, 16, "nested_forgotten"),
        "a layer deep inside",
        "nested_forgotten",
    )
    for bits in (2, 4):
        module = prepare(student, nn.Sequential(random_layer(rng)), bits, 16)
        expect_quantized(module, f"weight_bits={bits}", None, bits)


@check("prepare_qat", weight=2)
def test_every_conv_layer_is_wrapped(student: Student, rng: torch.Generator) -> None:
    for nested in (False, True):
        conv = nn.Conv2d(1, SIZE, (1, SIZE), bias=False)
        fill(conv, rng)
        inner = nn.Sequential(nn.Sequential(conv)) if nested else conv
        model = nn.Sequential(inner, nn.Flatten())
        name = "nested_forgotten" if nested else "conv_forgotten"
        module = prepare(student, model, 3, 16, name)
        probe = torch.eye(SIZE).reshape(SIZE, 1, 1, SIZE)
        module.train()
        module(probe)
        levels = most_levels(outputs(module, probe).T, 5e-3)
        if levels > 8:
            fail(f"a conv layer: 3 bits allow 8 levels of its weight, got {levels}", name)


@check("prepare_qat", weight=2)
def test_every_input_is_quantized(student: Student, rng: torch.Generator) -> None:
    # One layer after the other gets a single number x as its input, and gives x + 0, …, x + 1.
    # Rounded to 2 bits before that, x leaves 4 different rows; rounded after it, many more.
    spread, conv = nn.Linear(1, SIZE), nn.Conv2d(1, SIZE, 1)
    for layer in (spread, conv):
        with torch.no_grad():
            layer.weight.fill_(1)
            layer.bias.copy_(torch.linspace(0, 1, SIZE))
    narrow = nn.Linear(SIZE, 1)
    fill(narrow, rng)
    single, many = torch.linspace(-1, 2, 400)[:, None], torch.randn(400, SIZE, generator=rng)
    for what, layers, x in (
        ("the first layer", [spread, random_layer(rng)], single),
        ("a conv layer", [conv, nn.Flatten(), random_layer(rng)], single[..., None, None]),
        ("a layer in the middle", [narrow, spread, random_layer(rng)], many),
        ("the last layer", [narrow, spread], many),
    ):
        module = calibrate(prepare(student, nn.Sequential(*layers), 8, 2), x)
        count = different_rows(outputs(module, x))
        message = f"activation_bits=2: {what} has inputs of more than 4 levels"
        expect.true(count <= 4, message, "activation_bits_lost")


@check("prepare_qat")
def test_float_weights_are_kept(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    module = prepare(student, model, 2, 8)
    for name, parameter in model.named_parameters():
        if find_parameter(module, parameter.detach()) is None:
            fail(
                f"{name} of the given model is not among the parameters that learn: the float "
                "values stay, and nothing is frozen",
                "rounds_the_weights_at_once",
            )


@check("prepare_qat")
def test_every_layer_watches_its_own_input(student: Student, rng: torch.Generator) -> None:
    first, second = random_layer(rng), random_layer(rng)
    with torch.no_grad():
        first.weight.mul_(300)
    x = torch.rand(60, SIZE, generator=rng)
    model = nn.Sequential(first, nn.ReLU(), second)
    module = calibrate(prepare(student, model, 12, 8), x)
    with torch.no_grad():
        off = error(outputs(module, x), model(x))
    message = f"two layers with very different inputs: off by {off:.1%} at 8 bits (allowed 8 %)"
    expect.true(off < 0.08, f"{message}; has each layer an observer of its own?", "shared_observer")


@check("prepare_qat")
def test_bits_are_in_their_places(student: Student, rng: torch.Generator) -> None:
    model = nn.Sequential(random_layer(rng))
    fine = read_linear(prepare(student, model, 8, 3), SIZE)
    weight = model[0].weight.detach()
    if error(fine, weight) > 0.05:
        fail("weight_bits=8, activation_bits=3: the weight is too coarse", "bits_swapped")
    try:
        got = student.prepare_qat(model=snapshot(model), weight_bits=3, activation_bits=8)
    except StudentError as problem:
        got = problem.result
    rough = read_linear(expect_layer(got, "prepare_qat, with keywords"), SIZE)
    if error(rough, weight) < 0.05:
        fail("weight_bits=3, activation_bits=8: the weight is too fine", "bits_swapped")


@check("prepare_qat")
def test_other_layers_stay(student: Student, rng: torch.Generator) -> None:
    model = nn.Sequential(
        fill(nn.Conv2d(1, 4, 3, padding=1, bias=False), rng),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        fill(nn.Linear(36, 5), rng),
    )
    model[1].running_mean = torch.rand(4, generator=rng)
    model[1].running_var = 1 + 5 * torch.rand(4, generator=rng)
    x = torch.rand(30, 1, 6, 6, generator=rng)
    with torch.no_grad():
        model.train()
        for _ in range(60):
            model(x)
        wanted = model.eval()(x)
    module = calibrate(prepare(student, model, 8, 8), x)
    got = expect.tensor(outputs(module, x), wanted.shape)
    message = f"with batch norm and pooling: off by {error(got, wanted):.1%} at 8 bits"
    expect.true(error(got, wanted) < 0.06, message)


@check("prepare_qat")
def test_networks_with_a_forward_of_their_own(student: Student, rng: torch.Generator) -> None:
    # ReLU, pooling and flatten stand in the forward of LeNet, and are no modules.
    x, network = torch.rand(12, 1, 28, 28, generator=rng), redraw(LeNet(2, 3, 8), rng)
    with torch.no_grad():
        wanted = network(x)
    for model in (network, nn.Sequential(network)):
        module = prepare(student, model, 8, 8, "nested_forgotten")
        try:
            calibrate(module, x)
        except StudentError as problem:
            if problem.fatal:
                raise
            fail(
                f"the course's LeNet, prepared, raised {problem}; only the layers are replaced, "
                "the model and its forward stay",
                "forward_lost",
            )
        off = error(expect.tensor(outputs(module, x), wanted.shape), wanted)
        message = f"the course's LeNet: off by {off:.1%} at 8 bits (allowed 8 %)"
        expect.true(off < 0.08, message)


@check("prepare_qat")
def test_prepared_model_is_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    for model in (small_network(rng).train(), small_network(rng).eval()):
        flags = modes(student, prepare(student, model, 4, 8))
        message = f"expected eval mode everywhere, {sum(flags)} modules are in train mode"
        expect.true(not any(flags), message, "left_in_train_mode")


@check("prepare_qat", weight=2)
def test_preparing_leaves_the_callers_model(student: Student, rng: torch.Generator) -> None:
    models = [lived_in(small_network(rng), rng), lived_in(redraw(LeNet(2, 3, 8), rng), rng)]
    for model in models:
        before = snapshot(model)
        try:
            got = student.prepare_qat(model, 4, 8)
        except StudentError as problem:
            if problem.result is None:
                raise
            fail("the given model was changed: its layers were wrapped", "changes_the_model")
        expect.unchanged(before, model, "the caller's model", "changes_the_model")
        # A deep copy has no gradients; a parameter that has one is the caller's own.
        if any(tensor.grad is not None for tensor in state(expect_layer(got, "result")).values()):
            fail(
                "the prepared model shares parameters with the given one: use copy.deepcopy",
                "shares_the_parameters",
            )


@check("prepare_qat", weight=0.5)
def test_preparing_rejects_impossible_bits(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    for weight_bits, activation_bits in ((1, 8), (17, 8), (8, 1), (8, 17)):
        with expect.value_error(f"weight_bits={weight_bits}, activation_bits={activation_bits}"):
            student.prepare_qat(model, weight_bits, activation_bits)


# ---------------------------------------------------------------- train_qat


def trained(student: Student, module: RemoteObject, loader: Any, epochs: int, lr: float) -> Any:
    """Return the trained model."""
    return expect_layer(student.train_qat(module, loader, epochs, lr), "train_qat")


def float_weights(module: RemoteObject) -> Tensor:
    """Return all float tensors that learn, in one row."""
    learning = [t.detach().flatten() for t in state(module).values() if t.requires_grad]
    return torch.cat(learning)


@check("train_qat", gate=True)
def test_an_easy_task_is_learnt(student: Student, rng: torch.Generator) -> None:
    loader = stripes(rng)
    module = prepare(student, small_network(rng), 4, 4)
    got = trained(student, module, loader, 12, 0.05)
    right = hits(got, loader)
    message = f"expected 75 % on an easy task after 12 epochs, got {right:.0%}"
    expect.true(right > 0.75, message, "does_not_train")


@check("train_qat", weight=2)
def test_training_leaves_the_given_model(student: Student, rng: torch.Generator) -> None:
    loader = stripes(rng, count=64)
    module = prepare(student, small_network(rng), 4, 8)
    for name in ("train", "eval"):
        getattr(module, name)()
        before, flags = {k: t.detach() for k, t in state(module).items()}, modes(student, module)
        student.train_qat(model=module, loader=loader, epochs=1, lr=0.01)
        after = state(module)
        if not same_state(before, after):
            fail("the given model was changed: train a deep copy", "changes_the_model")
        if any(tensor.grad is not None for tensor in after.values()):
            fail("the given model now has gradients: train a deep copy", "changes_the_model")
        if modes(student, module) != flags:
            fail(f"the given model was in {name} mode and no longer is", "changes_the_model")
        got = trained(student, module, loader, 0, 0.01)
        message = f"epochs=0, the given model in {name} mode: expected a copy in eval mode"
        expect.true(not any(modes(student, got)), message, "left_in_train_mode")
        got.train(name == "eval")  # a copy may be put into any mode
        if modes(student, module) != flags:
            fail("epochs=0: the given model itself came back, not a copy", "no_copy_without_epochs")


@check("train_qat")
def test_trained_model_is_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    module, loader = prepare(student, small_network(rng), 4, 8), stripes(rng, count=64)
    for epochs in (0, 1):
        flags = modes(student, trained(student, module, loader, epochs, 0.01))
        message = f"epochs={epochs}: {sum(flags)} modules are still in train mode"
        expect.true(not any(flags), message, "left_in_train_mode")


@check("train_qat", weight=2)
def test_every_float_weight_learns(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng)
    module = prepare(student, model, 4, 8)
    weights = [p.detach() for p in model.parameters()]
    # Names of the float weights and biases; a wrapped layer may call them as it likes.
    start = state(module)
    after = state(trained(student, module, stripes(rng), 2, 0.01))
    for key, value in start.items():
        if key not in after or not any(
            value.shape == w.shape and torch.equal(value.detach(), w) for w in weights
        ):
            continue
        message = f"{key} is as it was before: are all parameters in the optimizer?"
        expect.true(not torch.equal(after[key], value), message, "trains_only_a_part")
        if value.dim() > 1 and len(after[key].unique()) < 0.5 * value.numel():
            fail(
                f"{key} has only {len(after[key].unique())} different values after training: the "
                "float weight stays, and only the layer's forward rounds it",
                "weights_rounded_after_each_step",
            )


@check("train_qat")
def test_every_batch_is_used(student: Student, rng: torch.Generator) -> None:
    images, labels = stripes(rng, count=256).dataset.tensors
    lacking = (labels != 2).nonzero().flatten()[:64]
    between = torch.ones(256, dtype=torch.bool)
    between[lacking] = False
    # The first and the last batch have no image of class 2.
    order = torch.cat([lacking[:32], between.nonzero().flatten(), lacking[32:]])
    loader = make_loader(images[order], labels[order], batch_size=32)
    got = trained(student, prepare(student, small_network(rng), 8, 8), loader, 12, 0.05)
    shown = outputs(got, images[labels == 2])
    right = float((shown.argmax(1) == 2).double().mean())
    message = (
        f"a class that is in neither the first nor the last batch: {right:.0%} right; does the "
        "optimizer take a step for every batch?"
    )
    expect.true(right > 0.5, message, "trains_on_one_batch")


@check("train_qat", weight=2)
def test_ranges_of_the_inputs_are_learnt(student: Student, rng: torch.Generator) -> None:
    loader = stripes(rng)
    images = loader.dataset.tensors[0]
    module = prepare(student, small_network(rng), 8, 8)
    got = trained(student, module, loader, 2, 1e-3)
    usual, wild = outputs(got, images).abs().max(), outputs(got, 1000 * images).abs().max()
    if wild > 20 * usual:
        fail(
            "after training, inputs far beyond all that were seen are not clipped: the observers "
            "saw nothing; train in train mode",
            "trains_in_eval_mode",
        )


@check("train_qat")
def test_epochs_and_learning_rate_of_qat_count(student: Student, rng: torch.Generator) -> None:
    loader = stripes(rng, count=64)
    module = prepare(student, small_network(rng), 4, 8)
    start = float_weights(module)

    def distance(epochs: int, lr: float) -> float:
        got = float_weights(trained(student, module, loader, epochs, lr))
        return float((got - start).abs().sum())

    usual = distance(1, 1e-3)
    expect.true(distance(0, 1e-3) == 0, "epochs=0 must return an equal copy", "ignores_epochs")
    expect.true(usual > 0, "one epoch changed no weight", "does_not_train")
    message = "ten times the epochs moved the weights no further: are all epochs trained?"
    expect.true(distance(10, 1e-3) > 1.5 * usual, message, "ignores_epochs")
    message = "a learning rate 100 times smaller moved the weights as far: is `lr` used?"
    expect.true(distance(1, 1e-5) < 0.3 * usual, message, "ignores_the_learning_rate")


@check("train_qat")
def test_gradients_do_not_pile_up(student: Student, rng: torch.Generator) -> None:
    # With a tiny lr the gradient hardly changes. Ten times the steps then go about 10 times as far,
    # with a momentum of 0.9 about 31 times and of 0.99 about 73 times; the sum of all gradients so
    # far goes 83 times as far.
    loader = stripes(rng, count=32)
    module = prepare(student, small_network(rng), 8, 8)
    start = float_weights(module)
    short, long = (
        float((float_weights(trained(student, module, loader, epochs, 1e-5)) - start).norm())
        for epochs in (5, 50)
    )
    if long > 78 * short:
        fail(
            f"ten times the steps went {long / short:.0f} times as far: are the gradients of "
            "earlier batches set to zero before each backward?",
            "gradients_pile_up",
        )


@check("train_qat", weight=0.5)
def test_training_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    module, loader = prepare(student, small_network(rng), 4, 8), stripes(rng, count=32)
    with expect.value_error("epochs = -1"):
        student.train_qat(module, loader, -1, 0.01)
    for lr in (0, 0.0, -0.01):
        with expect.value_error(f"lr = {lr}"):
            student.train_qat(module, loader, 1, lr)


@check("train_qat", weight=2, timeout=30)
def test_qat_brings_accuracy_back(
    student: Student, course: Course, expected: SimpleNamespace
) -> None:
    model = folded_checkpoint(course)
    module = prepare(student, model, 3, 8)
    calibrate(module, course.images("train", 256)[0])
    loader = course.loader("train", limit=2000, batch_size=64)
    got = trained(student, module, loader, 1, 2e-3)
    images, labels = course.images("grading", HIDDEN_IMAGES)
    right = float((outputs(got, images).argmax(1) == labels).double().mean())
    # Optimizer and schedule are free: plain gradient descent learns little in one epoch.
    low = expected.qat_three_bits.low - 0.2
    message = (
        f"3-bit weights, one epoch on 2,000 images: expected {low:.1%} or more, got {right:.1%}"
    )
    expect.true(right > low, message, "does_not_train")
