"""Hidden checks: finetune_pruned and sensitivity_scan."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.by_reference import as_left
from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, prunable, redraw, small_network, snapshot, stripes
from autograder.topics.network_pruning.toys import mean_loss, random_masks
from course_utils.data import make_loader
from course_utils.evaluation import accuracy
from course_utils.models import MLP, BatchNormCNN, LeNet

NAN = float("nan")
Masks = dict[str, Tensor]


def expect_model(got: object, like: nn.Module, what: str = "the result") -> nn.Module:
    """Expect a model with the layers of `like`."""
    if type(got) is not type(like) or list(got.state_dict()) != list(like.state_dict()):
        fail(
            f"{what}: expected a {type(like).__name__} with the layers of the given model, got "
            f"{describe(got)}; a model that torch.nn.utils.prune still holds (weight_orig, "
            "weight_mask) needs prune.remove, and the model itself must be returned"
        )
    return got


def expect_zeros(model: nn.Module, masks: Masks, mistake: str = "zeros_come_back") -> None:
    """Expect exact zeros wherever a mask is False."""
    for name, mask in masks.items():
        back = int(model.get_parameter(name).detach()[~mask].count_nonzero())
        if back:
            fail(
                f"expected {name} to be exactly 0 at its {int((~mask).sum())} pruned places, but "
                f"{back} of them are not; momentum, Adam and weight decay move a weight even when "
                "its gradient is 0, so apply the masks again after every step",
                mistake,
            )


# ---------------------------------------------------------------- finetune_pruned


@check("finetune_pruned", gate=True)
def test_zeros_stay_zero(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng, batch_norm=True)
    masks = random_masks(model, rng, keep=0.4)
    for start in (copy.deepcopy(model).train(), copy.deepcopy(model).eval()):
        tuned = student.finetune_pruned(start, masks, stripes(rng), 2, 0.02)
        expect_zeros(expect_model(tuned, model), masks)


@check("finetune_pruned")
def test_masks_are_applied_first(student: Student, rng: torch.Generator) -> None:
    model = small_network(rng, batch_norm=True)
    masks = random_masks(model, rng, keep=0.5)
    got = expect_model(student.finetune_pruned(model, masks, stripes(rng), 0, 0.02), model)
    for name, parameter in model.named_parameters():
        wanted = parameter.detach() * masks[name] if name in masks else parameter.detach()
        expect.close(
            got.get_parameter(name).detach(),
            wanted,
            f"epochs=0: {name} (the masked weights of the model, and nothing else)",
            atol=0,
            rtol=0,
            mistake="masks_not_applied_first",
        )


@check("finetune_pruned", weight=2)
def test_the_pruned_model_learns(student: Student, rng: torch.Generator) -> None:
    model, loader = small_network(rng, batch_norm=True), stripes(rng)
    masks = random_masks(model, rng, keep=0.6)
    start = student.finetune_pruned(model, masks, loader, 0, 0.05)
    before = mean_loss(expect_model(start, model), loader)
    # Enough for plain SGD with a falling learning rate, the slowest of the usual optimizers.
    tuned = expect_model(student.finetune_pruned(model, masks, loader, 10, 0.05), model)
    after, right = mean_loss(tuned, loader), accuracy(tuned, loader)
    still = all(
        torch.equal(tuned.get_parameter(name)[mask], start.get_parameter(name)[mask])
        for name, mask in masks.items()
    )
    elsewhere = any(
        not torch.equal(parameter, start.get_parameter(name))
        for name, parameter in tuned.named_parameters()
        if name not in masks
    )
    message = "expected the weights that were kept to learn, but those under a mask stood still"
    cause = "kept_weights_frozen" if elsewhere else "does_not_train"
    expect.true(not still, message, cause)
    if not after < 0.7 * before or right < 0.75:
        fail(
            f"expected an easy task to be learnt in 10 epochs, got loss {before:.2f} before and "
            f"{after:.2f} after, accuracy {right:.2f}; is the copy trained that is returned, on "
            "the loader's labels, with zero_grad before each backward?",
            "does_not_train",
        )


@check("finetune_pruned", weight=2)
def test_zeros_are_held_during_training(student: Student, rng: torch.Generator) -> None:
    # The first input is pruned. It shares a noise with the second: who may use both learns to
    # subtract the second, who may use only the second learns to add it. So a network that used
    # the first while it trained answers worse than chance once it is cut.
    labels = torch.randint(2, (4000,), generator=rng)
    sign, noise = 2.0 * labels - 1, torch.randn(4000, generator=rng)
    second = 0.5 * sign + noise + 0.1 * torch.randn(4000, generator=rng)
    images = torch.stack([sign + noise, second], dim=1).reshape(4000, 1, 1, 2)
    loader = make_loader(images, labels, batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    mask = torch.tensor([[False, True], [False, True]])
    tuned = student.finetune_pruned(model, {"1.weight": mask}, loader, 1, 0.05)
    expect_zeros(expect_model(tuned, model), {"1.weight": mask})
    right = accuracy(tuned, loader)
    if right < 0.55:
        fail(
            f"expected the weights that were kept to do the work (accuracy about 0.69), got "
            f"{right:.2f}; it looks as if the pruned weights learn during the epoch and are cut "
            "at its end: mask after every step",
            "masked_only_at_the_end",
        )


@check("finetune_pruned")
def test_every_batch_is_trained_on(student: Student, rng: torch.Generator) -> None:
    # The first and the last batch have the labels swapped: who trains on one of them alone learns
    # the opposite of what the 18 batches between them say.
    labels = torch.randint(2, (320,), generator=rng)
    images = (2.0 * labels - 1)[:, None] + 0.3 * torch.randn(320, 4, generator=rng)
    images, given = images.reshape(320, 1, 2, 2), labels.clone()
    given[:16], given[-16:] = 1 - labels[:16], 1 - labels[-16:]
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    mask = torch.tensor([[True, True, False, True], [True, False, True, True]])
    loader = make_loader(images, given, batch_size=16)
    tuned = student.finetune_pruned(model, {"1.weight": mask}, loader, 1, 0.05)
    right = accuracy(expect_model(tuned, model), make_loader(images, labels, batch_size=16))
    if right < 0.5:
        fail(
            f"expected a step for every batch of the loader: the labels of the first and the last "
            f"batch are swapped, those of the 18 batches between are right, yet accuracy on the "
            f"right labels is {right:.2f}; is there a `break`, or does the step stand outside of "
            "the loop over the batches?",
            "trains_on_one_batch",
        )


@check("finetune_pruned")
def test_only_the_masked_layers_are_held(student: Student, rng: torch.Generator) -> None:
    model = redraw(LeNet(2, 3, 8), rng)
    masks = {"fc1.weight": torch.rand(8, 48, generator=rng) < 0.5}
    with torch.no_grad():
        model.conv2.weight[0] = 0  # zeros of the model that no mask asks for
    images, labels = torch.randn(64, 1, 28, 28, generator=rng), torch.arange(64) % 10
    loader = make_loader(images, labels, batch_size=16)
    tuned = expect_model(student.finetune_pruned(model, masks, loader, 2, 0.01), model)
    expect_zeros(tuned, masks)
    for name, parameter in tuned.named_parameters():
        if name not in masks:
            zeros = float((parameter == 0).double().mean())
            message = f"{name} has no mask, yet {zeros:.0%} of it came back as zero"
            expect.true(zeros < 0.5, message, "prunes_layers_without_a_mask")
    with torch.no_grad():
        model.fc1.weight.zero_()
        for layer in (model.conv1, model.conv2, model.fc1):
            layer.bias.abs_()  # neurons that are silent could not learn
    everything = {"fc1.weight": torch.ones(8, 48, dtype=torch.bool)}
    tuned = student.finetune_pruned(model, everything, loader, 3, 0.01)
    learnt = int(expect_model(tuned, model).fc1.weight.count_nonzero())
    message = "a weight that is 0 but kept by its mask must learn: the masks decide, not the zeros"
    expect.true(learnt, message, "holds_every_zero")


@check("finetune_pruned")
def test_finetuned_model_is_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    model = nn.Sequential(
        *small_network(rng, batch_norm=True)[:4], nn.Dropout(0.1), nn.Linear(96, 3)
    )
    masks = random_masks(model, rng, keep=0.5)
    for epochs in (0, 1):
        for start in (copy.deepcopy(model).train(), copy.deepcopy(model).eval()):
            tuned = student.finetune_pruned(start, masks, stripes(rng), epochs, 0.01)
            training = [
                name or "the model itself"
                for name, module in expect_model(tuned, model).named_modules()
                if module.training
            ]
            message = f"epochs={epochs}: expected eval mode everywhere, still training: {training}"
            expect.true(not training, message, "left_in_train_mode")


@check("finetune_pruned", weight=2)
def test_finetuning_leaves_the_callers_model(student: Student, rng: torch.Generator) -> None:
    model = lived_in(small_network(rng, batch_norm=True), rng)
    masks = random_masks(model, rng, keep=0.5)
    before, masks_before = snapshot(model), {name: mask.clone() for name, mask in masks.items()}
    for epochs in (0, 1):
        arguments = {"loader": stripes(rng), "epochs": epochs, "lr": 0.01}
        tuned = student.finetune_pruned(model=model, masks=masks, **arguments)
        expect.unchanged(before, model, "the caller's model", "changes_the_callers_model")
        expect.unchanged(masks_before, masks, "masks")
        expect_zeros(expect_model(tuned, model), masks)


@check("finetune_pruned")
def test_epochs_and_learning_rate_count(student: Student, rng: torch.Generator) -> None:
    model, loader = small_network(rng, batch_norm=True), stripes(rng, count=64)
    masks = random_masks(model, rng, keep=0.5)

    def distance(epochs: int, lr: float) -> float:
        tuned = expect_model(student.finetune_pruned(model, masks, loader, epochs, lr), model)
        return sum(
            float((tuned.get_parameter(name).detach() - weight * masks[name]).abs().sum())
            for name, weight in prunable(model).items()
        )

    usual = distance(1, 1e-3)
    expect.true(usual > 0, "one epoch changed no weight", "does_not_train")
    message = "ten times the epochs moved the weights no further: are all epochs trained?"
    expect.true(distance(10, 1e-3) > 1.5 * usual, message, "trains_one_epoch_only")
    message = "a learning rate 100 times smaller moved the weights as far: is `lr` used?"
    expect.true(distance(1, 1e-5) < 0.3 * usual, message, "ignores_the_learning_rate")


@check("finetune_pruned")
def test_finetuning_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model, loader = small_network(rng, batch_norm=True), stripes(rng, count=32)
    masks = random_masks(model, rng, keep=0.5)
    with expect.value_error("epochs = -1"):
        student.finetune_pruned(model, masks, loader, -1, 0.01)
    for lr in (0, 0.0, -0.01):
        with expect.value_error(f"lr = {lr}"):
            student.finetune_pruned(model, masks, loader, 1, lr)
    for name in ("conv9.weight", "9.weight"):
        with expect.value_error(f"a mask for {name!r}, which the model does not have"):
            student.finetune_pruned(model, {**masks, name: masks["0.weight"]}, loader, 1, 0.01)


@check("finetune_pruned", weight=2)
def test_finetuning_brings_accuracy_back(
    student: Student, reference: SimpleNamespace, course: Course
) -> None:
    model = course.checkpoint("lenet")
    masks = reference.prune_weights(model, 0.95, "global")
    before = course.hidden_accuracy(model, 1000)
    loader = course.loader("train", limit=2000, batch_size=32)
    tuned = student.finetune_pruned(model, masks, loader, 1, 5e-3)
    expect_zeros(expect_model(tuned, model), masks)
    after = course.hidden_accuracy(tuned, 1000)
    if after < before + 0.1:
        fail(
            f"at 95 % global sparsity the LeNet has {before:.1%} on hidden images; expected at "
            f"least {before + 0.1:.1%} after one epoch on 2,000 images, got {after:.1%}",
            "does_not_train",
        )


# ---------------------------------------------------------------- sensitivity_scan


def own_labels(model: nn.Module, images: Tensor, batch_size: int) -> DataLoader:
    """Return a loader whose labels are what the whole model says: its accuracy is 1."""
    with torch.no_grad():
        labels = copy.deepcopy(model).eval()(images).argmax(dim=1)
    return make_loader(images, labels, batch_size)


def prune_one(layer: nn.Module, sparsity: float) -> None:
    """Set the smallest weights of one layer to zero."""
    weight = layer.weight.detach()
    order = weight.abs().flatten().argsort()
    weight.view(-1)[order[: round(sparsity * weight.numel())]] = 0


def scan_mistake(
    got: dict[str, object], model: nn.Module, loader: DataLoader, sparsities: list[float]
) -> str | None:
    """Name the mistake that gives just these accuracies, where there is one."""
    for mistake in ("layers_stay_pruned", "restored_too_late"):
        trial, result = copy.deepcopy(model), {}
        for name in got:
            if mistake == "restored_too_late":
                trial = copy.deepcopy(model)
            result[name] = []
            for sparsity in sparsities:
                prune_one(trial.get_submodule(name), sparsity)
                result[name].append(accuracy(trial, loader))
        if result == got:
            return mistake
    return None


def expect_scan(got: object, model: nn.Module, loader: DataLoader, sparsities: list[float]) -> None:
    """Expect the accuracies with one layer pruned, by layer name."""
    names = [name.removesuffix(".weight") for name in prunable(model)]
    if not isinstance(got, dict) or set(got) != set(names):
        keys = sorted(map(str, got)) if isinstance(got, dict) else describe(got)
        fail(
            f"expected a dict with the conv and linear layers {names} as keys, got {keys}; layers "
            "are named as in named_modules()"
        )
    for name in names:
        accuracies = got[name]
        if not isinstance(accuracies, list | tuple) or len(accuracies) != len(sparsities):
            fail(f"{name}: expected a list of {len(sparsities)} accuracies, got {accuracies}")
        for sparsity, value in zip(sparsities, accuracies, strict=True):
            trial = copy.deepcopy(model)
            prune_one(trial.get_submodule(name), sparsity)
            what = f"{name} at sparsity {sparsity}, scanned in the order {sparsities}"
            number = expect.number(value, what)
            wanted, images = accuracy(trial, loader), len(loader.dataset)
            if abs(number - wanted) > 1.01 / images:
                fail(
                    f"{what}: expected accuracy {wanted:.4f}, got {number:.4f}; every measurement "
                    "starts from the whole model, all images count the same, and results are "
                    "fractions in the order of the sparsities",
                    scan_mistake(got, model, loader, sparsities),
                )


def scattered(count: int, rng: torch.Generator) -> Tensor:
    """Return images (count, 1, 28, 28) of which a random network says many different things."""
    coarse = torch.randn(count, 1, 7, 7, generator=rng)
    return nn.functional.interpolate(coarse, scale_factor=4) * 2


@check("sensitivity_scan", gate=True)
def test_scan_prunes_one_layer_at_a_time(student: Student, rng: torch.Generator) -> None:
    model = redraw(LeNet(4, 6, 20), rng)
    loader, sparsities = own_labels(model, scattered(120, rng), 40), [0.0, 0.5, 0.9]
    expect_scan(student.sensitivity_scan(model, loader, sparsities), model, loader, sparsities)


@check("sensitivity_scan")
def test_scan_follows_the_order_of_sparsities(student: Student, rng: torch.Generator) -> None:
    model = redraw(MLP((16, 12)), rng)
    loader = own_labels(model, scattered(150, rng), 50)
    for sparsities in ([0.8, 0.2, 0.95, 0.2, 0.0], [0.0], [0.6, 0.97]):
        expect_scan(student.sensitivity_scan(model, loader, sparsities), model, loader, sparsities)


@check("sensitivity_scan")
def test_scan_of_other_models_in_any_mode(student: Student, rng: torch.Generator) -> None:
    normed = redraw(BatchNormCNN((4, 5, 6)), rng)
    for module in normed.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.3 * torch.randn(module.num_features, generator=rng)
    nested = redraw(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 5, stride=3, bias=False), nn.ReLU()),
            nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(256, 6)),
        ),
        rng,
    )
    for model in (normed, nested):
        loader, sparsities = own_labels(model, scattered(90, rng), 30), [0.7, 0.3]
        got = student.sensitivity_scan(model.train(), loader, sparsities)
        expect_scan(got, model, loader, sparsities)


@check("sensitivity_scan")
def test_every_image_counts_the_same(student: Student, rng: torch.Generator) -> None:
    model = redraw(MLP((20,)), rng)
    images = scattered(66, rng)
    whole = own_labels(model, images, 64)
    labels = whole.dataset.tensors[1].clone()
    labels[64:] = (labels[64:] + 1) % 10  # a last batch of two images, both wrong
    loader, sparsities = make_loader(images, labels, 64), [0.0, 0.5]
    expect_scan(student.sensitivity_scan(model, loader, sparsities), model, loader, sparsities)


@check("sensitivity_scan")
def test_scan_prunes_exactly_so_many(student: Student, rng: torch.Generator) -> None:
    # Three images for each small weight: they are right as long as it is there, so that the
    # accuracy counts the pruned weights. A half goes to the even neighbour: 12.5 and 19.5 of 50.
    model, sizes = nn.Sequential(nn.Flatten(), nn.Linear(25, 2)), torch.randperm(25, generator=rng)
    with torch.no_grad():
        model[1].weight[0] = 5 + 0.002 * torch.randperm(25, generator=rng)
        model[1].weight[1] = 1 + 0.04 * sizes
        model[1].bias.copy_(torch.tensor([1.0, 5.5]))
    images = torch.eye(25).repeat(3, 1).reshape(75, 1, 1, 25)
    loader = make_loader(images, torch.ones(75, dtype=torch.int64), batch_size=30)
    sparsities = [0.39, 0.1, 0.25, 0.0]
    expect_scan(student.sensitivity_scan(model, loader, sparsities), model, loader, sparsities)


@check("sensitivity_scan", weight=2)
def test_scan_leaves_the_model_alone(student: Student, rng: torch.Generator) -> None:
    for model in (redraw(BatchNormCNN((3, 4, 5)), rng), redraw(LeNet(2, 3, 8), rng)):
        loader = own_labels(model, scattered(40, rng), 20)
        before = snapshot(lived_in(model, rng))
        given = [0.9, 0.4]
        got = student.sensitivity_scan(model=model, loader=loader, sparsities=given)
        expect.unchanged(before, model, "the caller's model")
        expect.equal(as_left(given), [0.9, 0.4], "the caller's list of sparsities")
        expect_scan(got, before, loader, given)


@check("sensitivity_scan")
def test_scan_rejects_impossible_sparsities(student: Student, rng: torch.Generator) -> None:
    model = redraw(MLP((6,)), rng)
    loader = own_labels(model, scattered(10, rng), 10)
    for sparsities in ([-0.1], [0.5, 1.0], [0.5, 1.5], [50.0], [0.2, NAN]):
        with expect.value_error(f"sparsities = {sparsities}"):
            student.sensitivity_scan(model, loader, sparsities)
