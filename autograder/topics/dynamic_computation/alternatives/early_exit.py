"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
from torch import nn

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- EarlyExitNet


@alternative("EarlyExitNet")
class EarlyExitNet__one_sample_at_a_time(nn.Module):
    def __init__(self, blocks, exits):
        if len(blocks) != len(exits):
            raise ValueError("blocks and exits")
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleDict({"block": b, "exit": e}) for b, e in zip(blocks, exits, strict=True)
        )

    def forward_until_confident(self, x, threshold, criterion):
        logits, index = [], []
        for sample in x.split(1):
            taken = -1
            for stage in self.stages:
                sample, taken = stage["block"](sample), taken + 1
                answer = stage["exit"](sample)
                if float(confidence(answer, criterion)) >= threshold:
                    break
            logits.append(answer)
            index.append(taken)
        return torch.cat(logits), torch.tensor(index)


@alternative("EarlyExitNet")
class EarlyExitNet__recursive(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits) > 0, "exits")
        self.blocks = nn.ModuleList([copy.deepcopy(block) for block in blocks])
        self.exits = nn.Sequential(*exits)

    def forward(self, x):
        return self.forward_until_confident(x, 2.0, "top1")[0]

    def forward_until_confident(self, x, threshold, criterion="top1"):
        return self._from(0, x, threshold, criterion)

    def _from(self, number, x, threshold, criterion):
        x = self.blocks[number](x)
        logits = self.exits[number](x)
        index = torch.full((x.shape[0],), number, dtype=torch.long)
        unsure = ~(confidence(logits, criterion) >= threshold)
        if number + 1 < len(self.blocks) and unsure.any():
            logits = logits.clone()
            logits[unsure], index[unsure] = self._from(number + 1, x[unsure], threshold, criterion)
        return logits, index


@alternative("EarlyExitNet")
class EarlyExitNet__sorts_back(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        if len(blocks) == 0 or len(blocks) != len(exits):
            raise ValueError("exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    @torch.inference_mode()
    def forward_until_confident(self, x, threshold, criterion):
        places, left = torch.arange(x.size(0)), []
        last = len(self.blocks) - 1
        for number in range(last + 1):
            if not len(places):
                break
            x = self.blocks[number](x)
            answers = self.exits[number](x)
            sure = confidence(answers, criterion).ge(threshold) | (number == last)
            left.append((places[sure], answers[sure], number))
            x, places = x[sure.logical_not()], places[sure.logical_not()]
        order = torch.cat([where for where, _, _ in left]).argsort()
        logits = torch.cat([answers for _, answers, _ in left])[order]
        index = torch.cat([torch.full_like(where, number) for where, _, number in left])[order]
        return logits, index


# ---------------------------------------------------------------- expected_macs


@alternative("expected_macs")
def expected_macs__plain_python(exit_counts, macs_per_block):
    import itertools

    if len(exit_counts) != len(macs_per_block) or min(exit_counts) < 0 or sum(exit_counts) <= 0:
        raise ValueError("exit_counts")
    paid = itertools.accumulate(macs_per_block)
    return sum(n * m for n, m in zip(exit_counts, paid, strict=True)) / sum(exit_counts)


@alternative("expected_macs")
def expected_macs__who_reaches_each_block(exit_counts, macs_per_block):
    counts, macs = torch.tensor(exit_counts).float(), torch.tensor(macs_per_block).float()
    if counts.shape != macs.shape or (counts < 0).any() or counts.sum() == 0:
        raise ValueError("exit_counts or macs_per_block")
    reached = counts.flip(0).cumsum(0).flip(0)
    return (reached * macs).sum() / counts.sum()


@alternative("expected_macs")
def expected_macs__tensors_only(exit_counts, macs_per_block):
    if exit_counts.shape != macs_per_block.shape or exit_counts.min() < 0:
        raise ValueError("exit_counts")
    if exit_counts.sum() == 0:
        raise ValueError("exit_counts")
    paid = torch.cumsum(macs_per_block.double(), dim=0)
    return ((exit_counts * paid).sum() / exit_counts.sum()).item()


# ---------------------------------------------------------------- choose_threshold


@alternative("choose_threshold")
def choose_threshold__fine_grid(confidences, correct, target_accuracy):
    if not 0 <= target_accuracy <= 1 or len(confidences) != len(correct) or not len(correct):
        raise ValueError("arguments")
    if torch.isnan(confidences).any():
        raise ValueError("confidences")
    for step in range(1001):
        leaves = confidences >= step / 1000
        if leaves.any() and correct[leaves].float().mean().item() >= target_accuracy:
            return step / 1000
    raise ValueError("no threshold reaches the target")


@alternative("choose_threshold")
def choose_threshold__sorted_once(confidences, correct, target_accuracy):
    if target_accuracy < 0 or target_accuracy > 1:
        raise ValueError("target_accuracy")
    if confidences.numel() == 0 or confidences.shape != correct.shape:
        raise ValueError("correct")
    if confidences.isnan().any():
        raise ValueError("confidences")
    levels, order = confidences.sort(descending=True)
    share = correct[order].double().cumsum(0) / torch.arange(1, len(levels) + 1)
    # Only the last of equal confidences is a place where a threshold can be.
    last = torch.cat([levels[1:] != levels[:-1], torch.tensor([True])])
    reached = levels[last & (share >= target_accuracy)]
    if len(reached) == 0:
        raise ValueError("target_accuracy is reached by no threshold")
    return reached.min()


@alternative("choose_threshold")
def choose_threshold__plain_python(confidences, correct, target_accuracy):
    pairs = list(zip(confidences.tolist(), correct.tolist(), strict=True))
    if not pairs or not 0 <= target_accuracy <= 1 or any(c != c for c, _ in pairs):
        raise ValueError("arguments")

    def accuracy_of(level):
        hits = [right for sure, right in pairs if sure >= level]
        return sum(hits) / len(hits)

    good = [level for level, _ in pairs if accuracy_of(level) >= target_accuracy]
    if not good:
        raise ValueError("target_accuracy")
    # The smallest of all: where everybody may leave, 0 does it too.
    return 0.0 if min(good) == min(level for level, _ in pairs) else min(good)


@alternative("choose_threshold")
def choose_threshold__between_two_confidences(confidences, correct, target_accuracy):
    if not 0 <= target_accuracy <= 1 or confidences.shape != correct.shape:
        raise ValueError("target_accuracy or correct")
    if confidences.numel() == 0 or confidences.isnan().any():
        raise ValueError("confidences")
    leaves = confidences[None, :] >= confidences[:, None]
    fits = confidences[(leaves & correct).sum(1) / leaves.sum(1) >= target_accuracy]
    if len(fits) == 0:
        raise ValueError("target_accuracy")
    below = confidences[confidences < fits.min()]
    return float(fits.min() + below.max()) / 2 if len(below) else float(fits.min())
