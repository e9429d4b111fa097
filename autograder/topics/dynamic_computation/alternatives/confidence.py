"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("confidence")
def confidence__categorical(logits, criterion="entropy"):
    if torch.isnan(logits).any():
        raise ValueError("logits has NaN")
    if criterion == "top1":
        return torch.softmax(logits, dim=-1).max(dim=-1)[0]
    if criterion == "entropy":
        spread = torch.distributions.Categorical(logits=logits).entropy()
        return 1 - spread / torch.log(torch.tensor(float(logits.size(-1)), dtype=logits.dtype))
    raise ValueError(f"unknown {criterion}")


@alternative("confidence")
def confidence__bits_on_both_sides(logits, criterion="entropy"):
    measures = {
        "top1": lambda p: p.amax(-1),
        "entropy": lambda p: 1 + torch.special.xlogy(p, p).sum(-1) / math.log(p.shape[-1]),
    }
    if criterion not in measures:
        raise ValueError("criterion")
    if not logits.isfinite().all():
        raise ValueError("logits")
    return measures[criterion](logits.softmax(-1))


@alternative("confidence")
def confidence__small_epsilon(logits, criterion="entropy"):
    assert_known = {"entropy", "top1"}
    if criterion not in assert_known or bool((logits != logits).any()):
        raise ValueError("criterion or logits")
    p = F.softmax(logits, dim=1)
    if criterion == "top1":
        return torch.max(p, 1).values
    bits = -(p * torch.log2(p + 1e-9)).sum(1)
    return 1 - bits / math.log2(p.shape[1])


@alternative("early_exit_loss")
def early_exit_loss__zip_strict(all_logits, labels, weights):
    total = torch.zeros(())
    for logits, weight in zip(all_logits, weights, strict=True):
        total = total + weight * nn.functional.nll_loss(logits.log_softmax(1), labels)
    return total


@alternative("early_exit_loss")
def early_exit_loss__dot_product(all_logits, labels, weights):
    if len(weights) != len(all_logits):
        raise ValueError("weights")
    losses = torch.stack([nn.CrossEntropyLoss()(logits, labels) for logits in all_logits])
    return losses @ torch.tensor(weights, dtype=losses.dtype)
