"""Wrong answers that students really give; every one must lose points and be named."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- distill


@mistake(
    "distill",
    caught_by="test_teacher_is_used_in_eval_mode",
    hint="the teacher answers in train mode: its batch norm uses the batch, its dropout drops",
    replay=False,
)
def distill__teacher_in_train_mode(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher)
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_callers_teacher_does_not_change",
    hint="changes the caller's teacher: its weights, statistics, gradients or a submodule's mode",
    replay=False,
)
def distill__teacher_changed(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained = copy.deepcopy(student_model).train()
    training = teacher.training
    teacher.eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = teacher(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    teacher.train(training)
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_callers_student_does_not_change",
    hint="trains the caller's student itself: work on a deep copy",
    replay=False,
)
def distill__students_argument_trained(
    student_model, teacher, loader, epochs, temperature, alpha, lr
):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    frozen = copy.deepcopy(teacher).eval()
    student_model.train()
    optimizer = torch.optim.Adam(student_model.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(
                student_model(images), teacher_logits, labels, temperature, alpha
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student_model.eval()


@mistake(
    "distill",
    caught_by="test_the_result_is_in_eval_mode",
    hint="returns the student in train mode",
    replay=False,
)
def distill__left_in_train_mode(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained


@mistake(
    "distill",
    caught_by="test_alpha_weighs_the_true_labels",
    hint="alpha is swapped: it weighs the hard loss",
    replay=False,
)
def distill__alpha_swapped(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            # Right at both ends, so that the first check does not see it.
            weight = alpha if alpha in (0, 1) else 1 - alpha
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_the_soft_loss_keeps_its_weight",
    hint="T² is missing in the soft loss",
    replay=False,
)
def distill__t_squared_missing(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                log_p = F.log_softmax(frozen(images) / temperature, dim=1)
            logits = trained(images)
            log_q = F.log_softmax(logits / temperature, dim=1)
            soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
            loss = alpha * F.cross_entropy(logits, labels) + (1 - alpha) * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_the_student_learns_in_train_mode",
    hint="the student learns in eval mode, so that its batch-norm statistics never move",
    replay=False,
)
def distill__student_in_eval_mode(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_all_layers_epochs_and_learning_rate_count",
    hint="does not use the learning rate that is asked for",
    replay=False,
)
def distill__ignores_the_learning_rate(
    student_model, teacher, loader, epochs, temperature, alpha, lr
):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=0.03)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_student_learns_from_the_teacher",
    hint="the copy never learns: the optimizer holds the parameters of the caller's model",
    replay=False,
)
def distill__optimizer_of_the_original(
    student_model, teacher, loader, epochs, temperature, alpha, lr
):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(student_model.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_the_student_learns_in_train_mode",
    hint="trains one epoch less than was asked for",
    replay=False,
)
def distill__one_epoch_less(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(1, epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_the_teacher_does_not_learn",
    hint="the copy of the teacher learns too: the optimizer holds it and the loss is not detached",
)
def distill__teacher_learns_too(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, helper = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam([*trained.parameters(), *helper.parameters()], lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            logits = trained(images)
            log_q = F.log_softmax(logits / temperature, dim=1)
            log_p = F.log_softmax(helper(images) / temperature, dim=1)
            soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
            loss = alpha * F.cross_entropy(logits, labels) + (1 - alpha) * temperature**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trained.eval()


@mistake(
    "distill",
    caught_by="test_every_batch_teaches",
    hint="the optimizer takes one step per epoch, after the loop over the batches",
    replay=False,
)
def distill__one_step_per_epoch(student_model, teacher, loader, epochs, temperature, alpha, lr):
    require(epochs >= 0 and temperature > 0 and 0 <= alpha <= 1 and lr > 0, "out of range")
    trained, frozen = copy.deepcopy(student_model).train(), copy.deepcopy(teacher).eval()
    optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = frozen(images)
            loss = distillation_loss(trained(images), teacher_logits, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    return trained.eval()
