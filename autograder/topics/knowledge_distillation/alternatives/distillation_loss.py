"""Right answers that differ from the reference; every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.authoring.answers import alternative


@alternative("distillation_loss")
def distillation_loss__kl_div_log_target(
    student_logits, teacher_logits, labels, temperature, alpha
):
    if temperature <= 0 or not 0 <= alpha <= 1:
        raise ValueError("temperature or alpha")
    if torch.isnan(student_logits).any() or torch.isnan(teacher_logits).any():
        raise ValueError("logits")
    with torch.no_grad():
        target = F.log_softmax(teacher_logits / temperature, dim=-1)
    soft = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=-1),
        target,
        reduction="batchmean",
        log_target=True,
    )
    hard = F.cross_entropy(student_logits, labels)
    return alpha * hard + (1.0 - alpha) * soft * (temperature * temperature)


@alternative("distillation_loss")
def distillation_loss__kl_div_of_probabilities(
    student_logits, teacher_logits, labels, temperature, alpha
):
    if temperature <= 0 or not 0 <= alpha <= 1:
        raise ValueError("temperature or alpha")
    if torch.isnan(student_logits.sum() + teacher_logits.sum()):
        raise ValueError("logits")
    loss = nn.KLDivLoss(reduction="batchmean")
    soft = loss(
        nn.LogSoftmax(dim=1)(student_logits / temperature),
        nn.Softmax(dim=1)(teacher_logits.detach() / temperature),
    )
    return alpha * nn.CrossEntropyLoss()(student_logits, labels) + soft * (
        (1 - alpha) * temperature**2
    )


@alternative("distillation_loss")
def distillation_loss__cross_entropy_minus_entropy(
    student_logits, teacher_logits, labels, temperature, alpha
):
    if temperature <= 0 or alpha < 0 or alpha > 1:
        raise ValueError("temperature or alpha")
    if student_logits.isnan().any() or teacher_logits.isnan().any():
        raise ValueError("logits")
    p = softmax_with_temperature(teacher_logits.detach(), temperature)
    entropy = -torch.xlogy(p, p).sum(1).mean()
    soft = F.cross_entropy(student_logits / temperature, p) - entropy
    picked = student_logits.gather(1, labels[:, None]).squeeze(1)
    hard = (student_logits.logsumexp(1) - picked).mean()
    return alpha * hard + (1 - alpha) * temperature**2 * soft


@alternative("distillation_loss")
def distillation_loss__image_by_image(student_logits, teacher_logits, labels, temperature, alpha):
    if not temperature > 0 or not 0 <= alpha <= 1:
        raise ValueError("temperature or alpha")
    if student_logits.isnan().any() or teacher_logits.isnan().any():
        raise ValueError("logits")
    total = 0
    for z, t, y in zip(student_logits, teacher_logits, labels, strict=True):
        if alpha > 0:  # a term without weight is left out
            total = total - alpha * torch.log_softmax(z, 0)[y]
        if alpha < 1:
            log_q = torch.log_softmax(z / temperature, 0)
            log_p = torch.log_softmax(t.detach() / temperature, 0)
            total = total + (1 - alpha) * temperature**2 * log_p.exp().dot(log_p - log_q)
    return total / len(labels)
