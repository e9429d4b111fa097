"""Small chains with exits, small nets by width, and what each sample should do in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autograder.judge.checking import describe, expect, fail
from autograder.judge.student import RemoteObject, Student, StudentError

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
SMALLEST_GAP = 0.004


def right_confidence(logits: Tensor, criterion: str) -> Tensor:
    """Return the confidence of each row in float64."""
    log_p = logits.detach().double().log_softmax(dim=1)
    if criterion == "top1":
        return log_p.exp().amax(dim=1)
    return 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])


# ---------------------------------------------------------------- chains with exits


@dataclass
class Chain:
    """Blocks, exits and samples, and the logits (E, N, C) of every exit."""

    blocks: list[nn.Module]
    exits: list[nn.Module]
    x: Tensor
    all_logits: Tensor


def make_chain(
    rng: torch.Generator, depth: int, count: int, classes: int = 4, features: int = 6
) -> Chain:
    """Return a chain in which confidences are spread over (0, 1) at every exit."""
    blocks: list[nn.Module] = []
    exits: list[nn.Module] = []
    for _ in range(depth):
        blocks.append(_linear(rng, features, features, 1.0))
        exits.append(_linear(rng, features, classes, 1.0))
    x = torch.randn(count, features, generator=rng)
    # Easy and hard samples: a larger one has larger logits, but for the biases.
    x *= 0.3 + 3 * torch.rand(count, 1, generator=rng)
    return finish_chain(blocks, exits, x)


def finish_chain(blocks: list[nn.Module], exits: list[nn.Module], x: Tensor) -> Chain:
    """Compute the logits of every exit."""
    all_logits, here = [], x
    with torch.no_grad():
        for block, exit_head in zip(blocks, exits, strict=True):
            here = block(here)
            all_logits.append(exit_head(here))
    return Chain(blocks, exits, x, torch.stack(all_logits))


def _linear(rng: torch.Generator, inputs: int, outputs: int, size: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(size * torch.randn(outputs, inputs, generator=rng) / inputs**0.5)
        layer.bias.copy_(0.3 * torch.randn(outputs, generator=rng))
    return layer


def spread_threshold(all_logits: Tensor, criterion: str) -> float:
    """Return a threshold that lets about half of the samples leave at exit 0, far from any.

    It lies in the widest gap between confidences near the middle of those of exit 0.
    """
    confidences = torch.stack([right_confidence(logits, criterion) for logits in all_logits])
    middle = confidences[0].sort().values
    low, high = (float(middle[int(part * (len(middle) - 1))]) for part in (0.3, 0.75))
    near = confidences.flatten()
    near = near[(near >= low) & (near <= high)].sort().values
    place = int(near.diff().argmax())
    return float((near[place] + near[place + 1]) / 2)


def right_exits(all_logits: Tensor, threshold: float, criterion: str) -> Tensor:
    """Return the exit (N,) that each sample takes."""
    last = len(all_logits) - 1
    index = torch.full((all_logits.shape[1],), last)
    for number in reversed(range(last)):
        index[right_confidence(all_logits[number], criterion) >= threshold] = number
    return index


def mixed_chain(
    rng: torch.Generator, depth: int, count: int, criterion: str, classes: int = 4
) -> tuple[Chain, float, Tensor]:
    """Return a chain, a threshold and the exits taken: samples leave at every exit.

    At least one is unsure even at the last exit. No confidence lies so near the threshold that
    rounding could decide.
    """
    while True:
        chain = make_chain(rng, depth, count, classes)
        threshold = spread_threshold(chain.all_logits, criterion)
        near = torch.stack([right_confidence(z, criterion) for z in chain.all_logits]) - threshold
        exits = right_exits(chain.all_logits, threshold, criterion)
        used = torch.bincount(exits, minlength=depth)
        if near.abs().min() > SMALLEST_GAP and used.min() > 0 and near.amax(dim=0).min() < 0:
            return chain, threshold, exits


def taken(all_logits: Tensor, index: Tensor) -> Tensor:
    """Return the logits (N, C) of the exit that each sample takes."""
    return all_logits[index, torch.arange(len(index))]


def expect_pair(got: object, count: int, what: str, second: str) -> tuple[Tensor, Tensor]:
    """Expect logits (N, C) and whole numbers (N,)."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail(f"{what}: expected the pair (logits, {second}), got {describe(got)}")
    logits, index = got
    expect.tensor(logits, what=f"{what}: logits")
    expect.tensor(index, (count,), what=f"{what}: {second}")
    if index.dtype not in INTEGERS:
        fail(f"{what}: {second} must be whole numbers, got {index.dtype}")
    return logits.detach(), index.long()


def expect_exits(got: object, all_logits: Tensor, wanted: Tensor, what: str, second: str) -> None:
    """Expect that each sample took its exit (or width), with the logits of that one."""
    logits, index = expect_pair(got, len(wanted), what, second)
    if not torch.equal(index, wanted):
        place = int((index != wanted).nonzero()[0])
        fail(
            f"{what}: expected {second} {wanted.tolist()}, got {index.tolist()}; the first "
            f"difference is at sample {place}"
        )
    expect.close(logits, taken(all_logits, wanted), f"{what}: logits", atol=1e-4, rtol=1e-4)


def early_exit_net(student: Student, chain: Chain) -> RemoteObject:
    """Build the student's network from plain modules."""
    return expect_object(student.EarlyExitNet(chain.blocks, chain.exits), "EarlyExitNet")


def expect_object(got: object, what: str) -> RemoteObject:
    """Expect an object of the student's own."""
    if not isinstance(got, RemoteObject):
        fail(f"{what}: expected an object of your class, got {describe(got)}")
    return got


# ---------------------------------------------------------------- arguments of either kind


def lists_or_tensors(function: Callable[..., Any], *sequences: Sequence[float]) -> Any:
    """Call with lists; where the student's code is written for tensors, with tensors."""
    try:
        return function(*sequences)
    except StudentError as error:
        if not (error.is_a("TypeError") or error.is_a("AttributeError")):
            raise
    return function(*(torch.tensor(sequence) for sequence in sequences))


# ---------------------------------------------------------------- layers in the sandbox


def run_layer(layer: RemoteObject, x: Tensor, width: float, what: str) -> Tensor:
    """Return what a layer makes of x at a width, or fail with what it raised."""
    try:
        return expect.tensor(layer(x, width), what=what)
    except StudentError as error:
        if error.fatal or error.is_a("NotImplementedError"):
            raise
        shape = tuple(x.shape)
        fail(
            f"{what}: your code raised {error.type_name} for x of the shape {shape}: "
            f"{error.message}"
        )


def outputs(layer: RemoteObject, x: Tensor, width: float, what: str) -> Tensor:
    """Return what a layer makes of x, without its graph."""
    return run_layer(layer, x, width, what).detach()


def refill(layer: RemoteObject, rng: torch.Generator) -> RemoteObject:
    """Give every parameter of a layer in the sandbox random values."""
    state = layer.state_dict()
    if not isinstance(state, dict):
        fail(f"state_dict: expected a dict, got {describe(state)}")
    filled = {
        key: torch.randn(value.shape, generator=rng).to(value.dtype)
        for key, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    layer.load_state_dict({**state, **filled})
    return layer


def trainable(layer: RemoteObject) -> list[Tensor]:
    """Return the parameters of a module in the sandbox, with their gradients."""
    state = layer.state_dict(keep_vars=True)
    if not isinstance(state, dict):
        fail(f"state_dict: expected a dict, got {describe(state)}")
    return [v for v in state.values() if isinstance(v, Tensor) and v.requires_grad]


def channels(width: float, count: int, sliced: bool = True) -> int:
    """Return how many of `count` channels a width uses."""
    return math.ceil(width * count) if sliced else count


# ---------------------------------------------------------------- nets by width


def nets_by_width(
    rng: torch.Generator, widths: Sequence[float], count: int, classes: int = 4
) -> tuple[dict[float, nn.Module], Tensor, Tensor]:
    """Return a net for each width, samples, and the logits (W, N, C) of every net."""
    nets: dict[float, nn.Module] = {w: _linear(rng, 6, classes, 1.0) for w in widths}
    x = torch.randn(count, 6, generator=rng) * (0.3 + 3 * torch.rand(count, 1, generator=rng))
    with torch.no_grad():
        return nets, x, torch.stack([net(x) for net in nets.values()])


def mixed_nets(
    rng: torch.Generator, widths: Sequence[float], count: int, classes: int = 4
) -> tuple[dict[float, nn.Module], Tensor, Tensor, float, Tensor]:
    """Return nets, samples, logits, a threshold, and the width index that each sample takes."""
    while True:
        nets, x, all_logits = nets_by_width(rng, widths, count, classes)
        threshold = spread_threshold(all_logits, "top1")
        near = torch.stack([right_confidence(z, "top1") for z in all_logits]) - threshold
        index = right_exits(all_logits, threshold, "top1")
        used = torch.bincount(index, minlength=len(widths))
        if near.abs().min() > SMALLEST_GAP and used.min() > 0 and near.amax(dim=0).min() < 0:
            return nets, x, all_logits, threshold, index


def computed_by_width(toy: RemoteObject, widths: Sequence[float]) -> list[int]:
    """Return how many samples the nets computed, width by width."""
    batches = toy.batches
    return [sum(n for w, n in batches if w == width) for width in widths]
