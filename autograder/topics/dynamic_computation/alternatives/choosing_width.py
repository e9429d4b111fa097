"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
from torch import nn

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- slimmable_loss


@alternative("slimmable_loss")
def slimmable_loss__by_early_exit_loss(model, images, labels, widths, weights):
    return early_exit_loss([model(images, width) for width in widths], labels, weights)


@alternative("slimmable_loss")
def slimmable_loss__keyword_and_loop(model, images, labels, widths, weights):
    if len(widths) != len(weights) or not widths:
        raise ValueError("widths and weights")
    criterion, loss = nn.CrossEntropyLoss(), 0.0
    for place in range(len(widths)):
        loss += criterion(model(images, width=widths[place]), labels) * weights[place]
    return loss


# ---------------------------------------------------------------- width_for_budget


@alternative("width_for_budget")
def width_for_budget__sorted(macs_by_width, budget):
    for width in sorted(macs_by_width, reverse=True):
        if macs_by_width[width] <= budget:
            return width
    raise ValueError("budget is below every width")


@alternative("width_for_budget")
def width_for_budget__max_raises(macs_by_width, budget):
    # max of nothing raises a ValueError by itself.
    return max(width for width in macs_by_width if not macs_by_width[width] > budget)


# ---------------------------------------------------------------- adaptive_width_predict


@alternative("adaptive_width_predict")
def adaptive_width_predict__mask(model, x, widths, threshold):
    if not widths:
        raise ValueError("widths")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            logits = model(x, widths[0])
            index = torch.zeros(x.shape[0], dtype=torch.long)
            unsure = logits.softmax(1).max(1).values < threshold
            for number in range(1, len(widths)):
                if not unsure.any():
                    break
                wider = model(x[unsure], widths[number])
                logits[unsure] = wider
                index[unsure] = number
                still = wider.softmax(1).max(1).values < threshold
                unsure[unsure.clone()] = still
    finally:
        for module, training in modes.items():
            module.training = training
    return logits, index


@alternative("adaptive_width_predict")
def adaptive_width_predict__one_at_a_time(model, x, widths, threshold):
    require(len(widths) > 0, "widths is empty")
    logits, index, modes = [], [], [(part, part.training) for part in model.modules()]
    model.eval()
    for sample in x.split(1):
        number = 0
        answer = model(sample, widths[0])
        while confidence(answer, "top1").item() < threshold and number + 1 < len(widths):
            number += 1
            answer = model(sample, widths[number])
        logits.append(answer)
        index.append(number)
    for part, training in modes:
        part.training = training
    return torch.cat(logits), torch.tensor(index, dtype=torch.int64)


@alternative("adaptive_width_predict")
def adaptive_width_predict__recursive(model, x, widths, threshold):
    if len(widths) == 0:
        raise ValueError("widths")
    with eval_mode(model):
        logits = model(x, widths[0]).detach()
    index = torch.zeros(len(x), dtype=torch.int64)
    unsure = (confidence(logits, "top1") < threshold).nonzero().flatten()
    if len(widths) > 1 and len(unsure):
        rest, later = adaptive_width_predict__recursive(model, x[unsure], widths[1:], threshold)
        logits[unsure], index[unsure] = rest, later + 1
    return logits, index


@alternative("adaptive_width_predict")
def adaptive_width_predict__on_a_copy(model, x, widths, threshold):
    if len(widths) == 0 or not 0 <= threshold <= 1:
        raise ValueError("widths or threshold")
    twin = copy.deepcopy(model).eval()
    logits = twin(x, width=widths[0]).detach().clone()
    index, unsure = torch.zeros(len(x), dtype=torch.int64), torch.ones(len(x), dtype=torch.bool)
    for number, width in enumerate(widths[1:], 1):
        unsure &= confidence(logits, "top1") < threshold
        if not unsure.any():
            break
        logits[unsure], index[unsure] = twin(x[unsure], width=width).detach(), number
    return logits, index
