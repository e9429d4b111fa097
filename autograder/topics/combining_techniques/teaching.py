"""What must hold of every exercise that distils: the same checks for each of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import describe, expect, fail
from autograder.judge.toys import eval_logits, lived_in, redraw, snapshot, stripes
from autograder.topics.combining_techniques.toys import Trainer, expect_eval, layers_of, wide_net
from autograder.topics.knowledge_distillation.toys import (
    bias_only,
    blind_task,
    fixed_teacher,
    moody_teacher,
    noise_task,
    two_pixel_teacher,
)
from course_utils.data import make_loader
from course_utils.models import BatchNormCNN


def roomy_student(rng: torch.Generator) -> nn.Sequential:
    """Return a student for `noise_task` that knows nothing, with a grid that leaves it room."""
    student = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        student[1].weight.copy_(0.3 * torch.randn(3, 16, generator=rng))
        student[1].bias.zero_()
    return student


def model_of(got: Any, like: nn.Module) -> nn.Module:
    """Expect a model with the layers of `like`."""
    if isinstance(got, nn.Module) and set(layers_of(got)) == set(layers_of(like)):
        return got
    fail(f"expected a model with the layers {sorted(layers_of(like))}, got {describe(got)}")


def agreement(model: nn.Module, teacher: nn.Module, loader: DataLoader) -> float:
    """Return the fraction of images on which a model says what the teacher says in eval mode."""
    images = loader.dataset.tensors[0]
    same = eval_logits(model, images).argmax(1) == eval_logits(teacher, images).argmax(1)
    return float(same.double().mean())


def expect_learns_from_the_teacher(train: Trainer, rng: torch.Generator) -> None:
    """With alpha = 0 and labels that tell nothing, all knowledge is the teacher's."""
    for modes in ("eval", "train", "mixed"):
        teacher, loader, model = moody_teacher(rng), noise_task(rng), roomy_student(rng)
        teacher = lived_in(teacher, rng) if modes == "mixed" else teacher.train(modes == "train")
        before = agreement(model, teacher, loader)
        same = agreement(
            model_of(train(model, teacher, loader, 60, 2.0, 0.0, 0.05), model), teacher, loader
        )
        message = (
            f"alpha = 0, teacher in {modes} mode: expected the model to agree with what its "
            f"teacher says in eval mode on 72 % of the images, got {same:.0%} (at first "
            f"{before:.0%})"
        )
        mistake = None if modes == "eval" else "teacher_in_train_mode"
        expect.true(same >= 0.72, message, mistake)


def learnt_bias(
    train: Trainer, teacher: nn.Module, loader: DataLoader, temperature: float, alpha: float
) -> Tensor:
    """Return the logits that a blind student ends with."""
    student = bias_only()
    # Its input is always 0, so weights have no effect; without any there would be no scale.
    student[2].weight.data = torch.tensor([[0.5], [-0.3], [0.2]])
    got = train(student, teacher, loader, 40, temperature, alpha, 0.4)
    return model_of(got, student)[2].bias.detach()


def expect_alpha_weighs_the_labels(train: Trainer) -> None:
    """Every label is 2, the teacher always says 0; who wins depends on alpha."""
    loader, teacher = blind_task(label=2), fixed_teacher([6.0, 0.0, 0.0], side=1)
    teacher = nn.Sequential(nn.AvgPool2d((1, 2)), *teacher)
    for alpha, winner in ((1.0, 2), (0.9, 2), (0.1, 0), (0.0, 0)):
        bias = learnt_bias(train, teacher, loader, 2.0, alpha)
        message = (
            f"every label is 2, the teacher always says 0: at alpha = {alpha} expected class "
            f"{winner} to win, got {int(bias.argmax())}; alpha weighs the hard loss"
        )
        expect.true(bias.argmax() == winner, message, "alpha_swapped")


def expect_hard_loss_without_temperature(train: Trainer) -> None:
    """With alpha = 1 a blind student learns how frequent the labels are, at any temperature."""
    images = blind_task(0).dataset.tensors[0]
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2]).repeat(len(images) // 8)
    teacher = nn.Sequential(nn.AvgPool2d((1, 2)), *fixed_teacher([0.0, 6.0, 6.0], side=1))
    bias = learnt_bias(train, teacher, make_loader(images, labels, 8), 6.0, 1.0)
    gap = float(bias[0] - (bias[1] + bias[2]) / 2)
    message = (
        "alpha = 1, T = 6, a model that cannot tell images apart, six of eight labels are 0: "
        f"expected log(6) = 1.8 between the logits of class 0 and of the others, got {gap:.1f}; "
        "the hard loss takes the logits as they are, only the soft loss divides them by T"
    )
    expect.true(1.0 <= gap <= 3.0, message, "softens_the_hard_loss")


def expect_the_teacher_is_whole(train: Trainer, rng: torch.Generator, mistake: str) -> None:
    """A model that is its own teacher: its compressed copy comes nearer to what it was."""
    for _ in range(40):
        model, images = wide_net(rng).train(), stripes(rng).dataset.tensors[0]
        labels = torch.randint(3, (len(images),), generator=rng)  # they tell nothing
        loader = make_loader(images, labels, 32, shuffle=True)
        damaged = model_of(train(model, model, loader, 0, 1.0, 0.0, 0.02), model)
        before = agreement(damaged, model, loader)
        # A copy that agrees already has little to learn. From here every right answer gained at
        # least 4 points in 160 runs, and a teacher that is compressed too at most 1.
        if before < 0.55:
            break
    got = train(model, model, loader, 20, 1.0, 0.0, 0.02)
    expect_eval(got, "model is its own teacher")
    after = agreement(model_of(got, model), model, loader)
    if after < before + 0.02:
        fail(
            "a model that is its own teacher: after distillation expected more agreement with the "
            f"model before compression than {before:.0%}, got {after:.0%}; is the teacher still "
            "whole?",
            mistake,
        )


def expect_biases_and_norms_kept(train: Trainer, rng: torch.Generator) -> None:
    """Only the weights of conv and linear layers are compressed."""
    model = redraw(BatchNormCNN((3, 4, 5)), rng)
    images = torch.randn(32, 1, 28, 28, generator=rng)
    loader = make_loader(images, torch.arange(32) % 10, 16)
    for epochs in (0, 1):
        got = train(model, model, loader, epochs, 1.0, 0.5, 1e-3)
        state = model_of(got, model).state_dict()
        weights = {f"{name}.weight" for name in layers_of(model)}
        for name, value in model.state_dict().items():
            if name in weights or not value.is_floating_point():
                continue
            if epochs == 0:
                expect.equal(state[name].detach(), value, f"epochs = 0: {name}", "prunes_all")
            elif (state[name] == 0).sum() > (value == 0).sum() + 1:
                fail(f"{name}: only the weights of conv and linear layers are pruned", "prunes_all")


def expect_t_squared(train: Trainer) -> None:
    """At T = 10 the soft loss has hardly any weight unless it is multiplied by T squared."""
    loader, teacher = blind_task(label=2), fixed_teacher([6.0, 0.0, 0.0], side=1)
    teacher = nn.Sequential(nn.AvgPool2d((1, 2)), *teacher)
    bias = learnt_bias(train, teacher, loader, 10.0, 0.5)
    message = (
        "alpha = 0.5, T = 10, every label is 2, a teacher that always says 0: expected class 0 to "
        f"win, got {int(bias.argmax())}; without T² the soft loss has hardly any weight at T = 10"
    )
    expect.true(bias.argmax() == 0, message, "t_squared_missing")


def expect_temperature(train: Trainer) -> None:
    """The best answer of a blind student is known: T * log(mean of the two soft labels)."""
    size = 12.0
    for temperature, low, high in ((4.0, 7.4, 10.6), (20.0, 4.5, 8.5)):
        p = torch.tensor([[size, 0, 0], [0, size, 0]]).div(temperature).softmax(dim=1).mean(dim=0)
        best = float(temperature * (p[0] / p[2]).log())
        bias = learnt_bias(train, two_pixel_teacher(size), blind_task(0), temperature, 0.0)
        gap = float((bias[0] + bias[1]) / 2 - bias[2])
        if not low <= gap <= high:
            fail(
                f"T = {temperature}, a model that cannot tell two kinds of images apart: expected "
                f"a gap of about {best:.1f} between its logits, got {gap:.1f}; is the temperature "
                "used for both models, and is it KL(teacher || student)?",
                "temperature_ignored",
            )


def expect_callers_models_unchanged(train: Trainer, rng: torch.Generator) -> None:
    """Neither the model nor the teacher changes, also where both are the same object."""
    teacher, loader = moody_teacher(rng).eval(), noise_task(rng)
    layers = (nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    for model, judge in (
        (nn.Sequential(*layers).eval(), teacher),
        (lived_in(nn.Sequential(*layers), rng), lived_in(moody_teacher(rng), rng)),
        (nn.Sequential(*layers).train(), None),
    ):
        chosen = model if judge is None else judge
        before, teacher_before = snapshot(model), snapshot(chosen)
        for epochs in (0, 1):
            train(model, chosen, loader, epochs, 2.0, 0.5, 0.05)
            expect.unchanged(before, model, "the caller's model", "changes_the_model")
            expect.unchanged(teacher_before, chosen, "the teacher", "teacher_changed")


def expect_trains_properly(train: Trainer, rng: torch.Generator) -> None:
    """All parameters learn, in train mode, as long and as fast as asked; the result is in eval."""
    teacher, loader = moody_teacher(rng).eval(), noise_task(rng)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)).eval()
    model[1].running_mean.fill_(3.0)
    for epochs in (0, 20):
        got = model_of(train(model, teacher, loader, epochs, 2.0, 0.5, 0.01), model)
        expect_eval(got, f"epochs = {epochs}")
        if epochs == 0:
            expect.equal(got[1].running_mean, model[1].running_mean, "epochs = 0: batch norm")
            expect.equal(got[2].bias.detach(), model[2].bias.detach(), "epochs = 0: the bias")
    mean = loader.dataset.tensors[0].flatten(1).mean(0)
    message = (
        "the model's batch-norm statistics did not follow the images: it must learn in train "
        "mode, also when the caller hands it over in eval mode"
    )
    off = float((got[1].running_mean - mean).abs().max())
    expect.true(off < 1.0, message, "learns_in_eval_mode")

    # One label for all images, and nothing of the teacher: the bias always goes the same way.
    images = loader.dataset.tensors[0]
    single = make_loader(images, torch.zeros(len(images), dtype=torch.int64), 32)

    def moved(epochs: int, lr: float) -> float:
        net = roomy_student(torch.Generator().manual_seed(1))
        after = model_of(train(net, teacher, single, epochs, 2.0, 1.0, lr), net)
        return float((after[1].bias - net[1].bias).abs().sum().detach())

    usual = moved(2, 1e-3)
    expect.true(usual > 0, "two epochs: the bias did not learn", "does_not_train")
    message = "ten times the epochs moved the bias no further: are all epochs trained?"
    expect.true(moved(20, 1e-3) > 1.5 * usual, message, "one_epoch_only")
    message = "a learning rate 100 times smaller moved the bias as far: is `lr` used?"
    expect.true(moved(2, 1e-5) < 0.3 * usual, message, "ignores_the_learning_rate")
