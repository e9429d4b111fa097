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


@alternative("softmax_with_temperature")
def softmax_with_temperature__numpy(logits, temperature):
    import numpy as np

    if temperature <= 0:
        raise ValueError("temperature")
    z = logits.detach().numpy().astype(np.float64)
    if np.isnan(z).any():
        raise ValueError("logits")
    powers = np.exp((z - z.max(-1, keepdims=True)) / temperature)
    return torch.from_numpy(powers / powers.sum(-1, keepdims=True)).to(logits.dtype)


@alternative("soft_labels")
def soft_labels__restores_every_mode(teacher, images, temperature):
    if temperature <= 0:
        raise ValueError("temperature must be positive")
    if images.isnan().any():
        raise ValueError("images")
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
    if not temperature > 0 or bool(torch.isnan(images).any()):
        raise ValueError("temperature or images")
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


@alternative("class_similarity")
def class_similarity__probabilities_only(soft_labels, labels, num_classes):
    # Stricter than it must be: it takes nothing but soft labels that sum to 1.
    if soft_labels.shape != (len(labels), num_classes) or num_classes < 1:
        raise ValueError("num_classes does not fit")
    if not torch.allclose(soft_labels.double().sum(1), torch.ones(len(labels)).double(), atol=1e-4):
        raise ValueError("soft_labels must be probabilities")
    if ((labels < 0) | (labels >= num_classes)).any():
        raise ValueError("labels")
    index = labels.unsqueeze(1).expand_as(soft_labels)
    rows = soft_labels.new_zeros(num_classes, num_classes)
    return rows.scatter_reduce(0, index, soft_labels, reduce="mean", include_self=False)


@alternative("correct_bias")
def correct_bias__one_hot(logits, class_index, offset):
    if not 0 <= class_index < logits.shape[1]:
        raise ValueError("class_index")
    if logits.isnan().any() or offset != offset:
        raise ValueError("logits or offset")
    raised = torch.zeros_like(logits)
    raised[:, class_index] = offset
    return logits + raised


@alternative("correct_bias")
def correct_bias__columns(logits, class_index, offset):
    if class_index not in range(logits.size(-1)):
        raise ValueError("class_index")
    if torch.isnan(logits + offset).any():
        raise ValueError("logits or offset")
    columns = list(logits.unbind(-1))
    columns[class_index] = columns[class_index] + offset
    return torch.stack(columns, dim=-1)


@alternative("correct_bias")
def correct_bias__numpy(logits, class_index, offset):
    import numpy as np

    raised = logits.detach().numpy().copy()
    if class_index not in range(raised.shape[-1]):
        raise ValueError("class_index")
    if np.isnan(raised).any() or np.isnan(offset):
        raise ValueError("logits or offset")
    raised[..., class_index] += offset
    return torch.from_numpy(raised)
