"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- EarlyExitNet


@mistake(
    "EarlyExitNet",
    caught_by="test_easy_samples_leave_and_hard_ones_stay",
    hint="the whole batch leaves together, when its least sure sample is sure",
)
class EarlyExitNet__whole_batch(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        index = -1
        for block, head in zip(self.blocks, self.exits, strict=True):
            x, index = block(x), index + 1
            logits = head(x)
            if confidence(logits, criterion).min() >= threshold:
                break
        return logits, torch.full((len(x),), index)


@mistake(
    "EarlyExitNet",
    caught_by="test_easy_samples_leave_and_hard_ones_stay",
    hint="the mean confidence of the batch decides for all; each sample decides for itself",
)
class EarlyExitNet__mean_confidence(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        index = -1
        for block, head in zip(self.blocks, self.exits, strict=True):
            x, index = block(x), index + 1
            logits = head(x)
            if confidence(logits, criterion).mean() >= threshold:
                break
        return logits, torch.full((len(x),), index)


@mistake(
    "EarlyExitNet",
    caught_by="test_easy_samples_leave_and_hard_ones_stay",
    hint="the results are in the order in which samples left, and not in the order of x",
)
class EarlyExitNet__order_lost(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        logits, index = [], []
        for number, (block, head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = head(x)
            sure = confidence(answers, criterion) >= threshold
            if number == len(self.blocks) - 1:
                sure = torch.ones_like(sure)
            logits.append(answers[sure])
            index.append(torch.full((int(sure.sum()),), number))
            x = x[~sure]
        return torch.cat(logits), torch.cat(index)


@mistake(
    "EarlyExitNet",
    caught_by="test_samples_that_left_cost_nothing",
    hint="all blocks are computed for all samples, and the answers chosen afterwards",
)
class EarlyExitNet__computes_everything(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        logits, index = None, torch.full((len(x),), len(self.blocks) - 1)
        done = torch.zeros(len(x), dtype=torch.bool)
        for number, (block, head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = head(x)
            logits = answers.clone() if logits is None else logits
            logits[~done] = answers[~done]
            sure = ~done & (confidence(answers, criterion) >= threshold)
            index[sure] = number
            done = done | sure
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_samples_that_left_cost_nothing",
    hint="the samples that stay start again from x: earlier blocks are computed twice",
)
class EarlyExitNet__starts_again(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        waiting, last = torch.arange(len(x)), len(self.blocks) - 1
        index, logits = torch.zeros(len(x), dtype=torch.int64), None
        for number, head in enumerate(self.exits):
            if len(waiting) == 0:
                break
            here = x[waiting]
            for block in self.blocks[: number + 1]:
                here = block(here)
            answers = head(here)
            logits = torch.empty_like(answers) if logits is None else logits
            sure = confidence(answers, criterion) >= (threshold if number < last else -1)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            waiting = waiting[~sure]
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_confidence_equal_to_the_threshold_leaves",
    hint="compares with > where the contract says >=",
)
class EarlyExitNet__strictly_greater(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        waiting, last = torch.arange(len(x)), len(self.blocks) - 1
        index, logits = torch.zeros(len(x), dtype=torch.int64), None
        for number, (block, head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = head(x)
            logits = torch.empty_like(answers) if logits is None else logits
            sure = confidence(answers, criterion) > (threshold if number < last else -1)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            x, waiting = x[~sure], waiting[~sure]
            if len(waiting) == 0:
                break
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_easy_samples_leave_and_hard_ones_stay",
    hint="exits are counted from 1; they count from 0",
)
class EarlyExitNet__counts_from_one(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        waiting, last = torch.arange(len(x)), len(self.blocks) - 1
        index, logits = torch.zeros(len(x), dtype=torch.int64), None
        for number, (block, head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = head(x)
            logits = torch.empty_like(answers) if logits is None else logits
            sure = confidence(answers, criterion) >= (threshold if number < last else -1)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number + 1
            x, waiting = x[~sure], waiting[~sure]
            if len(waiting) == 0:
                break
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_easy_samples_leave_and_hard_ones_stay",
    hint="samples that are unsure at the last exit get no answer; the last exit always answers",
)
class EarlyExitNet__last_exit_silent(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        waiting = torch.arange(len(x))
        index, logits = torch.full((len(x),), -1), None
        for number, (block, head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = head(x)
            if logits is None:
                logits = torch.zeros_like(answers)
            sure = confidence(answers, criterion) >= threshold
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            x, waiting = x[~sure], waiting[~sure]
            if len(waiting) == 0:
                break
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_several_exits_and_both_criteria",
    hint="the criterion is not passed on to confidence",
)
class EarlyExitNet__criterion_ignored(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    def forward_until_confident(self, x, threshold, criterion):
        waiting, last = torch.arange(len(x)), len(self.blocks) - 1
        index, logits = torch.zeros(len(x), dtype=torch.int64), None
        for number, (block, head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = head(x)
            logits = torch.empty_like(answers) if logits is None else logits
            sure = confidence(answers, "top1") >= (threshold if number < last else -1)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            x, waiting = x[~sure], waiting[~sure]
            if len(waiting) == 0:
                break
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_parameters_are_registered",
    hint="blocks and exits are in plain lists, so parameters() is empty",
)
class EarlyExitNet__not_registered(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits), "exits")
        self.parts = list(zip(blocks, exits, strict=True))

    def forward_until_confident(self, x, threshold, criterion):
        waiting, last = torch.arange(len(x)), len(self.parts) - 1
        index, logits = torch.zeros(len(x), dtype=torch.int64), None
        for number, (block, head) in enumerate(self.parts):
            x = block(x)
            answers = head(x)
            logits = torch.empty_like(answers) if logits is None else logits
            sure = confidence(answers, criterion) >= (threshold if number < last else -1)
            logits[waiting[sure]], index[waiting[sure]] = answers[sure], number
            x, waiting = x[~sure], waiting[~sure]
            if len(waiting) == 0:
                break
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_exits_by_keyword_leave_the_samples",
    hint="torch.zeros makes float32, so logits of another dtype do not fit; use answers.new_zeros",
)
class EarlyExitNet__float32_only(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits) > 0, "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    @torch.no_grad()
    def forward_until_confident(self, x, threshold, criterion):
        waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
        for number, (block, exit_head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = exit_head(x)
            logits = torch.zeros(answers.shape) if number == 0 else logits
            leaves = confidence(answers, criterion) >= threshold
            leaves |= torch.tensor(number == len(self.blocks) - 1)
            logits[waiting[leaves]], index[waiting[leaves]] = answers[leaves], number
            x, waiting = x[~leaves], waiting[~leaves]
            if len(waiting) == 0:
                break
        return logits, index


@mistake(
    "EarlyExitNet",
    caught_by="test_threshold_may_be_any_number",
    hint="the threshold is cut to [0, 1], but above 1 nobody leaves early, even with probability 1",
)
class EarlyExitNet__threshold_clamped(nn.Module):
    def __init__(self, blocks, exits):
        super().__init__()
        require(len(blocks) == len(exits) > 0, "exits")
        self.blocks, self.exits = nn.ModuleList(blocks), nn.ModuleList(exits)

    @torch.no_grad()
    def forward_until_confident(self, x, threshold, criterion):
        threshold = min(max(threshold, 0.0), 1.0)
        waiting, index = torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64)
        for number, (block, exit_head) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            answers = exit_head(x)
            logits = torch.empty_like(answers) if number == 0 else logits
            leaves = confidence(answers, criterion) >= threshold
            leaves |= torch.tensor(number == len(self.blocks) - 1)
            logits[waiting[leaves]], index[waiting[leaves]] = answers[leaves], number
            x, waiting = x[~leaves], waiting[~leaves]
            if len(waiting) == 0:
                break
        return logits, index
