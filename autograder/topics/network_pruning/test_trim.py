"""Hidden checks: trim.

The number of steps is small, so the weights of a trimmed model are still close to those it was
cut from. That shows which neurons were kept, and whether the weights were drawn afresh.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import Student
from autograder.judge.toys import lived_in, snapshot
from autograder.topics.network_pruning.toys import gap_near, hidden_apoz, mean_loss, trained_lenet
from course_utils.data import make_loader
from course_utils.evaluation import accuracy
from course_utils.models import LeNet

NAN = float("nan")
KEYS = ("neurons", "mean_apoz", "accuracy_before", "accuracy_after")
Rounds = list[dict[str, object]]


def images_for_trim(count: int = 200, batch_size: int = 50) -> DataLoader:
    """Return a loader over a few training images, in a fixed order."""
    return make_loader(*Course().images("train", count), batch_size)


def cut(model: LeNet, keep: Tensor) -> LeNet:
    """Return the model with only these neurons in fc1."""
    small = LeNet(**{**model.config, "fc1": len(keep)})
    small.load_state_dict(
        {
            **model.state_dict(),
            "fc1.weight": model.fc1.weight[keep],
            "fc1.bias": model.fc1.bias[keep],
            "fc2.weight": model.fc2.weight[:, keep],
        }
    )
    return small.eval()


def expect_trimmed(got: object, given: LeNet, rounds: int) -> tuple[LeNet, Rounds]:
    """Expect a LeNet and one dict a round that agree with each other."""
    if not isinstance(got, list | tuple) or len(got) != 2:
        fail(f"expected (model, history), got {describe(got)}")
    model, history = got
    if not isinstance(model, LeNet):
        fail(
            f"expected a LeNet as the model, got {describe(model)}; fc1 and fc2 must both become "
            "smaller, and nothing else"
        )
    if not isinstance(history, list | tuple) or len(history) != rounds:
        fail(f"history: expected a list with one dict for each of {rounds} rounds, got {history}")
    neurons = given.fc1.out_features
    for number, row in enumerate(history, 1):
        missing = [key for key in KEYS if not isinstance(row, dict) or key not in row]
        expect.true(not missing, f"history: round {number} lacks {missing}; got {row}")
        left = expect.number(row["neurons"], f"round {number}: neurons", 1, neurons)
        expect.true(left == int(left), f"round {number}: neurons must be a whole number")
        neurons = int(left)
        for key in KEYS[1:]:
            expect.number(row[key], f"round {number}: {key}, a fraction and not percent", 0, 1)
    sizes = {
        "fc1.out_features": model.fc1.out_features,
        "fc2.in_features": model.fc2.in_features,
        "fc1 in model.config": model.config["fc1"],
    }
    for name, size in sizes.items():
        expect.equal(size, neurons, f"{name} against the last `neurons` of history")
    others = {key: value for key, value in given.config.items() if key != "fc1"}
    now = {key: value for key, value in model.config.items() if key != "fc1"}
    expect.equal(now, others, "the sizes of the other layers")
    return model, history


def likeness(left: Tensor, right: Tensor) -> float:
    """Return the cosine of the angle between two tensors: 1 for equal ones, 0 for unrelated."""
    return float(torch.cosine_similarity(left.detach().flatten(), right.detach().flatten(), dim=0))


@check("trim", gate=True)
def test_one_round_removes_the_silent_neurons(student: Student, rng: torch.Generator) -> None:
    given, loader = trained_lenet(), images_for_trim()
    values = hidden_apoz(given, loader.dataset.tensors[0])
    for wanted in (0.7, 0.85):
        threshold = gap_near(values, wanted)
        keep = (values <= threshold).nonzero().flatten()
        got = student.trim(copy.deepcopy(given), loader, 1, threshold)
        model, _ = expect_trimmed(got, given, 1)
        if model.fc1.out_features != len(keep):
            fail(
                f"one round at threshold {threshold:.3f}: expected {len(keep)} of "
                f"{len(values)} neurons to stay, got {model.fc1.out_features}; is APoZ measured "
                "after the ReLU, over all images of the loader, and are the low ones kept?"
            )


@check("trim", weight=2)
def test_kept_neurons_keep_their_weights(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(100, 50)
    values = hidden_apoz(given, loader.dataset.tensors[0])
    threshold = gap_near(values, 0.75)
    keep = (values <= threshold).nonzero().flatten()
    model, _ = expect_trimmed(
        student.trim(copy.deepcopy(given), loader, 1, threshold, False), given, 1
    )
    expect.equal(model.fc1.out_features, len(keep), "neurons left in fc1")
    small = cut(given, keep)
    for name, weight in small.state_dict().items():
        alike = likeness(model.state_dict()[name], weight)
        if alike < 0.8:
            fail(
                f"reinitialize=False: after a few steps of training {name} should still be like "
                f"the weights of the kept neurons, but the likeness is {alike:.2f} of 1; were the "
                "weights drawn afresh, or do the columns of fc2 belong to other neurons?",
                "weights_lost",
            )


@check("trim", weight=2)
def test_reinitialize_draws_the_weights_afresh(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(100, 50)
    values = hidden_apoz(given, loader.dataset.tensors[0])
    threshold = gap_near(values, 0.75)
    keep = (values <= threshold).nonzero().flatten()
    got = student.trim(copy.deepcopy(given), loader, 1, threshold, reinitialize=True)
    model, history = expect_trimmed(got, given, 1)
    expect.equal(model.fc1.out_features, len(keep), "neurons left in fc1")
    alike = likeness(model.fc1.weight, given.fc1.weight[keep])
    if alike > 0.5:
        fail(
            f"reinitialize=True: expected fresh random weights in fc1, but after a few steps of "
            f"training they are still like the old ones (likeness {alike:.2f} of 1)",
            "never_reinitializes",
        )
    expect.true(model.fc1.weight.std() > 1e-4, "fresh weights must be random, not all equal")
    before = expect.number(history[0]["accuracy_before"], "accuracy_before")
    untouched = accuracy(given, loader)
    if before > 0.5 and abs(before - untouched) > 0.011:
        fail(
            f"reinitialize=True: accuracy_before is {before:.2f}, but with fresh weights it should "
            "be near chance (0.1); are the weights drawn before it is measured?",
            "never_reinitializes",
        )


@check("trim", weight=2)
def test_history_tells_the_truth(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(210, 60)
    images = loader.dataset.tensors[0]
    values = hidden_apoz(given, images)
    threshold = gap_near(values, 0.55)
    keep = (values <= threshold).nonzero().flatten()
    got = student.trim(copy.deepcopy(given), loader, 1, threshold)
    model, (row,) = expect_trimmed(got, given, 1)
    expect.equal(int(row["neurons"]), len(keep), "neurons, counted after the cut")
    small, tolerance = cut(given, keep), 1.01 / len(images)
    # Whether a figure belongs to the moment before or after the cut is left open.
    readings = {
        "mean_apoz": [values.mean(), values[keep].mean(), hidden_apoz(model, images).mean()],
        "accuracy_before": [accuracy(given, loader), accuracy(small, loader)],
        "accuracy_after": [accuracy(model, loader)],
    }
    for key, allowed in readings.items():
        number = expect.number(row[key], key)
        if not any(abs(number - float(value)) <= tolerance for value in allowed):
            shown = " or ".join(f"{float(value):.4f}" for value in allowed)
            fail(
                f"history: expected {key} {shown}, got {number:.4f}; figures are measured on the "
                "loader's images: accuracy_before before the fine-tuning, accuracy_after after it"
            )


@check("trim")
def test_fine_tuning_lowers_the_loss(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(600, 30)
    values = hidden_apoz(given, loader.dataset.tensors[0])
    threshold = gap_near(values, float(values.quantile(0.15)))
    keep = (values <= threshold).nonzero().flatten()
    model, _ = expect_trimmed(student.trim(copy.deepcopy(given), loader, 1, threshold), given, 1)
    before, after = mean_loss(cut(given, keep), loader), mean_loss(model, loader)
    message = (
        f"fine-tuning after the cut should lower the loss on the loader: it was {before:.3f} and "
        f"is {after:.3f}; is the trimmed model trained, and that model returned?"
    )
    expect.true(after < 0.97 * before, message, "no_fine_tuning")


@check("trim")
def test_fresh_weights_are_trained(student: Student, rng: torch.Generator) -> None:
    # One label throughout, which any optimizer learns, but another in the first batch. Fresh
    # weights have a loss near log(10) = 2.3, and so have those trained on the first batch alone,
    # or with a single step.
    given, (images, labels) = trained_lenet(), images_for_trim(350, 7).dataset.tensors
    usual, other = torch.randperm(10, generator=rng)[:2].tolist()
    labels = torch.full_like(labels, usual)
    labels[:7] = other
    loader = make_loader(images, labels, batch_size=7)
    got = student.trim(copy.deepcopy(given), loader, 1, 0.9, reinitialize=True)
    model, _ = expect_trimmed(got, given, 1)
    loss = mean_loss(model, make_loader(images[7:], labels[7:], batch_size=343))
    if loss > 0.6:
        fail(
            "49 of 50 batches have the same label, which fresh weights learn in one epoch, too: "
            f"expected a loss near 0 on those of the returned model, got {loss:.2f}; train after "
            "the weights were drawn, with a step for every batch",
            "drawn_after_the_training",
        )


@check("trim")
def test_every_round_looks_at_the_model_as_it_is(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(100, 50)
    with torch.no_grad():
        given.fc1.weight[::2] = 0
        given.fc1.bias[::2] = -1  # every other neuron is dead
    threshold = gap_near(hidden_apoz(given, loader.dataset.tensors[0]), 0.98)
    got = student.trim(copy.deepcopy(given), loader, 2, threshold)
    _, history = expect_trimmed(got, given, 2)
    first, second = (int(row["neurons"]) for row in history)
    if second < 0.7 * first:
        fail(
            f"the first round removed the dead neurons and left {first}; expected the second to "
            f"find few others above the same threshold {threshold:.3f}, but it left {second}; "
            "measure APoZ on the trimmed model, and keep the threshold as it is",
            "measures_the_first_model",
        )


@check("trim", weight=2)
def test_every_round_measures_anew(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(200, 50)
    values = hidden_apoz(given, loader.dataset.tensors[0])
    threshold = gap_near(values, 0.6)
    keep = int((values <= threshold).sum())
    got = student.trim(copy.deepcopy(given), loader, 3, threshold, True)
    _, history = expect_trimmed(got, given, 3)
    sizes = [int(row["neurons"]) for row in history]
    expect.equal(sizes[0], keep, "neurons left after the first round")
    if sizes[-1] == sizes[0]:
        fail(
            f"three rounds with fresh weights left {sizes} neurons; fresh weights have another "
            "APoZ, so measure, select and remove in every round",
            "measures_once",
        )
    figures = {float(row["mean_apoz"]) for row in history}
    message = "mean_apoz: expected that of each round, got the very same in all three"
    expect.true(len(figures) > 1, message)
    got = student.trim(copy.deepcopy(given), loader, 2, threshold)
    model, history = expect_trimmed(got, given, 2)
    expect.equal(int(history[0]["neurons"]), keep, "neurons left after the first round")
    what = "accuracy_after of the last round"
    last = expect.number(history[-1]["accuracy_after"], what)
    expect.close(last, accuracy(model, loader), what, atol=1.01 / 200)


@check("trim")
def test_trim_at_the_ends_of_the_threshold(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(100, 50)
    values = hidden_apoz(given, loader.dataset.tensors[0])
    always = [neuron for neuron, value in enumerate(values.tolist()) if value == 0]
    with torch.no_grad():
        for neuron in always:  # silence it, so that every APoZ is above 0
            given.fc1.weight[neuron] = 0
            given.fc1.bias[neuron] = -1
        given.fc1.weight[:5] = 0
        given.fc1.bias[:5] = -1  # dead: their APoZ is 1 in every round
    model, history = expect_trimmed(student.trim(copy.deepcopy(given), loader, 2, 1.0), given, 2)
    cause = "falling_threshold" if int(history[0]["neurons"]) == len(values) else None
    expect.equal(model.fc1.out_features, len(values), "threshold 1 keeps all; neurons", cause)
    model, _ = expect_trimmed(student.trim(copy.deepcopy(given), loader, 1, 0.0), given, 1)
    expect.equal(model.fc1.out_features, 1, "all above the threshold: the lowest stays; neurons")


@check("trim")
def test_every_image_counts_for_apoz(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(200, 50)
    images, labels = loader.dataset.tensors
    # Blank images at the start and at the end: one batch alone gives quite another APoZ.
    blank = images.min() * torch.ones(40, 1, 28, 28)
    images = torch.cat([blank, images, blank[:13]])
    labels = torch.cat([labels[:40], labels, labels[:13]])
    loader = make_loader(images, labels, batch_size=40)
    values = hidden_apoz(given, images)
    for wanted in (0.5, 0.75):
        threshold = gap_near(values, wanted)
        model, _ = expect_trimmed(
            student.trim(copy.deepcopy(given), loader, 1, threshold), given, 1
        )
        keep = int((values <= threshold).sum())
        message = "neurons left (APoZ over all images of the loader, each counting the same)"
        expect.equal(model.fc1.out_features, keep, message)


@check("trim", weight=2)
def test_trim_leaves_the_callers_model(student: Student, rng: torch.Generator) -> None:
    given, loader = lived_in(trained_lenet(), rng), images_for_trim(100, 50)
    before = snapshot(given)
    for reinitialize in (False, True):
        for start in (given, copy.deepcopy(given).train(), copy.deepcopy(given).eval()):
            before = snapshot(start)
            got = student.trim(
                model=start, loader=loader, rounds=1, threshold=0.7, reinitialize=reinitialize
            )
            expect.unchanged(before, start, "the caller's model", mistake="in_place")
            model, _ = expect_trimmed(got, before, 1)
            training = [name for name, module in model.named_modules() if module.training]
            message = f"expected the result in eval mode, still training: {training}"
            expect.true(not training, message)


@check("trim")
def test_trim_rejects_impossible_arguments(student: Student) -> None:
    given, loader = trained_lenet(), images_for_trim(50, 50)
    with expect.value_error("rounds = -1"):
        student.trim(copy.deepcopy(given), loader, -1, 0.7)
    for threshold in (-0.1, 1.5, 70, NAN):
        with expect.value_error(f"threshold = {threshold}"):
            student.trim(copy.deepcopy(given), loader, 1, threshold)
