"""Wrong answers that students really give; every one must lose points and be named."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- class_similarity


@mistake(
    "class_similarity",
    caught_by="test_rows_are_means_of_true_classes",
    hint="transposed: rows are what the teacher says, columns the true class",
)
def class_similarity__transposed(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    members = F.one_hot(labels, num_classes).to(soft_labels.dtype)
    return (members.T @ soft_labels / members.sum(dim=0).clamp(min=1).unsqueeze(1)).T


@mistake(
    "class_similarity",
    caught_by="test_an_empty_class_has_a_row_of_zeros",
    hint="takes the mean of no rows for an empty class: NaN, where zeros are asked for",
)
def class_similarity__nan_for_an_empty_class(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    return torch.stack([soft_labels[labels == i].mean(dim=0) for i in range(num_classes)])


@mistake(
    "class_similarity",
    caught_by="test_an_empty_class_has_a_row_of_zeros",
    hint="leaves empty classes out, so that the rows move up",
)
def class_similarity__skips_empty_classes(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    return torch.stack([soft_labels[labels == i].mean(dim=0) for i in labels.unique()])


@mistake(
    "class_similarity",
    caught_by="test_rows_are_means_of_true_classes",
    hint="sums the soft labels of a class without dividing by the number of images",
)
def class_similarity__sums(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    return F.one_hot(labels, num_classes).to(soft_labels.dtype).T @ soft_labels


@mistake(
    "class_similarity",
    caught_by="test_rows_are_means_of_true_classes",
    hint="divides by the number of all images, not of those of the class",
)
def class_similarity__mean_over_all_images(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    return F.one_hot(labels, num_classes).to(soft_labels.dtype).T @ soft_labels / len(labels)


@mistake(
    "class_similarity",
    caught_by="test_rows_are_means_of_true_classes",
    hint="groups by what the teacher predicts, not by the true class",
)
def class_similarity__groups_by_prediction(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    members = F.one_hot(soft_labels.argmax(dim=1), num_classes).to(soft_labels.dtype)
    return members.T @ soft_labels / members.sum(dim=0).clamp(min=1).unsqueeze(1)


@mistake(
    "class_similarity",
    caught_by="test_any_order_and_number_of_images",
    hint="leaves the row of a class with a single image at zero: its soft label is the mean",
)
def class_similarity__needs_two_images(soft_labels, labels, num_classes):
    require(num_classes >= 1, "num_classes must be at least 1")
    require(not soft_labels.isnan().any(), "soft_labels must not hold NaN")
    matrix = torch.zeros(num_classes, num_classes, dtype=soft_labels.dtype)
    for i in range(num_classes):
        if (labels == i).sum() > 1:
            matrix[i] = soft_labels[labels == i].mean(dim=0)
    return matrix


# ---------------------------------------------------------------- correct_bias


@mistake(
    "correct_bias",
    caught_by="test_bias_correction_returns_new_logits",
    hint="raises the caller's logits in place",
)
def correct_bias__in_place(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    logits[:, class_index] += offset
    return logits


@mistake(
    "correct_bias",
    caught_by="test_raises_one_class",
    hint="raises a row, that is one image: a class is a column",
)
def correct_bias__raises_a_row(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    corrected = logits.clone()
    corrected[class_index] += offset
    return corrected


@mistake(
    "correct_bias",
    caught_by="test_raises_one_class",
    hint="adds the offset to every class, which changes no decision",
)
def correct_bias__raises_all_classes(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    return logits + offset


@mistake(
    "correct_bias",
    caught_by="test_raises_one_class",
    hint="sets the logit to the offset, where the offset is added",
)
def correct_bias__sets_the_logit(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    corrected = logits.clone()
    corrected[:, class_index] = offset
    return corrected


@mistake(
    "correct_bias",
    caught_by="test_raises_one_class",
    hint="subtracts the offset",
)
def correct_bias__subtracts(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    corrected = logits.clone()
    corrected[:, class_index] -= offset
    return corrected


@mistake(
    "correct_bias",
    caught_by="test_raises_one_class",
    hint="adds the offset to probabilities, not to logits",
)
def correct_bias__on_probabilities(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    corrected = logits.softmax(dim=1)
    corrected[:, class_index] += offset
    return corrected


@mistake(
    "correct_bias",
    caught_by="test_bias_correction_rejects_impossible_arguments",
    hint="takes a class that does not exist, or logits with NaN",
)
def correct_bias__takes_any_class(logits, class_index, offset):
    corrected = logits.clone()
    corrected[:, class_index] += offset
    return corrected


@mistake(
    "correct_bias",
    caught_by="test_bias_correction_rejects_impossible_arguments",
    hint="takes an offset that is NaN",
)
def correct_bias__takes_a_nan_offset(logits, class_index, offset):
    require(0 <= class_index < logits.shape[1], "class_index must be a class")
    require(not logits.isnan().any(), "logits must not hold NaN")
    corrected = logits.clone()
    corrected[:, class_index] += offset
    return corrected
