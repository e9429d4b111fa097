"""Wrong answers that students really give; every one must lose points and be named."""

from __future__ import annotations

import torch.nn.functional as F

from autograder.authoring.answers import mistake

TEMPERATURES = "test_soft_loss_at_other_temperatures"


@mistake(
    "distillation_loss",
    caught_by=TEMPERATURES,
    hint="T² is missing in the soft loss",
)
def distillation_loss__t_squared_missing(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * soft


@mistake(
    "distillation_loss",
    caught_by=TEMPERATURES,
    hint="multiplies the soft loss by T, where T² is needed",
)
def distillation_loss__t_not_squared(student_logits, teacher_logits, labels, temperature, alpha):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature * soft


@mistake(
    "distillation_loss",
    caught_by="test_loss_at_temperature_one",
    hint="the KL divergence is reversed: it must be KL(teacher || student)",
)
def distillation_loss__kl_reversed(student_logits, teacher_logits, labels, temperature, alpha):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_loss_at_temperature_one",
    hint="'mean' divides by the number of classes too: 'batchmean' is the mean over images",
)
def distillation_loss__mean_for_batchmean(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = (log_p.exp() * (log_p - log_q)).mean()
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_loss_at_temperature_one",
    hint="sums the soft loss over the batch: take the mean over images",
)
def distillation_loss__sum_over_the_batch(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = (log_p.exp() * (log_p - log_q)).sum()
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_alpha_weighs_the_hard_loss",
    hint="alpha is swapped: it weighs the hard loss, 1 - alpha the soft one",
)
def distillation_loss__alpha_swapped(student_logits, teacher_logits, labels, temperature, alpha):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return (1 - alpha) * F.cross_entropy(student_logits, labels) + alpha * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_gradient_goes_to_the_student_only",
    hint="a gradient flows into the teacher: detach its logits",
)
def distillation_loss__gradient_into_the_teacher(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_loss_of_huge_logits",
    hint="takes the logarithm of a softmax: infinite as soon as a probability is 0",
)
def distillation_loss__log_of_softmax(student_logits, teacher_logits, labels, temperature, alpha):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    p = (teacher_logits.detach() / temperature).softmax(dim=1)
    q = (student_logits / temperature).softmax(dim=1)
    soft = (p * (p.log() - q.log())).sum(dim=1).mean()
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_loss_of_huge_logits",
    hint="adds a small number inside the logarithm: finite, but wrong for large logits",
)
def distillation_loss__epsilon_in_the_log(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    p = (teacher_logits.detach() / temperature).softmax(dim=1)
    q = (student_logits / temperature).softmax(dim=1)
    soft = (p * ((p + 1e-12).log() - (q + 1e-12).log())).sum(dim=1).mean()
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_alpha_weighs_the_hard_loss",
    hint="the hard loss uses the temperature too: it is the plain cross-entropy at T = 1",
)
def distillation_loss__temperature_in_the_hard_loss(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return alpha * F.nll_loss(F.log_softmax(student_logits / temperature, dim=1), labels) + (
        (1 - alpha) * temperature**2 * soft
    )


@mistake(
    "distillation_loss",
    caught_by="test_loss_at_temperature_one",
    hint="takes the cross-entropy with the soft labels: KL is less by the teacher's entropy",
)
def distillation_loss__cross_entropy_for_kl(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.cross_entropy(student_logits / temperature, p)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_loss_leaves_arguments_and_dtype",
    hint="computes in float32, although the logits are float64",
)
def distillation_loss__in_float32(student_logits, teacher_logits, labels, temperature, alpha):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    student_logits, teacher_logits = student_logits.float(), teacher_logits.detach().float()
    log_p = F.log_softmax(teacher_logits / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft


@mistake(
    "distillation_loss",
    caught_by="test_gradient_goes_to_the_student_only",
    hint="switches requires_grad of the caller's logits off: detach() gives a new tensor",
)
def distillation_loss__freezes_the_teachers_logits(
    student_logits, teacher_logits, labels, temperature, alpha
):
    require(temperature > 0, "temperature must be above 0")
    require(0 <= alpha <= 1, "alpha must lie in [0, 1]")
    require(not (student_logits + teacher_logits).isnan().any(), "logits must not hold NaN")
    log_p = F.log_softmax(teacher_logits.requires_grad_(False) / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * temperature**2 * soft
