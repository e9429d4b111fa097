"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- expected_macs


@mistake(
    "expected_macs",
    caught_by="test_macs_cumulate",
    hint="MACs are not cumulated: who leaves at exit i has paid for all blocks up to i",
)
def expected_macs__not_cumulated(exit_counts, macs_per_block):
    require(len(exit_counts) == len(macs_per_block), "exit_counts")
    require(min(exit_counts) >= 0 and sum(exit_counts) > 0, "exit_counts")
    pairs = zip(exit_counts, macs_per_block, strict=True)
    return float(sum(n * m for n, m in pairs) / sum(exit_counts))


@mistake(
    "expected_macs",
    caught_by="test_macs_cumulate",
    hint="this is the sum over all samples; divide by the number of samples",
)
def expected_macs__sum_for_mean(exit_counts, macs_per_block):
    counts = torch.as_tensor(exit_counts, dtype=torch.float64)
    costs = torch.as_tensor(macs_per_block, dtype=torch.float64).cumsum(0)
    require(counts.shape == costs.shape, "exit_counts")
    require(counts.min() >= 0 and counts.sum() > 0, "exit_counts")
    return float((counts * costs).sum())


@mistake(
    "expected_macs",
    caught_by="test_macs_cumulate",
    hint="a plain mean over the exits; each exit counts as often as samples left there",
)
def expected_macs__mean_over_exits(exit_counts, macs_per_block):
    counts = torch.as_tensor(exit_counts, dtype=torch.float64)
    costs = torch.as_tensor(macs_per_block, dtype=torch.float64).cumsum(0)
    require(counts.shape == costs.shape, "exit_counts")
    require(counts.min() >= 0 and counts.sum() > 0, "exit_counts")
    return float(costs.mean())


@mistake(
    "expected_macs",
    caught_by="test_macs_cumulate",
    hint="every sample pays for the whole network, whatever exit it took",
)
def expected_macs__whole_network(exit_counts, macs_per_block):
    require(len(exit_counts) == len(macs_per_block), "exit_counts")
    require(min(exit_counts) >= 0 and sum(exit_counts) > 0, "exit_counts")
    return float(sum(macs_per_block))


@mistake(
    "expected_macs",
    caught_by="test_macs_cumulate",
    hint="cumulated from the last block; the first block is the one that all pay for",
)
def expected_macs__from_the_end(exit_counts, macs_per_block):
    counts = torch.as_tensor(exit_counts, dtype=torch.float64)
    costs = torch.as_tensor(macs_per_block, dtype=torch.float64).flip(0).cumsum(0).flip(0)
    require(counts.shape == costs.shape, "exit_counts")
    require(counts.min() >= 0 and counts.sum() > 0, "exit_counts")
    return float((counts * costs).sum() / counts.sum())


@mistake(
    "expected_macs",
    caught_by="test_macs_cumulate",
    hint="the block in front of the exit that was taken is not paid for",
)
def expected_macs__own_block_free(exit_counts, macs_per_block):
    counts = torch.as_tensor(exit_counts, dtype=torch.float64)
    macs = torch.as_tensor(macs_per_block, dtype=torch.float64)
    require(counts.shape == macs.shape, "exit_counts")
    require(counts.min() >= 0 and counts.sum() > 0, "exit_counts")
    return float((counts * (macs.cumsum(0) - macs)).sum() / counts.sum())


@mistake(
    "expected_macs",
    caught_by="test_mean_is_not_rounded",
    hint="whole-number division: the mean is rounded down",
)
def expected_macs__rounded_down(exit_counts, macs_per_block):
    require(len(exit_counts) == len(macs_per_block), "exit_counts")
    require(min(exit_counts) >= 0 and sum(exit_counts) > 0, "exit_counts")
    paid = total = 0
    for count, macs in zip(exit_counts, macs_per_block, strict=True):
        paid += macs
        total += count * paid
    return total // sum(exit_counts)


@mistake(
    "expected_macs",
    caught_by="test_macs_reject_impossible_arguments",
    hint="lengths, negative counts or a total of 0 are not looked at",
)
def expected_macs__unchecked(exit_counts, macs_per_block):
    paid = total = 0
    for count, macs in zip(exit_counts, macs_per_block, strict=False):
        paid += macs
        total += count * paid
    return total / max(sum(exit_counts), 1)


# ---------------------------------------------------------------- choose_threshold


@mistake(
    "choose_threshold",
    caught_by="test_accuracy_may_fall_and_rise_again",
    hint="stops at the first threshold that fails; a lower one may reach the target again",
)
def choose_threshold__stops_at_the_first_failure(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    best = None
    for threshold in confidences.unique().flip(0):
        if correct[confidences >= threshold].double().mean() < target_accuracy:
            break
        best = float(threshold)
    require(best is not None, "target_accuracy")
    return best


@mistake(
    "choose_threshold",
    caught_by="test_smallest_threshold_that_reaches_the_target",
    hint="this is the largest threshold that reaches the target; the smallest one saves most",
)
def choose_threshold__largest(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for threshold in confidences.unique().flip(0):
        if correct[confidences >= threshold].double().mean() >= target_accuracy:
            return float(threshold)
    raise ValueError("target_accuracy")


@mistake(
    "choose_threshold",
    caught_by="test_smallest_threshold_that_reaches_the_target",
    hint="divides by all samples; the accuracy is that of the samples that leave",
)
def choose_threshold__accuracy_over_all(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for threshold in confidences.unique():
        if (correct & (confidences >= threshold)).double().mean() >= target_accuracy:
            return float(threshold)
    raise ValueError("target_accuracy")


@mistake(
    "choose_threshold",
    caught_by="test_smallest_threshold_that_reaches_the_target",
    hint="leaves with > where the contract says >=, so one more sample leaves than was counted",
)
def choose_threshold__strictly_greater(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for threshold in confidences.unique():
        if correct[confidences > threshold].double().mean() >= target_accuracy:
            return float(threshold)
    raise ValueError("target_accuracy")


@mistake(
    "choose_threshold",
    caught_by="test_equal_confidences_leave_together",
    hint="samples with equal confidence are counted one by one; they leave together",
)
def choose_threshold__ties_one_by_one(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    order = confidences.argsort(descending=True, stable=True)
    hits = correct[order].double().cumsum(0)
    reached = hits / torch.arange(1, len(order) + 1) >= target_accuracy
    require(bool(reached.any()), "target_accuracy")
    return float(confidences[order][reached.nonzero().max()])


@mistake(
    "choose_threshold",
    caught_by="test_target_that_nothing_reaches",
    hint="gives 1.0 back where no threshold reaches the target; a ValueError says so",
)
def choose_threshold__falls_back_to_one(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for threshold in confidences.unique():
        if correct[confidences >= threshold].double().mean() >= target_accuracy:
            return float(threshold)
    return 1.0


@mistake(
    "choose_threshold",
    caught_by="test_smallest_threshold_that_reaches_the_target",
    hint="the accuracy must be above the target here; reaching it is enough",
)
def choose_threshold__target_exceeded(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for threshold in confidences.unique():
        if correct[confidences >= threshold].double().mean() > target_accuracy:
            return float(threshold)
    raise ValueError("target_accuracy")


@mistake(
    "choose_threshold",
    caught_by="test_threshold_rejects_impossible_arguments",
    hint="the arguments are not looked at: a target outside [0, 1], NaN, other lengths",
)
def choose_threshold__unchecked(confidences, correct, target_accuracy):
    for threshold in confidences.unique():
        if correct[confidences >= threshold].double().mean() >= target_accuracy:
            return float(threshold)
    raise ValueError("target_accuracy")


@mistake(
    "choose_threshold",
    caught_by="test_confidences_close_together",
    hint="tries a fixed grid of thresholds; confidences often lie closer together than that",
)
def choose_threshold__coarse_grid(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) == len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for step in range(21):
        leaves = confidences >= step / 20
        if leaves.any() and correct[leaves].double().mean() >= target_accuracy:
            return step / 20
    raise ValueError("target_accuracy")


@mistake(
    "choose_threshold",
    caught_by="test_threshold_rejects_impossible_arguments",
    hint="only fewer answers than confidences are noticed; more of them are wrong as well",
)
def choose_threshold__lengths_one_way(confidences, correct, target_accuracy):
    require(0 <= target_accuracy <= 1, "target_accuracy")
    require(0 < len(confidences) <= len(correct), "correct")
    require(not confidences.isnan().any(), "confidences")
    for threshold in confidences.unique():
        if correct[confidences >= threshold].double().mean() >= target_accuracy:
            return float(threshold)
    raise ValueError("target_accuracy")


@mistake(
    "expected_macs",
    caught_by="test_macs_by_keyword_leave_their_arguments",
    hint="cumulating with += in place overwrites the caller's MACs; work on a copy",
)
def expected_macs__cumulated_in_place(exit_counts, macs_per_block):
    require(len(exit_counts) == len(macs_per_block), "exit_counts")
    require(min(exit_counts) >= 0 and sum(exit_counts) > 0, "exit_counts")
    for place in range(1, len(macs_per_block)):
        macs_per_block[place] += macs_per_block[place - 1]
    pairs = zip(exit_counts, macs_per_block, strict=True)
    return float(sum(n * m for n, m in pairs) / sum(exit_counts))
