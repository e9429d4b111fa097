"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- finetune_after_ptq


@mistake(
    "finetune_after_ptq",
    caught_by="test_the_rounded_weights_learn",
    hint="the model is trained in float and rounded at the end; the loss never sees the rounding",
    replay=False,
)
def finetune_after_ptq__rounds_only_at_the_end(model, qparams, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        code_range(grid[2], True)
    train(tuned, loader, epochs, lr)
    with torch.no_grad():
        for name, grid in qparams.items():
            layers[name].weight.copy_(fake_quantize(layers[name].weight, *grid))
    return tuned


@mistake(
    "finetune_after_ptq",
    caught_by="test_weights_lie_on_the_frozen_grid",
    hint="the weights that are returned do not lie on the frozen grid",
    replay=False,
)
def finetune_after_ptq__off_the_frozen_grid(model, qparams, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        with torch.no_grad():
            layers[name].weight.copy_(fake_quantize(layers[name].weight, *grid))
    return train(tuned, loader, epochs, lr)


@mistake(
    "finetune_after_ptq",
    caught_by="test_every_kind_of_grid",
    hint="codes lie outside the range of the given bits",
    replay=False,
)
def finetune_after_ptq__codes_out_of_range(model, qparams, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        code_range(grid[2], True)
    train(tuned, loader, epochs, lr)
    with torch.no_grad():
        for name, (scale, _, _, _) in qparams.items():
            layers[name].weight.copy_(torch.round(layers[name].weight / scale) * scale)
    return tuned


@mistake(
    "finetune_after_ptq",
    caught_by="test_tuning_leaves_the_callers_model",
    hint="the given model itself is changed: work on a deep copy",
    replay=False,
)
def finetune_after_ptq__changes_the_model(model, qparams, loader, epochs, lr):
    layers = dict(model.named_modules())
    for name, (_, _, bits, signed) in qparams.items():
        require(name in layers, f"qparams: no layer {name!r}")
        code_range(bits, signed)
    shadows = {name: layers[name].weight.detach().clone() for name in qparams}
    optimizer = torch.optim.Adam(model.parameters(), lr) if lr > 0 else require(False, "lr")
    require(epochs >= 0, "epochs")
    model.train()

    def put():
        with torch.no_grad():
            for name, shadow in shadows.items():
                layers[name].weight.copy_(fake_quantize(shadow, *qparams[name]))

    put()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            before = {name: layers[name].weight.detach().clone() for name in shadows}
            optimizer.step()
            with torch.no_grad():
                for name, shadow in shadows.items():
                    shadow += layers[name].weight - before[name]
            put()
    return model.eval()


@mistake(
    "finetune_after_ptq",
    caught_by="test_without_epochs_it_is_ptq",
    hint="layers that qparams does not name are quantized too",
    replay=False,
)
def finetune_after_ptq__quantizes_layers_without_qparams(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers and hasattr(layers[name], "weight"), f"qparams: no layer {name!r}")
        code_range(grid[2], True)
    first = next(iter(qparams.values()))
    names = [n for n, m in layers.items() if isinstance(m, nn.Linear | nn.Conv2d)]
    for name in names:
        grid = Grid(qparams.get(name, first))
        parametrize.register_parametrization(layers[name], "weight", grid)
    train(tuned, loader, epochs, lr)
    for name in names:
        parametrize.remove_parametrizations(layers[name], "weight")
    return tuned


@mistake(
    "finetune_after_ptq",
    caught_by="test_tuned_model_is_in_eval_mode",
    hint="the result is left in train mode",
    replay=False,
)
def finetune_after_ptq__left_in_train_mode(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, grid in qparams.items():
        require(name in layers and hasattr(layers[name], "weight"), f"qparams: no layer {name!r}")
        code_range(grid[2], True)
        parametrize.register_parametrization(layers[name], "weight", Grid(grid))
    train(tuned, loader, epochs, lr)
    for name in qparams:
        parametrize.remove_parametrizations(layers[name], "weight")
    return tuned.train()


@mistake(
    "finetune_after_ptq",
    caught_by="test_epochs_and_learning_rate_of_tuning_count",
    hint="trains one epoch, whatever `epochs` says",
    replay=False,
)
def finetune_after_ptq__ignores_epochs(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    twin = copy.deepcopy(model)
    layers = dict(twin.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"{name} is no layer")
        code_range(grid[2], True)
        parametrize.register_parametrization(layers[name], "weight", Grid(grid))
    twin = train(twin, loader, min(epochs, 1), lr)
    for name in qparams:
        parametrize.remove_parametrizations(layers[name], "weight")
    return twin


@mistake(
    "finetune_after_ptq",
    caught_by="test_layers_by_their_full_names",
    hint="only direct children are found; names are those of named_modules(), such as 'features.0'",
    replay=False,
)
def finetune_after_ptq__direct_children_only(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    twin = copy.deepcopy(model)
    for name, grid in qparams.items():
        require(hasattr(twin, name), f"{name} is no layer")
        code_range(grid[2], True)
        parametrize.register_parametrization(getattr(twin, name), "weight", Grid(grid))
    twin = train(twin, loader, epochs, lr)
    for name in qparams:
        parametrize.remove_parametrizations(getattr(twin, name), "weight")
    return twin


@mistake(
    "finetune_after_ptq",
    caught_by="test_layers_by_their_full_names",
    hint="wrappers stay in the model that is returned; it has the same architecture as the given "
    "one",
    replay=False,
)
def finetune_after_ptq__wrappers_stay(model, qparams, loader, epochs, lr):
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
        layers[name].weight.data = fake_quantize(layers[name].weight.data, *grid)
    return twin


@mistake(
    "finetune_after_ptq",
    caught_by="test_every_kind_of_grid",
    hint="more than 8 bits are refused, but 2 to 16 are allowed",
    replay=False,
)
def finetune_after_ptq__at_most_eight_bits(model, qparams, loader, epochs, lr):
    class Grid(nn.Module):
        def __init__(self, grid):
            super().__init__()
            self.grid = grid

        def forward(self, weight):
            return fake_quantize(weight, *self.grid)

    twin = copy.deepcopy(model)
    layers = dict(twin.named_modules())
    for name, grid in qparams.items():
        require(name in layers, f"{name} is no layer")
        require(2 <= grid[2] <= 8, "bits must lie in 2 .. 16")
        parametrize.register_parametrization(layers[name], "weight", Grid(grid))
    twin = train(twin, loader, epochs, lr)
    for name in qparams:
        parametrize.remove_parametrizations(layers[name], "weight")
    return twin
