"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- slimmable_loss


@mistake(
    "slimmable_loss",
    caught_by="test_sum_over_widths",
    hint="the sum is divided by the sum of the weights",
)
def slimmable_loss__normalised(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    pairs = zip(widths, weights, strict=True)
    return sum(w * F.cross_entropy(model(images, a), labels) for a, w in pairs) / sum(weights)


@mistake(
    "slimmable_loss",
    caught_by="test_weights_belong_to_their_widths",
    hint="the weights are not used",
)
def slimmable_loss__weights_ignored(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    return sum(F.cross_entropy(model(images, width), labels) for width in widths)


@mistake(
    "slimmable_loss",
    caught_by="test_weights_belong_to_their_widths",
    hint="weights and widths are not paired: widths are sorted, weights are not",
)
def slimmable_loss__widths_sorted(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    pairs = zip(sorted(widths), weights, strict=True)
    return sum(w * F.cross_entropy(model(images, a), labels) for a, w in pairs)


@mistake(
    "slimmable_loss",
    caught_by="test_sum_over_widths",
    hint="only the full width is trained; every width has its own cross-entropy",
)
def slimmable_loss__full_width_only(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    return weights[-1] * F.cross_entropy(model(images, max(widths)), labels)


@mistake(
    "slimmable_loss",
    caught_by="test_gradient_reaches_every_width",
    hint="the model runs under no_grad, so nothing can learn",
)
def slimmable_loss__no_gradient(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    with torch.no_grad():
        pairs = zip(widths, weights, strict=True)
        return sum(w * F.cross_entropy(model(images, a), labels) for a, w in pairs)


@mistake(
    "slimmable_loss",
    caught_by="test_slimmable_loss_rejects_lengths_that_differ",
    hint="zip stops at the shorter list without a word: compare the lengths",
)
def slimmable_loss__shorter_list_wins(model, images, labels, widths, weights):
    pairs = zip(widths, weights, strict=False)
    return sum(w * F.cross_entropy(model(images, a), labels) for a, w in pairs)


@mistake(
    "slimmable_loss",
    caught_by="test_sum_over_widths",
    hint="the cross-entropy is summed over the batch; take the mean",
)
def slimmable_loss__batch_sum(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    pairs = zip(widths, weights, strict=True)
    return sum(w * F.cross_entropy(model(images, a), labels, reduction="sum") for a, w in pairs)


@mistake(
    "slimmable_loss",
    caught_by="test_loss_in_the_mode_of_the_model",
    hint="in eval mode batch norm does not use the batch; training runs in the mode of the model",
)
def slimmable_loss__eval_mode_inside(model, images, labels, widths, weights):
    with eval_mode(model):
        all_logits = [model(images, width) for width in widths]
    return early_exit_loss(all_logits, labels, weights)


@mistake(
    "slimmable_loss",
    caught_by="test_slimmable_loss_by_keyword",
    hint="the model is put into eval mode and left there",
)
def slimmable_loss__eval_mode(model, images, labels, widths, weights):
    require(0 < len(widths) == len(weights), "weights")
    model.eval()
    pairs = zip(widths, weights, strict=True)
    return sum(w * F.cross_entropy(model(images, a), labels) for a, w in pairs)


# ---------------------------------------------------------------- width_for_budget


@mistake(
    "width_for_budget",
    caught_by="test_largest_width_that_fits",
    hint="this is the smallest width that fits; the largest one is the most accurate",
)
def width_for_budget__smallest(macs_by_width, budget):
    fitting = [width for width, macs in macs_by_width.items() if macs <= budget]
    require(fitting, "budget")
    return min(fitting)


@mistake(
    "width_for_budget",
    caught_by="test_budget_that_is_just_enough",
    hint="this is the width whose MACs are nearest to the budget, which may be above it",
)
def width_for_budget__nearest(macs_by_width, budget):
    require(budget >= min(macs_by_width.values()), "budget")
    return min(macs_by_width, key=lambda width: abs(macs_by_width[width] - budget))


@mistake(
    "width_for_budget",
    caught_by="test_budget_that_is_just_enough",
    hint="compares with < where MACs equal to the budget fit too",
)
def width_for_budget__strictly_less(macs_by_width, budget):
    fitting = [width for width, macs in macs_by_width.items() if macs < budget]
    require(fitting, "budget")
    return max(fitting)


@mistake(
    "width_for_budget",
    caught_by="test_widths_in_any_order",
    hint="relies on the order of the dict; it may be any",
)
def width_for_budget__order_of_the_dict(macs_by_width, budget):
    fitting = [width for width, macs in macs_by_width.items() if macs <= budget]
    require(fitting, "budget")
    return fitting[-1]


@mistake(
    "width_for_budget",
    caught_by="test_budget_below_the_smallest",
    hint="takes the smallest width where nothing fits; a ValueError says so",
)
def width_for_budget__smallest_anyway(macs_by_width, budget):
    fitting = [width for width, macs in macs_by_width.items() if macs <= budget]
    return max(fitting, default=min(macs_by_width))


@mistake(
    "width_for_budget",
    caught_by="test_largest_width_that_fits",
    hint="returns the MACs and not the width",
)
def width_for_budget__returns_macs(macs_by_width, budget):
    fitting = [macs for macs in macs_by_width.values() if macs <= budget]
    require(fitting, "budget")
    return max(fitting)


@mistake(
    "width_for_budget",
    caught_by="test_widths_in_any_order",
    hint="this takes the most MACs that fit; of widths that cost the same the largest is wanted",
)
def width_for_budget__most_macs(macs_by_width, budget):
    fitting = [width for width, macs in macs_by_width.items() if macs <= budget]
    require(fitting, "budget")
    return max(fitting, key=macs_by_width.get)


# ---------------------------------------------------------------- adaptive_width_predict


@mistake(
    "adaptive_width_predict",
    caught_by="test_sure_samples_stay_narrow",
    hint="the whole batch goes wider together; each sample decides for itself",
)
def adaptive_width_predict__whole_batch(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    index = -1
    with torch.no_grad(), eval_mode(model):
        for width in widths:
            logits, index = model(x, width), index + 1
            if confidence(logits, "top1").min() >= threshold:
                break
    return logits, torch.full((len(x),), index)


@mistake(
    "adaptive_width_predict",
    caught_by="test_sure_samples_stay_narrow",
    hint="the results are in the order in which samples were answered, and not in the order of x",
)
def adaptive_width_predict__order_lost(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    logits, index = [], []
    with torch.no_grad(), eval_mode(model):
        for number, width in enumerate(widths):
            answers = model(x, width)
            sure = confidence(answers, "top1") >= threshold
            if number == len(widths) - 1:
                sure = torch.ones_like(sure)
            logits.append(answers[sure])
            index.append(torch.full((int(sure.sum()),), number))
            x = x[~sure]
    return torch.cat(logits), torch.cat(index)


@mistake(
    "adaptive_width_predict",
    caught_by="test_wider_only_where_unsure",
    hint="every width computes all samples, and the answers are chosen afterwards",
)
def adaptive_width_predict__computes_everything(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    with torch.no_grad(), eval_mode(model):
        logits = model(x, widths[0])
        sure = confidence(logits, "top1") >= threshold
        index = torch.zeros(len(x), dtype=torch.int64)
        for number, width in enumerate(widths[1:], 1):
            if sure.all():
                break
            answers = model(x, width)
            logits, index = logits.clone(), index.clone()
            logits[~sure], index[~sure] = answers[~sure], number
            sure = sure | (confidence(answers, "top1") >= threshold)
    return logits, index


@mistake(
    "adaptive_width_predict",
    caught_by="test_top1_equal_to_the_threshold_is_enough",
    hint="compares with > where the contract says >=",
)
def adaptive_width_predict__strictly_greater(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
    with torch.no_grad(), eval_mode(model):
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.empty_like(answers) if number == 0 else logits
            last = number == len(widths) - 1
            sure = confidence(answers, "top1") > (-1 if last else threshold)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, index


@mistake(
    "adaptive_width_predict",
    caught_by="test_sure_samples_stay_narrow",
    hint="returns the width itself and not its index",
)
def adaptive_width_predict__width_for_index(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    waiting, used = torch.arange(len(x)), torch.zeros(len(x))
    with torch.no_grad(), eval_mode(model):
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.empty_like(answers) if number == 0 else logits
            last = number == len(widths) - 1
            sure = confidence(answers, "top1") >= (-1 if last else threshold)
            logits[waiting[sure]], used[waiting[sure]] = answers[sure], width
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, used


@mistake(
    "adaptive_width_predict",
    caught_by="test_sure_samples_stay_narrow",
    hint="decides by entropy; here top-1 counts",
)
def adaptive_width_predict__entropy(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
    with torch.no_grad(), eval_mode(model):
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.empty_like(answers) if number == 0 else logits
            last = number == len(widths) - 1
            sure = confidence(answers, "entropy") >= (-1 if last else threshold)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, index


@mistake(
    "adaptive_width_predict",
    caught_by="test_predict_keeps_the_mode_of_every_part",
    hint="model.eval() stays on, or train() puts parts into train mode that were not",
)
def adaptive_width_predict__mode_not_restored(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
    model.eval()
    with torch.no_grad():
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.empty_like(answers) if number == 0 else logits
            last = number == len(widths) - 1
            sure = confidence(answers, "top1") >= (-1 if last else threshold)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    model.train()
    return logits, index


@mistake(
    "adaptive_width_predict",
    caught_by="test_sure_samples_stay_narrow",
    hint="samples that are unsure at the last width get no answer; the last one always answers",
)
def adaptive_width_predict__last_width_silent(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    waiting, index = torch.arange(len(x)), torch.full((len(x),), -1)
    with torch.no_grad(), eval_mode(model):
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.zeros_like(answers) if number == 0 else logits
            sure = confidence(answers, "top1") >= threshold
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, index


@mistake(
    "adaptive_width_predict",
    caught_by="test_predict_rejects_no_widths",
    hint="an empty list of widths is not rejected",
)
def adaptive_width_predict__no_widths(model, x, widths, threshold):
    waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
    logits = torch.empty(0)
    with torch.no_grad(), eval_mode(model):
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.empty_like(answers) if number == 0 else logits
            last = number == len(widths) - 1
            sure = confidence(answers, "top1") >= (-1 if last else threshold)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, index


@mistake(
    "adaptive_width_predict",
    caught_by="test_predict_keeps_running_statistics",
    hint="the model stays in train mode: batch norm uses this batch and moves its statistics",
)
def adaptive_width_predict__train_mode(model, x, widths, threshold):
    require(len(widths) > 0, "widths")
    waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
    with torch.no_grad():
        for number, width in enumerate(widths):
            answers = model(x[waiting], width)
            logits = torch.empty_like(answers) if number == 0 else logits
            last = number == len(widths) - 1
            sure = confidence(answers, "top1") >= (-1 if last else threshold)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
            if len(waiting) == 0:
                break
    return logits, index
