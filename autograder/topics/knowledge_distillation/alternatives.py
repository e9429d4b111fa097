"""Right answers that differ from the reference; every check must accept them."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from autograder.authoring.answers import alternative


@alternative("softmax_with_temperature")
def softmax_with_temperature__of_torch(logits, temperature):
    if not temperature > 0:
        raise ValueError("temperature")
    if torch.isnan(logits).any():
        raise ValueError("logits")
    return F.softmax(logits / temperature, dim=-1)


@alternative("softmax_with_temperature")
def softmax_with_temperature__by_logsumexp(logits, temperature):
    if temperature <= 0 or bool((logits != logits).any()):
        raise ValueError("temperature or logits")
    scaled = logits.div(temperature)
    return torch.exp(scaled - torch.logsumexp(scaled, dim=-1, keepdim=True))


@alternative("softmax_with_temperature")
def softmax_with_temperature__without_graph(logits, temperature):
    if temperature <= 0:
        raise ValueError("temperature")
    if logits.detach().isnan().sum() > 0:
        raise ValueError("logits")
    with torch.no_grad():
        shifted = logits - logits.amax(-1, keepdim=True)
        powers = torch.pow(torch.e, shifted / temperature)
        return powers / powers.sum(-1, keepdim=True)


@alternative("soft_labels")
def soft_labels__restores_every_mode(teacher, images, temperature):
    if temperature <= 0:
        raise ValueError("temperature must be positive")
    modes = {module: module.training for module in teacher.modules()}
    teacher.eval()
    try:
        with torch.inference_mode():
            soft = torch.softmax(teacher(images) / temperature, dim=1)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return soft.clone()


@alternative("soft_labels")
def soft_labels__by_predict(teacher, images, temperature):
    if temperature <= 0:
        raise ValueError("temperature must be positive")
    return softmax_with_temperature(predict(teacher, images, batch_size=64), temperature)


@alternative("soft_labels")
def soft_labels__detached(teacher, images, temperature):
    if not temperature > 0:
        raise ValueError("temperature")
    twin = copy.deepcopy(teacher)
    twin.eval()
    rows = [twin(image.unsqueeze(0))[0] for image in images]
    return F.softmax(torch.stack(rows) / temperature, dim=-1).detach()


@alternative("class_similarity")
def class_similarity__by_index_add(soft_labels, labels, num_classes):
    if num_classes < 1 or soft_labels.isnan().any():
        raise ValueError("num_classes or soft_labels")
    total = soft_labels.new_zeros(num_classes, num_classes).index_add_(0, labels, soft_labels)
    count = torch.bincount(labels, minlength=num_classes)
    return torch.where(count[:, None] > 0, total / count[:, None].to(total.dtype), 0)


@alternative("class_similarity")
def class_similarity__with_a_loop(soft_labels, labels, num_classes):
    if num_classes <= 0:
        raise ValueError("num_classes")
    if torch.isnan(soft_labels).any():
        raise ValueError("soft_labels")
    rows = []
    for i in range(num_classes):
        mine = soft_labels[labels == i]
        rows.append(mine.mean(0) if len(mine) else torch.zeros_like(soft_labels[0]))
    return torch.stack(rows)


@alternative("class_similarity")
def class_similarity__mends_nan(soft_labels, labels, num_classes):
    if num_classes < 1 or soft_labels.isnan().any():
        raise ValueError("num_classes or soft_labels")
    means = [soft_labels[labels == i].mean(dim=0) for i in range(num_classes)]
    return torch.stack(means).nan_to_num(0.0)


@alternative("distillation_loss")
def distillation_loss__kl_div_log_target(
    student_logits, teacher_logits, labels, temperature, alpha
):
    if temperature <= 0 or not 0 <= alpha <= 1:
        raise ValueError("temperature or alpha")
    if torch.isnan(student_logits).any() or torch.isnan(teacher_logits).any():
        raise ValueError("logits")
    with torch.no_grad():
        target = F.log_softmax(teacher_logits / temperature, dim=-1)
    soft = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=-1),
        target,
        reduction="batchmean",
        log_target=True,
    )
    hard = F.cross_entropy(student_logits, labels)
    return alpha * hard + (1.0 - alpha) * soft * (temperature * temperature)


@alternative("distillation_loss")
def distillation_loss__kl_div_of_probabilities(
    student_logits, teacher_logits, labels, temperature, alpha
):
    if temperature <= 0 or not 0 <= alpha <= 1:
        raise ValueError("temperature or alpha")
    if torch.isnan(student_logits.sum() + teacher_logits.sum()):
        raise ValueError("logits")
    loss = nn.KLDivLoss(reduction="batchmean")
    soft = loss(
        nn.LogSoftmax(dim=1)(student_logits / temperature),
        nn.Softmax(dim=1)(teacher_logits.detach() / temperature),
    )
    return alpha * nn.CrossEntropyLoss()(student_logits, labels) + soft * (
        (1 - alpha) * temperature**2
    )


@alternative("distillation_loss")
def distillation_loss__cross_entropy_minus_entropy(
    student_logits, teacher_logits, labels, temperature, alpha
):
    if temperature <= 0 or alpha < 0 or alpha > 1:
        raise ValueError("temperature or alpha")
    if student_logits.isnan().any() or teacher_logits.isnan().any():
        raise ValueError("logits")
    p = softmax_with_temperature(teacher_logits.detach(), temperature)
    entropy = -torch.xlogy(p, p).sum(1).mean()
    soft = F.cross_entropy(student_logits / temperature, p) - entropy
    picked = student_logits.gather(1, labels[:, None]).squeeze(1)
    hard = (student_logits.logsumexp(1) - picked).mean()
    return alpha * hard + (1 - alpha) * temperature**2 * soft


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


@alternative("correct_bias")
def correct_bias__one_hot(logits, class_index, offset):
    if not 0 <= class_index < logits.shape[1]:
        raise ValueError("class_index")
    if logits.isnan().any():
        raise ValueError("logits")
    raised = torch.zeros_like(logits)
    raised[:, class_index] = offset
    return logits + raised


@alternative("correct_bias")
def correct_bias__columns(logits, class_index, offset):
    if class_index not in range(logits.size(-1)) or torch.isnan(logits).any():
        raise ValueError("class_index or logits")
    columns = list(logits.unbind(-1))
    columns[class_index] = columns[class_index] + offset
    return torch.stack(columns, dim=-1)
