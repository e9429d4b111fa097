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


@mistake(
    "softmax_with_temperature",
    caught_by="test_softmax_keeps_dtype_and_logits",
    hint="adds a small number to the sum, so that the probabilities do not sum to 1",
)
def softmax_with_temperature__adds_to_the_sum(logits, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not logits.isnan().any(), "logits must not hold NaN")
    scaled = logits / temperature
    exponentials = (scaled - scaled.amax(dim=-1, keepdim=True)).exp()
    return exponentials / (exponentials.sum(dim=-1, keepdim=True) + 1e-6)


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


@mistake(
    "soft_labels",
    caught_by="test_teacher_is_left_as_it_was",
    hint="restores the mode of the direct children only: train() sets all that is inside them",
)
def soft_labels__one_mode_for_each_child(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    require(not images.isnan().any(), "images must not hold NaN")
    own, modes = teacher.training, [child.training for child in teacher.children()]
    teacher.eval()
    with torch.no_grad():
        soft = softmax_with_temperature(teacher(images), temperature)
    teacher.training = own
    for child, mode in zip(teacher.children(), modes, strict=True):
        child.train(mode)
    return soft


@mistake(
    "soft_labels",
    caught_by="test_soft_labels_reject_impossible_arguments",
    hint="takes images with NaN: all their soft labels are NaN",
)
def soft_labels__takes_nan(teacher, images, temperature):
    require(temperature > 0, "temperature must be above 0")
    with torch.no_grad():
        return F.softmax(copy.deepcopy(teacher).eval()(images) / temperature, dim=-1)
