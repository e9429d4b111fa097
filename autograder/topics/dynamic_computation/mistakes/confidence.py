"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- confidence


@mistake(
    "confidence",
    caught_by="test_entropy_of_ten_classes",
    hint="this is the entropy itself: large where the network is unsure; take 1 minus it",
)
def confidence__sign(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    log_p = logits.log_softmax(dim=1)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])


@mistake(
    "confidence",
    caught_by="test_entropy_of_ten_classes",
    hint="entropy in bits (log2) divided by a natural logarithm; use the same one in both",
)
def confidence__bits_against_nats(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    p = logits.softmax(dim=1)
    if criterion == "top1":
        return p.amax(dim=1)
    bits = -(p * logits.log_softmax(dim=1) / math.log(2)).sum(dim=1)
    return 1 - bits / math.log(logits.shape[1])


@mistake(
    "confidence",
    caught_by="test_entropy_of_ten_classes",
    hint="the entropy is not divided by log C, so the result can be below 0",
)
def confidence__not_normalised(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    log_p = logits.log_softmax(dim=1)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    return 1 + (log_p.exp() * log_p).sum(dim=1)


@mistake(
    "confidence",
    caught_by="test_entropy_of_other_class_counts",
    hint="divides by log 10 whatever the number of classes is",
)
def confidence__ten_classes_only(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    log_p = logits.log_softmax(dim=1)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(10)


@mistake(
    "confidence",
    caught_by="test_large_logits_give_no_nan",
    hint="0 times log 0 is NaN: take log_softmax, which is finite",
)
def confidence__nan_where_p_is_zero(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    p = logits.softmax(dim=1)
    if criterion == "top1":
        return p.amax(dim=1)
    return 1 + (p * p.log()).sum(dim=1) / math.log(logits.shape[1])


@mistake(
    "confidence",
    caught_by="test_top1_is_the_largest_probability",
    hint="top-1 is the largest probability, after softmax, and not the largest logit",
)
def confidence__largest_logit(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    if criterion == "top1":
        return logits.amax(dim=1)
    log_p = logits.log_softmax(dim=1)
    return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])


@mistake(
    "confidence",
    caught_by="test_top1_is_the_largest_probability",
    hint="this is the gap between the two largest probabilities, and not the largest one",
)
def confidence__margin(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    log_p = logits.log_softmax(dim=1)
    if criterion == "top1":
        first, second = log_p.exp().topk(2, dim=1).values.T
        return first - second
    return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])


@mistake(
    "confidence",
    caught_by="test_entropy_of_ten_classes",
    hint="softmax over the samples (dim=0); the classes are dim=1",
)
def confidence__softmax_over_samples(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    log_p = logits.log_softmax(dim=0)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])


@mistake(
    "confidence",
    caught_by="test_confidence_rejects_impossible_arguments",
    hint="an unknown criterion is taken for top-1 without a word",
)
def confidence__any_other_criterion(logits, criterion="entropy"):
    require(not logits.isnan().any(), "logits")
    log_p = logits.log_softmax(dim=1)
    if criterion == "entropy":
        return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])
    return log_p.exp().amax(dim=1)


# ---------------------------------------------------------------- early_exit_loss


@mistake(
    "early_exit_loss",
    caught_by="test_two_exits_of_equal_weight",
    hint="the sum is divided by the sum of the weights",
)
def early_exit_loss__normalised(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    pairs = zip(all_logits, weights, strict=True)
    return sum(w * F.cross_entropy(z, labels) for z, w in pairs) / sum(weights)


@mistake(
    "early_exit_loss",
    caught_by="test_weights_belong_to_their_exits",
    hint="the weights are not used",
)
def early_exit_loss__weights_ignored(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    return sum(F.cross_entropy(z, labels) for z in all_logits)


@mistake(
    "early_exit_loss",
    caught_by="test_weights_belong_to_their_exits",
    hint="the weights are in the wrong order: the first one belongs to the first exit",
)
def early_exit_loss__weights_reversed(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    pairs = zip(all_logits, weights[::-1], strict=True)
    return sum(w * F.cross_entropy(z, labels) for z, w in pairs)


@mistake(
    "early_exit_loss",
    caught_by="test_two_exits_of_equal_weight",
    hint="only the last exit is trained; every exit has its own cross-entropy",
)
def early_exit_loss__last_exit_only(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    return weights[-1] * F.cross_entropy(all_logits[-1], labels)


@mistake(
    "early_exit_loss",
    caught_by="test_two_exits_of_equal_weight",
    hint="the cross-entropy is summed over the batch; take the mean",
)
def early_exit_loss__batch_sum(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    pairs = zip(all_logits, weights, strict=True)
    return sum(w * F.cross_entropy(z, labels, reduction="sum") for z, w in pairs)


@mistake(
    "early_exit_loss",
    caught_by="test_two_exits_of_equal_weight",
    hint="softmax before cross_entropy, which takes the softmax itself",
)
def early_exit_loss__softmax_twice(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    pairs = zip(all_logits, weights, strict=True)
    return sum(w * F.cross_entropy(z.softmax(1), labels) for z, w in pairs)


@mistake(
    "early_exit_loss",
    caught_by="test_gradient_reaches_every_exit",
    hint="the early exits are detached: no gradient reaches them",
)
def early_exit_loss__early_exits_detached(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    early = [F.cross_entropy(z.detach(), labels) for z in all_logits[:-1]]
    parts = [*early, F.cross_entropy(all_logits[-1], labels)]
    return sum(w * part for w, part in zip(weights, parts, strict=True))


@mistake(
    "early_exit_loss",
    caught_by="test_loss_rejects_lengths_that_differ",
    hint="zip stops at the shorter list without a word: compare the lengths",
)
def early_exit_loss__shorter_list_wins(all_logits, labels, weights):
    return sum(w * F.cross_entropy(z, labels) for z, w in zip(all_logits, weights, strict=False))


@mistake(
    "early_exit_loss",
    caught_by="test_two_exits_of_equal_weight",
    hint="the logits are weighted and summed before one cross-entropy; each exit has its own",
)
def early_exit_loss__logits_summed(all_logits, labels, weights):
    require(len(all_logits) == len(weights), "weights")
    stacked = torch.stack([w * z for z, w in zip(all_logits, weights, strict=True)])
    return F.cross_entropy(stacked.sum(0), labels)


@mistake(
    "confidence",
    caught_by="test_confidence_by_keyword_leaves_its_argument",
    hint="the result is float64 for float32 logits; the dtype must stay",
)
def confidence__always_float64(logits, criterion="entropy"):
    require(criterion in ("entropy", "top1"), "criterion")
    require(not logits.isnan().any(), "logits")
    log_p = logits.double().log_softmax(dim=1)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])
