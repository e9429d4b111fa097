"""Wrong answers that students really give; every one must lose points and be named."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake

HUGE = "test_huge_logits"


@mistake(
    "softmax_with_temperature",
    caught_by="test_divides_by_the_temperature",
    hint="multiplies by the temperature, so that a high temperature sharpens",
)
def softmax_with_temperature__multiplies(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    return (logits * temperature).softmax(dim=-1)


@mistake(
    "softmax_with_temperature",
    caught_by=HUGE,
    hint="takes exp of the logits as they are: infinite for large ones, 0/0 for very negative ones",
)
def softmax_with_temperature__overflow(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    exponentials = torch.exp(logits / temperature)
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


@mistake(
    "softmax_with_temperature",
    caught_by=HUGE,
    hint="subtracts the largest logit of the whole tensor: rows far below it underflow to 0/0",
)
def softmax_with_temperature__one_maximum_for_all_rows(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    scaled = logits / temperature
    exponentials = (scaled - scaled.max()).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


@mistake(
    "softmax_with_temperature",
    caught_by=HUGE,
    hint="clamps the logits, so that large ones become equal",
)
def softmax_with_temperature__clamps(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    exponentials = (logits / temperature).clamp(-50, 50).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


@mistake(
    "softmax_with_temperature",
    caught_by="test_softmax_over_the_last_dimension",
    hint="works over dimension 1, which is the last one only for two dimensions",
)
def softmax_with_temperature__dimension_one(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    return (logits / temperature).softmax(dim=1 if logits.ndim > 1 else 0)


@mistake(
    "softmax_with_temperature",
    caught_by="test_divides_by_the_temperature",
    hint="takes the softmax over the batch (dim=0), not over the classes",
)
def softmax_with_temperature__over_the_batch(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    return (logits / temperature).softmax(dim=0)


@mistake(
    "softmax_with_temperature",
    caught_by="test_divides_by_the_temperature",
    hint="divides the probabilities by the temperature, not the logits",
)
def softmax_with_temperature__divides_probabilities(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    return logits.softmax(dim=-1) / temperature


@mistake(
    "softmax_with_temperature",
    caught_by="test_softmax_rejects_impossible_arguments",
    hint="takes a temperature of 0 or below, or logits with NaN",
)
def softmax_with_temperature__takes_any_temperature(logits, temperature):
    return (logits / temperature).softmax(dim=-1)


@mistake(
    "softmax_with_temperature",
    caught_by="test_softmax_keeps_dtype_and_logits",
    hint="divides the caller's logits in place",
)
def softmax_with_temperature__in_place(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    logits /= temperature
    return logits.softmax(dim=-1)


# ---------------------------------------------------------------- soft_labels


@mistake(
    "soft_labels",
    caught_by="test_teacher_answers_in_eval_mode",
    hint="runs the teacher in whatever mode it is: in train mode batch norm uses the batch",
)
def soft_labels__mode_of_the_caller(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    with torch.no_grad():
        return softmax_with_temperature(teacher(images), temperature)


@mistake(
    "soft_labels",
    caught_by="test_teacher_is_left_as_it_was",
    hint="leaves the teacher in eval mode",
)
def soft_labels__mode_not_restored(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    teacher.eval()
    with torch.no_grad():
        return softmax_with_temperature(teacher(images), temperature)


@mistake(
    "soft_labels",
    caught_by="test_teacher_is_left_as_it_was",
    hint="restores the mode of the whole model, not of every submodule",
)
def soft_labels__one_mode_for_all_submodules(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    training = teacher.training
    teacher.eval()
    with torch.no_grad():
        soft = softmax_with_temperature(teacher(images), temperature)
    teacher.train(training)
    return soft


@mistake(
    "soft_labels",
    caught_by="test_soft_labels_carry_no_graph",
    hint="keeps the graph of the teacher: use torch.no_grad()",
)
def soft_labels__keeps_the_graph(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    return softmax_with_temperature(copy.deepcopy(teacher).eval()(images), temperature)


@mistake(
    "soft_labels",
    caught_by="test_soft_labels_are_the_teachers_probabilities",
    hint="does not use the temperature",
)
def soft_labels__no_temperature(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    with torch.no_grad():
        return copy.deepcopy(teacher).eval()(images).softmax(dim=1)


@mistake(
    "soft_labels",
    caught_by="test_soft_labels_are_the_teachers_probabilities",
    hint="gives the teacher's logits, not probabilities",
)
def soft_labels__logits(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    with torch.no_grad():
        return copy.deepcopy(teacher).eval()(images) / temperature


@mistake(
    "soft_labels",
    caught_by="test_teacher_is_left_as_it_was",
    hint="switches requires_grad of the teacher's parameters off for good",
)
def soft_labels__freezes_the_teacher(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return softmax_with_temperature(copy.deepcopy(teacher).eval()(images), temperature)


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
