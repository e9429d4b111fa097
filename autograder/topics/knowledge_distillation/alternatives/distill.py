"""Right answers that differ from the reference; every check must accept them."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from autograder.authoring.answers import alternative


@alternative("distill")
def distill__with_sgd(student_model, teacher, loader, epochs, temperature, alpha, lr):
    if epochs < 0 or temperature <= 0 or lr <= 0 or not 0 <= alpha <= 1:
        raise ValueError("an argument is out of range")
    modes = [(module, module.training) for module in teacher.modules()]
    teacher.eval()
    model = copy.deepcopy(student_model)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for x, y in loader:
            with torch.no_grad():
                target = teacher(x)
            optimizer.zero_grad()
            distillation_loss(model(x), target, y, temperature, alpha).backward()
            optimizer.step()
    for module, mode in modes:
        module.training = mode
    model.eval()
    return model


@alternative("distill")
def distill__soft_labels_first(student_model, teacher, loader, epochs, temperature, alpha, lr):
    if epochs < 0 or temperature <= 0 or lr <= 0 or not 0 <= alpha <= 1:
        raise ValueError("an argument is out of range")
    model = copy.deepcopy(student_model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    batches = [(x, y, predict(teacher, x)) for x, y in loader]
    for _ in range(epochs):
        for i in torch.randperm(len(batches)).tolist():
            x, y, target = batches[i]
            logits = model(x)
            log_q = F.log_softmax(logits / temperature, dim=1)
            log_p = F.log_softmax(target / temperature, dim=1)
            soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
            loss = alpha * F.cross_entropy(logits, y) + (1 - alpha) * temperature**2 * soft
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return model.eval()


@alternative("distill")
def distill__plain_sgd(student_model, teacher, loader, epochs, temperature, alpha, lr):
    if epochs < 0 or temperature <= 0 or lr <= 0 or not 0 <= alpha <= 1:
        raise ValueError("an argument is out of range")
    model, fixed = copy.deepcopy(student_model), copy.deepcopy(teacher).eval()
    for parameter in fixed.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            loss = distillation_loss(model(x), fixed(x), y, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@alternative("distill")
def distill__by_hand(student_model, teacher, loader, epochs, temperature, alpha, lr):
    if epochs < 0 or temperature <= 0 or lr <= 0 or not 0 <= alpha <= 1:
        raise ValueError("an argument is out of range")
    model, done, steps = copy.deepcopy(student_model).train(), 0, epochs * len(loader)
    for _ in range(epochs):
        for x, y in loader:
            model.zero_grad()
            distillation_loss(model(x), predict(teacher, x), y, temperature, alpha).backward()
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= lr * (1 - done / steps) * weight.grad
            done += 1
    model.zero_grad()
    return model.eval()
