"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("prepare_qat")
def prepare_qat__recursive(model, weight_bits, activation_bits):
    code_range(weight_bits, True)
    code_range(activation_bits, True)

    def wrap(module):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                module._modules[name] = QATConv2d(child, weight_bits, activation_bits)
            elif isinstance(child, nn.Linear):
                module._modules[name] = QATLinear(child, weight_bits, activation_bits)
            else:
                wrap(child)
        return module

    return wrap(copy.deepcopy(model)).eval()


@alternative("prepare_qat")
def prepare_qat__by_parent(model, weight_bits, activation_bits):
    if not (2 <= weight_bits <= 16 and 2 <= activation_bits <= 16):
        raise ValueError("weight_bits, activation_bits")
    twin = copy.deepcopy(model)
    kinds = {nn.Conv2d: QATConv2d, nn.Linear: QATLinear}
    names = [name for name, layer in twin.named_modules() if type(layer) in kinds]
    for name in names:
        parent, _, leaf = name.rpartition(".")
        layer = twin.get_submodule(name)
        wrapped = kinds[type(layer)](layer, weight_bits, activation_bits)
        setattr(twin.get_submodule(parent), leaf, wrapped)
    for module in twin.modules():
        module.training = False
    return twin


@alternative("train_qat")
def train_qat__own_loop(model, loader, epochs, lr):
    if epochs < 0:
        raise ValueError("epochs must not be negative")
    if lr <= 0:
        raise ValueError("lr must be above 0")
    twin = copy.deepcopy(model)
    twin.train()
    optimizer = torch.optim.Adam(twin.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
            optimizer.step()
    twin.eval()
    return twin


@alternative("train_qat")
def train_qat__sgd(model, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss(twin(images), labels).backward()
            optimizer.step()
    return twin.eval()


@alternative("prepare_qat")
def prepare_qat__by_the_memo_of_deepcopy(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    memo = {}
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            kind = QATLinear if isinstance(layer, nn.Linear) else QATConv2d
            memo[id(layer)] = kind(copy.deepcopy(layer), weight_bits, activation_bits)
    return copy.deepcopy(model, memo).eval()
