"""What the checks of this topic share: zeros, grids, modes, impossible arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.judge.checking import describe, expect, fail
from autograder.judge.student import RemoteObject
from autograder.judge.toys import redraw, stripes
from course_utils.data import make_loader

# Every call: model, teacher, loader, epochs, temperature, alpha, lr.
Trainer = Callable[[nn.Module, nn.Module, DataLoader, int, float, float, float], Any]


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the conv and linear layers by name."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def weights_of(got: Any, like: nn.Module, what: str) -> dict[str, Tensor]:
    """Return the weights of the layers of `like` in a result, by layer name, or fail.

    A result of a class of the student's own stays in the sandbox; its state dict tells.
    """
    if isinstance(got, nn.Module):
        found = {name: layer.weight.detach() for name, layer in layers_of(got).items()}
    elif isinstance(got, RemoteObject):
        state = got.state_dict()
        found = {
            name: state[f"{name}.weight"].detach()
            for name in layers_of(like)
            if f"{name}.weight" in state
        }
    else:
        fail(f"{what}: expected the compressed model, got {describe(got)}")
    for name, layer in layers_of(like).items():
        if name not in found:
            fail(f"{what}: the result has no layer {name!r}; it has {sorted(found)}")
        expect.tensor(found[name], layer.weight.shape, what=f"{what}: {name}.weight")
        if not found[name].isfinite().all():
            fail(f"{what}: {name}.weight holds NaN or infinity")
    return found


def expect_zeros(weight: Tensor, sparsity: float, what: str, mistake: str | None = None) -> None:
    """Expect at least round(sparsity * numel) zeros, and that not everything is zero."""
    zeros, wanted = int((weight == 0).sum()), round(sparsity * weight.numel())
    if zeros < wanted:
        near = int((weight.abs() < 1e-3).sum())
        almost = f" ({near} are nearly 0)" if near >= wanted else ""
        fail(f"{what}: expected {wanted} exact zeros, got {zeros}{almost}", mistake)
    if zeros == weight.numel():
        fail(f"{what}: all weights are zero")


def levels(weight: Tensor) -> Tensor:
    """Return the different values, in order; those that differ by rounding errors are one."""
    values = weight.detach().double().flatten().unique()
    # `w + (rounded - w)`, the straight-through form, misses a level by the last bit of a float32.
    return values[values.diff(prepend=values.new_tensor([-torch.inf])) > 1e-5 * values.abs().max()]


def grid_step(weight: Tensor, bits: int) -> float | None:
    """Return a step of which all values are whole multiples, with codes of `bits` bits.

    Signed, unsigned and shifted codes are all accepted; 0 is always a level.
    """
    values = levels(weight)
    top = float(values.abs().max())
    if top == 0:
        return 1.0
    if len(values) > 2**bits:
        return None
    for code in range(1, 2**bits + 1):
        codes = values * (code / top)
        whole = codes.round()
        # float32 holds a product of code and scale to about 1e-7 of it.
        if float((codes - whole).abs().max()) < 2e-3 and float(whole.max() - whole.min()) < 2**bits:
            return top / code
    return None


def expect_grid(weight: Tensor, bits: int, what: str, mistake: str | None = None) -> None:
    """Expect a weight on one grid of its own."""
    if grid_step(weight, bits) is not None:
        return
    if all(grid_step(row, bits) is not None for row in weight):
        fail(
            f"{what}: expected whole multiples of one scale, but every row has a scale of its own",
            "one_scale_a_channel",
        )
    fail(
        f"{what}: expected whole multiples of one scale with {bits}-bit codes, got "
        f"{len(levels(weight))} different values that lie on no such grid",
        mistake,
    )


def wide_net(rng: torch.Generator) -> nn.Sequential:
    """Return a net for `stripes` whose two layers have weights of very different size."""
    model = redraw(
        nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)), rng
    )
    with torch.no_grad():
        model[0].weight.mul_(8)
        model[3].weight.mul_(0.3)
    return model


def nested_net(rng: torch.Generator) -> nn.Sequential:
    """Return a net for `stripes` whose layers are not its own children."""
    first = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU())
    return redraw(nn.Sequential(first, nn.Flatten(), nn.Sequential(nn.Linear(96, 3))), rng)


def long_tails(rng: torch.Generator) -> nn.Sequential:
    """Return a net for `stripes`: most weights of a layer are small and a few are large."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 60), nn.ReLU(), nn.Linear(60, 30))
    with torch.no_grad():
        for layer in (model[1], model[3]):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng) ** 3)
    return model


def rounding_unfelt(train: Callable[[nn.Module, DataLoader], Any], rng: torch.Generator) -> float:
    """Return how far the weights of a result are from those that it was trained with.

    The statistics of batch norm follow the outputs of the layer before it. Where the network
    felt the rounding they are those of the rounded weights: whatever the scale, the optimizer and
    the order of steps, the distance is near 0. It is counted in deviations.
    """
    distances = []
    for _ in range(3):
        images, labels = stripes(rng, count=384).dataset.tensors
        layers = (nn.Linear(36, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        model = redraw(nn.Sequential(nn.Flatten(), *layers), rng)
        # Far from 0, so that a small change of the weights moves the outputs.
        got = train(model, make_loader(images + 5, labels, 32, shuffle=True))
        weights_of(got, model, "a network with batch norm")
        state = got.state_dict()
        outputs = F.linear(images.flatten(1) + 5, state["1.weight"], state["1.bias"]).detach()
        off = (state["2.running_mean"] - outputs.mean(0)).abs() / outputs.std(0).clamp_min(1e-6)
        distances.append(float(off.mean()))
    return sum(distances) / len(distances)


def expect_rounding_felt(
    train: Callable[[nn.Module, DataLoader], Any], rng: torch.Generator, mistake: str
) -> None:
    """Expect that a network is trained with the weights that come back."""
    unfelt = rounding_unfelt(train, rng)
    message = (
        "3 bits, 6 epochs: the batch-norm statistics, learnt in the training, are off by "
        f"{unfelt:.1f} deviations for the weights that came back (expected near 0): the network "
        "was trained with other weights; it must feel the rounding while it learns"
    )
    expect.true(unfelt < 0.6, message, mistake)


def expect_eval(got: Any, what: str, mistake: str | None = "left_in_train_mode") -> None:
    """Expect every submodule of a result in eval mode."""
    if isinstance(got, nn.Module):
        training = [name or "the model itself" for name, m in got.named_modules() if m.training]
    else:
        training = ["the model itself"] if got.training else []
    expect.true(not training, f"{what}: expected eval mode, in train mode: {training}", mistake)


def expect_rejections(
    call: Callable[..., Any], right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    """Expect a ValueError for each wrong value of each argument."""
    for name, values in wrong.items():
        for value in values:
            with expect.value_error(f"{name} = {value}"):
                call(**{**right, name: value})
