"""Hidden checks: distillation_loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student

NAN = float("nan")


@dataclass
class Batch:
    """Logits and labels of one batch."""

    z: Tensor
    t: Tensor
    y: Tensor


def random_batch(rng: torch.Generator, count: int = 6, classes: int = 4) -> Batch:
    """Return a batch in which student and teacher differ clearly."""
    z = 2 * torch.randn(count, classes, generator=rng)
    t = 2 * torch.randn(count, classes, generator=rng)
    return Batch(z, t, torch.randint(classes, (count,), generator=rng))


def right_loss(batch: Batch, temperature: float, alpha: float) -> Tensor:
    """Return the loss in float64; gradients flow to `batch.z`."""
    log_p = (batch.t.double() / temperature).log_softmax(dim=1)
    log_q = (batch.z.double() / temperature).log_softmax(dim=1)
    divergence = (log_p.exp() * (log_p - log_q)).sum() / len(batch.z)
    hard = F.cross_entropy(batch.z.double(), batch.y)
    return alpha * hard + (1 - alpha) * temperature**2 * divergence


def expect_loss(
    got: object,
    batch: Batch,
    temperature: float,
    alpha: float,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Expect a scalar tensor with the right value."""
    what = f"the loss at T = {temperature}, alpha = {alpha}, batch of {len(batch.z)}"
    expect.tensor(got, what=what)
    if got.numel() != 1:
        fail(f"{what}: expected one number, got shape {tuple(got.shape)}: take the batch mean")
    wanted = right_loss(batch, temperature, alpha).detach()
    expect.close(got.detach(), wanted, what, atol=atol, rtol=rtol)


@check("distillation_loss", gate=True)
def test_loss_at_temperature_one(student: Student, rng: torch.Generator) -> None:
    batch = random_batch(rng)
    expect_loss(student.distillation_loss(batch.z, batch.t, batch.y, 1.0, 0.5), batch, 1.0, 0.5)


@check("distillation_loss", weight=3)
def test_soft_loss_at_other_temperatures(student: Student, rng: torch.Generator) -> None:
    for temperature in (2.0, 6, 0.5):
        batch = random_batch(rng)
        got = student.distillation_loss(batch.z, batch.t, batch.y, temperature, 0.0)
        expect_loss(got, batch, temperature, 0.0)


@check("distillation_loss", weight=3)
def test_alpha_weighs_the_hard_loss(student: Student, rng: torch.Generator) -> None:
    for temperature, alpha in ((3.0, 1.0), (3.0, 0.9), (4.0, 0.1), (0.7, 0.25), (2, 1), (2, 0)):
        batch = random_batch(rng)
        got = student.distillation_loss(batch.z, batch.t, batch.y, temperature, alpha)
        expect_loss(got, batch, temperature, alpha)


@check("distillation_loss", weight=2)
def test_mean_over_the_images_of_any_batch(student: Student, rng: torch.Generator) -> None:
    for count, classes in ((1, 5), (17, 3), (4, 12)):
        batch = random_batch(rng, count, classes)
        got = student.distillation_loss(batch.z, batch.t, batch.y, 2.0, 0.3)
        expect_loss(got, batch, 2.0, 0.3)


@check("distillation_loss", weight=3)
def test_gradient_goes_to_the_student_only(student: Student, rng: torch.Generator) -> None:
    for temperature, alpha in ((3.0, 0.4), (1.0, 0.0), (2.0, 1.0)):
        batch = random_batch(rng)
        batch.z.requires_grad_()
        batch.t.requires_grad_()
        student.call_and_backward(
            "distillation_loss", batch.z, batch.t, batch.y, temperature, alpha
        )
        if batch.t.grad is not None and batch.t.grad.any():
            fail(
                "a gradient reached the teacher's logits: detach them, the teacher is not trained",
                "gradient_into_the_teacher",
            )
        message = "requires_grad of the caller's teacher_logits is now off: detach() a new tensor"
        expect.true(batch.t.requires_grad, message, "freezes_the_teachers_logits")
        expect.tensor(batch.z.grad, batch.z.shape, what="the gradient of student_logits")
        twin = Batch(batch.z.detach().clone().requires_grad_(), batch.t.detach(), batch.y)
        right_loss(twin, temperature, alpha).backward()
        what = f"the gradient of student_logits at T = {temperature}, alpha = {alpha}"
        expect.close(batch.z.grad, twin.z.grad, what, atol=1e-5, rtol=1e-3)


@check("distillation_loss", weight=3)
def test_loss_of_huge_logits(student: Student, rng: torch.Generator) -> None:
    near = torch.randn(3, 4, generator=rng)
    far = torch.tensor([[1e4, -1e4, 0, 5.0], [-1e4, -1e4, 1e4, 0], [0.0, 1e4, -1e4, -1e4]])
    labels = torch.tensor([0, 3, 1])
    for z, t in ((far, near), (near, far), (far, far.roll(1, 0)), (far, far), (near + 1e4, near)):
        for temperature, alpha in ((2.0, 0.5), (1.0, 0.0), (4.0, 1.0)):
            batch = Batch(z.clone().requires_grad_(), t, labels)
            got = student.call_and_backward(
                "distillation_loss", batch.z, batch.t, labels, temperature, alpha
            )
            # float32 numbers near 1e4 are 1e-3 apart, and the loss weighs them by T².
            expect_loss(got, batch, temperature, alpha, rtol=2e-3, atol=0.03)
            expect.tensor(batch.z.grad, z.shape, what="the gradient of student_logits")
            message = "logits of +-1e4: the loss is finite, but its gradient is not"
            expect.true(batch.z.grad.isfinite().all(), message)


@check("distillation_loss")
def test_loss_leaves_arguments_and_dtype(student: Student, rng: torch.Generator) -> None:
    batch = random_batch(rng)
    batch = Batch(batch.z.double(), batch.t.double(), batch.y)
    before = (batch.z.clone(), batch.t.clone(), batch.y.clone())
    got = student.distillation_loss(
        student_logits=batch.z, teacher_logits=batch.t, labels=batch.y, temperature=2.5, alpha=0.2
    )
    names = "(student_logits, teacher_logits, labels)"
    expect.unchanged(before, (batch.z, batch.t, batch.y), names)
    # A loss that was computed in float32 is off by about 1e-7.
    expect_loss(got, batch, 2.5, 0.2, rtol=1e-9, atol=1e-9)


@check("distillation_loss", weight=2)
def test_loss_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    batch = random_batch(rng)
    for temperature in (0.0, 0, -3.0):
        with expect.value_error(f"temperature = {temperature}"):
            student.distillation_loss(batch.z, batch.t, batch.y, temperature, 0.5)
    for alpha in (-0.1, 1.01, 50):
        with expect.value_error(f"alpha = {alpha}"):
            student.distillation_loss(batch.z, batch.t, batch.y, 2.0, alpha)
    holed = batch.z.clone()
    holed[1, 1] = NAN
    with expect.value_error("student_logits with NaN"):
        student.distillation_loss(holed, batch.t, batch.y, 2.0, 0.5)
    with expect.value_error("teacher_logits with NaN"):
        student.distillation_loss(batch.t, holed, batch.y, 2.0, 0.5)
