"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("finetune_after_ptq")
def finetune_after_ptq__shadow_weights(model, qparams, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, (_, _, bits, _) in qparams.items():
        if name not in layers or not 2 <= bits <= 16:
            raise ValueError(f"qparams: {name}")
    shadows = {name: layers[name].weight.detach().clone() for name in qparams}
    tuned.train()
    for _ in range(epochs):
        for images, labels in loader:
            tuned.zero_grad()
            for name, shadow in shadows.items():
                layers[name].weight.data = fake_quantize(shadow, *qparams[name])
            F.cross_entropy(tuned(images), labels).backward()
            with torch.no_grad():
                for name, parameter in tuned.named_parameters():
                    owner = name.removesuffix(".weight")
                    if name.endswith(".weight") and owner in shadows:
                        shadows[owner] -= lr * parameter.grad
                    else:
                        parameter -= lr * parameter.grad
    with torch.no_grad():
        for name, shadow in shadows.items():
            layers[name].weight.copy_(fake_quantize(shadow, *qparams[name]))
    tuned.zero_grad()
    return tuned.eval()


@alternative("finetune_after_ptq")
def finetune_after_ptq__functional_call(model, qparams, loader, epochs, lr):
    if not lr > 0:
        raise ValueError("lr")
    if epochs < 0:
        raise ValueError("epochs")
    tuned = copy.deepcopy(model).train()
    names = {name for name, _ in tuned.named_modules()}
    for name, (_, _, bits, _) in qparams.items():
        if name not in names:
            raise ValueError(f"unknown layer {name}")
        if bits < 2 or bits > 16:
            raise ValueError("bits")

    def rounded():
        return {
            name: fake_quantize(p, *qparams[name[: -len(".weight")]])
            if name.endswith(".weight") and name[: -len(".weight")] in qparams
            else p
            for name, p in tuned.named_parameters()
        }

    optimizer = torch.optim.AdamW(tuned.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(
                torch.func.functional_call(tuned, rounded(), (images,)), labels
            ).backward()
            optimizer.step()
    tuned.load_state_dict(rounded(), strict=False)
    optimizer.zero_grad()
    return tuned.eval()


@alternative("finetune_after_ptq")
def finetune_after_ptq__weights_swapped_around_backward(model, qparams, loader, epochs, lr):
    require(epochs >= 0 and lr > 0, "epochs must be 0 or more, lr above 0")
    twin = copy.deepcopy(model).train()
    layers = dict(twin.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"{name} is no layer")
        code_range(grid[2], True)
    optimizer = torch.optim.Adam(twin.parameters(), lr)

    def to_grid():
        kept = {name: layers[name].weight.data for name in qparams}
        for name, grid in qparams.items():
            layers[name].weight.data = fake_quantize(kept[name], *grid)
        return kept

    for _ in range(epochs):
        for images, labels in loader:
            kept = to_grid()
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
            for name, weight in kept.items():
                layers[name].weight.data = weight
            optimizer.step()
    to_grid()
    return twin.eval()


@alternative("finetune_after_ptq")
def finetune_after_ptq__wrappers_taken_out_again(model, qparams, loader, epochs, lr):
    class Wrapped(nn.Module):
        def __init__(self, layer, grid):
            super().__init__()
            self.layer, self.grid = layer, grid

        def forward(self, x):
            weight = fake_quantize(self.layer.weight, *self.grid)
            return torch.func.functional_call(self.layer, {"weight": weight}, (x,))

    twin = copy.deepcopy(model)
    layers = dict(twin.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"{name} is no layer")
        code_range(grid[2], True)
        twin.set_submodule(name, Wrapped(layers[name], grid))
    train(twin, loader, epochs, lr)
    for name, grid in qparams.items():
        layer = layers[name]
        layer.weight = nn.Parameter(fake_quantize(layer.weight.detach(), *grid))
        twin.set_submodule(name, layer)
    return twin.eval()
