"""Hidden checks: softmax_with_temperature, soft_labels, class_similarity, correct_bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import eval_logits, lived_in, snapshot
from autograder.topics.knowledge_distillation.toys import moody_teacher, small_teacher
from course_utils.models import MLP

NAN = float("nan")


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Return the right probabilities, computed in float64, in the logits' dtype."""
    return (logits.double() / temperature).softmax(dim=-1).to(logits.dtype)


# ---------------------------------------------------------------- softmax_with_temperature


@check("softmax_with_temperature", gate=True)
def test_divides_by_the_temperature(student: Student, rng: torch.Generator) -> None:
    logits = 3 * torch.randn(6, 4, generator=rng)
    for temperature in (1.0, 2.5, 0.5):
        got = student.softmax_with_temperature(logits.clone(), temperature)
        expect.close(got, softened(logits, temperature), f"probabilities at T = {temperature}")


@check("softmax_with_temperature", weight=2)
def test_softmax_over_the_last_dimension(student: Student, rng: torch.Generator) -> None:
    for shape in ((5,), (4, 4), (3, 4, 4), (2, 3, 5, 5), (1, 1)):
        logits = 2 * torch.randn(shape, generator=rng)
        got = student.softmax_with_temperature(logits.clone(), 3)
        expect.close(got, softened(logits, 3), f"logits of shape {shape}, T = 3")


@check("softmax_with_temperature", weight=3)
def test_huge_logits(student: Student, rng: torch.Generator) -> None:
    near = torch.randn(4, 3, generator=rng)
    level = torch.tensor([[1e4], [-1e4], [5e3], [0.0]])
    mixed = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4], [-1e4, -1e4, -1e4], [3.0, 1, 2]])
    for logits in (near + level, mixed, mixed[:1], mixed[2]):
        for temperature in (1.0, 7.0, 0.5):
            got = student.softmax_with_temperature(logits.clone(), temperature)
            what = f"logits between {logits.min():g} and {logits.max():g} at T = {temperature}"
            # float32 numbers near 1e4 are 1e-3 apart, and logsumexp may add that much.
            expect.close(got, softened(logits, temperature), what, atol=3e-3)


@check("softmax_with_temperature")
def test_extreme_temperatures(student: Student, rng: torch.Generator) -> None:
    logits = torch.randn(5, 6, generator=rng)
    for temperature in (1000.0, 100, 0.05):
        got = student.softmax_with_temperature(logits.clone(), temperature)
        expect.close(got, softened(logits, temperature), f"T = {temperature}", atol=2e-6)


@check("softmax_with_temperature")
def test_softmax_keeps_dtype_and_logits(student: Student, rng: torch.Generator) -> None:
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        logits = torch.randn(3, 5, generator=rng, dtype=dtype)
        before = logits.clone()
        got = student.softmax_with_temperature(logits=logits, temperature=2.0)
        expect.unchanged(before, logits, "logits", "in_place")
        expect.tensor(got, (3, 5), dtype, "the probabilities")
        what = f"{dtype} logits"
        expect.close(got, softened(logits, 2.0), what, atol=tolerance, rtol=tolerance)


@check("softmax_with_temperature", weight=2)
def test_softmax_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    logits = torch.randn(3, 4, generator=rng)
    for temperature in (0.0, 0, -1.0, -0.001):
        with expect.value_error(f"temperature = {temperature}"):
            student.softmax_with_temperature(logits, temperature)
    logits[1, 2] = NAN
    with expect.value_error("logits with NaN"):
        student.softmax_with_temperature(logits, 2.0)


# ---------------------------------------------------------------- soft_labels


@check("soft_labels", gate=True)
def test_soft_labels_are_the_teachers_probabilities(student: Student, rng: torch.Generator) -> None:
    images = torch.randn(9, 1, 28, 28, generator=rng)
    for teacher in (small_teacher(rng), MLP((12,)).eval()):
        for temperature in (1.0, 4.0):
            got = student.soft_labels(teacher, images, temperature)
            wanted = softened(eval_logits(teacher, images), temperature)
            what = f"soft labels of a {type(teacher).__name__} at T = {temperature}"
            expect.close(got, wanted, what, atol=1e-5)


@check("soft_labels", weight=3)
def test_teacher_answers_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    teachers = (
        (moody_teacher(rng), (1, 4, 4)),
        (nn.Sequential(moody_teacher(rng)), (1, 4, 4)),  # the layers are submodules of a submodule
        (small_teacher(rng), (1, 28, 28)),
    )
    for teacher, shape in teachers:
        images = torch.randn(12, *shape, generator=rng)
        wanted = softened(eval_logits(teacher, images), 2.0)
        for start in (teacher.train(), lived_in(teacher, rng)):
            got = student.soft_labels(start, images, 2.0)
            what = "a teacher that the caller left in train mode, at T = 2"
            expect.close(got, wanted, what, atol=1e-5)


@check("soft_labels", weight=3)
def test_teacher_is_left_as_it_was(student: Student, rng: torch.Generator) -> None:
    whole = moody_teacher(rng).eval()
    training, mixed = moody_teacher(rng).train(), lived_in(moody_teacher(rng), rng)
    mixed[3].bias.requires_grad_(False)
    nested = lived_in(nn.Sequential(moody_teacher(rng)), rng)
    for teacher, mistake in (
        (whole, "mode_not_restored"),
        (training, "mode_not_restored"),
        (mixed, "one_mode_for_all_submodules"),
        (nested, "one_mode_for_each_child"),
    ):
        before = snapshot(teacher)
        images = torch.randn(8, 1, 4, 4, generator=rng)
        same = images.clone()
        student.soft_labels(teacher=teacher, images=images, temperature=3.0)
        modes = [part.training for part in teacher.modules()]
        if modes != [part.training for part in before.modules()]:
            fail(
                "the train/eval mode of the teacher, or of one of its submodules, is not what it "
                "was before the call; note `training` of every module, or work on a deep copy",
                mistake,
            )
        if any(
            mine.requires_grad != theirs.requires_grad
            for mine, theirs in zip(teacher.parameters(), before.parameters(), strict=True)
        ):
            fail("requires_grad of the teacher's parameters changed", "freezes_the_teacher")
        expect.unchanged(before, teacher, "the teacher")
        expect.unchanged(same, images, "images")


@check("soft_labels", weight=2)
def test_soft_labels_carry_no_graph(student: Student, rng: torch.Generator) -> None:
    teacher = small_teacher(rng)
    got = student.soft_labels(teacher, torch.randn(4, 1, 28, 28, generator=rng), 2.0)
    expect.tensor(got, (4, 10), what="the soft labels")
    message = "the soft labels still carry a graph: call the teacher under torch.no_grad()"
    expect.true(not got.requires_grad, message, "keeps_the_graph")


@check("soft_labels")
def test_soft_labels_of_one_and_of_many_images(student: Student, rng: torch.Generator) -> None:
    teacher = moody_teacher(rng).train()
    for count in (1, 2, 1037):
        images = torch.randn(count, 1, 4, 4, generator=rng)
        got = student.soft_labels(teacher, images, 1.5)
        wanted = softened(eval_logits(teacher, images), 1.5)
        expect.close(got, wanted, f"{count} images", atol=1e-5)


@check("soft_labels")
def test_soft_labels_reject_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    teacher, images = small_teacher(rng), torch.randn(2, 1, 28, 28, generator=rng)
    for temperature in (0.0, 0, -2.0):
        with expect.value_error(f"temperature = {temperature}"):
            student.soft_labels(teacher, images, temperature)
    images[1, 0, 14, 14] = NAN
    with expect.value_error("images with NaN"):
        student.soft_labels(teacher, images, 2.0)


# ---------------------------------------------------------------- class_similarity


def random_soft_labels(count: int, classes: int, rng: torch.Generator) -> Tensor:
    """Return soft labels, shape (count, classes)."""
    return (2 * torch.randn(count, classes, generator=rng)).softmax(dim=1)


def mean_rows(soft: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the right matrix, one class at a time."""
    matrix = torch.zeros(classes, classes, dtype=torch.float64)
    for row in set(labels.tolist()):
        matrix[row] = soft[labels == row].double().mean(dim=0)
    return matrix.to(soft.dtype)


@check("class_similarity", gate=True)
def test_rows_are_means_of_true_classes(student: Student, rng: torch.Generator) -> None:
    soft = random_soft_labels(40, 4, rng)
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 3, 3] * 5)
    got = student.class_similarity(soft, labels, 4)
    expect.close(got, mean_rows(soft, labels, 4), "the matrix (row i: true class i)")


@check("class_similarity", weight=2)
def test_any_order_and_number_of_images(student: Student, rng: torch.Generator) -> None:
    for count, classes in ((60, 3), (500, 10), (7, 2)):
        soft = random_soft_labels(count, classes, rng)
        labels = torch.cat([torch.arange(classes), torch.randint(classes, (count,), generator=rng)])
        labels = labels[torch.randperm(count, generator=rng)]
        got = student.class_similarity(soft, labels, classes)
        expect.close(got, mean_rows(soft, labels, classes), f"{count} images, {classes} classes")
    soft, labels = random_soft_labels(6, 3, rng), torch.tensor([2, 0, 0, 1, 0, 0])
    got = student.class_similarity(soft, labels, 3)
    expect.close(got, mean_rows(soft, labels, 3), "classes 1 and 2 with one image each")


@check("class_similarity", weight=3)
def test_an_empty_class_has_a_row_of_zeros(student: Student, rng: torch.Generator) -> None:
    for present, classes in (([0, 2], 4), ([1, 2, 3], 4), ([4], 5)):
        labels = torch.tensor(present * 6)
        soft = random_soft_labels(len(labels), classes, rng)
        got = student.class_similarity(soft, labels, classes)
        what = f"{classes} classes, of which {present} occur (the other rows are zero)"
        expect.close(got, mean_rows(soft, labels, classes), what)


@check("class_similarity")
def test_similarity_leaves_arguments_and_dtype(student: Student, rng: torch.Generator) -> None:
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        soft = random_soft_labels(30, 3, rng).to(dtype)
        labels = torch.randint(3, (30,), generator=rng)
        before = (soft.clone(), labels.clone())
        got = student.class_similarity(soft_labels=soft, labels=labels, num_classes=3)
        expect.unchanged(before, (soft, labels), "(soft_labels, labels)")
        expect.tensor(got, (3, 3), dtype, f"the matrix of {dtype} soft labels")
        expect.close(got, mean_rows(soft, labels, 3), f"{dtype}", atol=tolerance, rtol=tolerance)


@check("class_similarity")
def test_similarity_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    soft, labels = random_soft_labels(6, 3, rng), torch.tensor([0, 1, 2, 0, 1, 2])
    for count in (0, -3):
        with expect.value_error(f"num_classes = {count}"):
            student.class_similarity(soft, labels, count)
    soft[2, 1] = NAN
    with expect.value_error("soft_labels with NaN"):
        student.class_similarity(soft, labels, 3)


# ---------------------------------------------------------------- correct_bias


def raised(logits: Tensor, class_index: int, offset: float) -> Tensor:
    """Return logits with one column raised."""
    columns = torch.zeros(logits.shape[1], dtype=logits.dtype)
    columns[class_index] = offset
    return logits + columns


@check("correct_bias", gate=True)
def test_raises_one_class(student: Student, rng: torch.Generator) -> None:
    logits = torch.randn(6, 4, generator=rng)
    got = student.correct_bias(logits.clone(), 2, 1.5)
    expect.close(got, raised(logits, 2, 1.5), "class 2 raised by 1.5 for all images")


@check("correct_bias", weight=2)
def test_any_class_and_any_offset(student: Student, rng: torch.Generator) -> None:
    logits = 3 * torch.randn(5, 5, generator=rng)
    for class_index, offset in ((0, 2.0), (4, -3.25), (3, 100), (2, 0.125), (1, -1e9)):
        got = student.correct_bias(logits.clone(), class_index, offset)
        what = f"class {class_index}, offset {offset}"
        expect.close(got, raised(logits, class_index, offset), what)
    one = torch.randn(1, 10, generator=rng)
    expect.close(
        student.correct_bias(one.clone(), 9, 0.5), raised(one, 9, 0.5), "one image, 10 classes"
    )


@check("correct_bias", weight=2)
def test_bias_correction_returns_new_logits(student: Student, rng: torch.Generator) -> None:
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        logits = torch.randn(4, 3, generator=rng).to(dtype)
        before = logits.clone()
        got = student.correct_bias(logits=logits, class_index=1, offset=0.7)
        expect.unchanged(before, logits, "logits", "in_place")
        expect.tensor(got, (4, 3), dtype, f"the corrected {dtype} logits")
        expect.close(got, raised(logits, 1, 0.7), f"{dtype}", atol=tolerance, rtol=tolerance)


@check("correct_bias", weight=2)
def test_bias_correction_rejects_impossible_arguments(
    student: Student, rng: torch.Generator
) -> None:
    logits = torch.randn(5, 4, generator=rng)
    for class_index in (4, 7, -1):
        with expect.value_error(f"class_index = {class_index} with 4 classes"):
            student.correct_bias(logits, class_index, 1.0)
    logits[0, 3] = NAN
    with expect.value_error("logits with NaN"):
        student.correct_bias(logits, 1, 1.0)
    with expect.value_error("offset = NaN"):
        student.correct_bias(torch.randn(5, 4, generator=rng), 1, NAN)
