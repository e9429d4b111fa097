"""Small layers, networks and loaders, and ways to look into modules that stay in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import DataLoader

from autograder.judge.checking import describe, expect, fail
from autograder.judge.course import Course
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.judge.toys import snapshot


def linear(rng: torch.Generator, inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer with weights that are spread evenly over [-1, 1]."""
    return fill(nn.Linear(inputs, outputs, bias=bias), rng)


def fill(layer: Any, rng: torch.Generator) -> Any:
    """Spread a layer's weight evenly over [-1, 1], to both ends; give it a bias that counts."""
    with torch.no_grad():
        count = layer.weight.numel()
        line = torch.linspace(-1, 1, count) + 0.3 / count  # no two magnitudes are the same
        line = line.clamp(-1, 1)[torch.randperm(count, generator=rng)]
        layer.weight.copy_(line.reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(1 + torch.rand(layer.bias.shape, generator=rng))
    return layer


def expect_layer(got: object, what: str) -> RemoteObject:
    """Expect an object of the student's own."""
    if not isinstance(got, RemoteObject):
        fail(f"{what}: expected a module of your own, got {describe(got)}")
    return got


def backward(
    student: Student,
    target: str | RemoteObject,
    *arguments: Any,
    mistake: str,
    upstream: Tensor | None = None,
) -> Any:
    """Call and backpropagate; fail with `mistake` when the result has no graph."""
    try:
        return student.call_and_backward(target, *arguments, upstream=upstream)
    except StudentError as problem:
        if "does not require grad" not in problem.message:
            raise
        fail("expected a gradient, but the result is cut off from its inputs", mistake)


def prepare(
    student: Student,
    model: nn.Module,
    weight_bits: int,
    activation_bits: int,
    mistake: str = "nothing_wrapped",
) -> RemoteObject:
    """Return a prepared copy of the model; whether the model itself was changed is no matter."""
    try:
        got = student.prepare_qat(snapshot(model), weight_bits, activation_bits)
    except StudentError as problem:
        if problem.result is None:
            raise
        got = problem.result
    if isinstance(got, nn.Module):
        fail("prepare_qat: the result has plain float layers, none is wrapped", mistake)
    return expect_layer(got, "prepare_qat")


def outputs(module: Any, x: Tensor, what: str = "the output") -> Tensor:
    """Return what a module says about x, without its graph."""
    got = expect.tensor(module(x), what=what).detach()
    if not got.isfinite().all():
        fail(f"{what}: expected finite numbers, got NaN or infinity: is a scale 0 somewhere?")
    return got


@contextmanager
def accepted(what: str, mistake: str) -> Iterator[None]:
    """Expect no ValueError for arguments that are allowed."""
    try:
        yield
    except StudentError as problem:
        if not problem.is_a("ValueError"):
            raise
        fail(f"{what} is allowed, but your code raised {problem}", mistake)


def calibrate(module: RemoteObject, x: Tensor) -> RemoteObject:
    """Show x to a module in train mode, three times; leave it in eval mode."""
    module.train()
    for _ in range(3):
        module(x)
    module.eval()
    return module


def wrap(student: Student, layer: nn.Module, weight_bits: int, activation_bits: int) -> Any:
    """Wrap a layer in the class for it."""
    name = f"QAT{type(layer).__name__}"
    module = student.call(name, snapshot(layer), weight_bits, activation_bits)
    return expect_layer(module, f"{name}(layer, {weight_bits}, {activation_bits})")


def expect_gradient_to_the_input(student: Student, layer: nn.Module, x: Tensor) -> None:
    """Expect that the layers before this one get their gradient, straight through."""
    module = wrap(student, layer, 8, 8)
    module.train()
    module(x)
    mine, twin = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    backward(student, module, mine, mistake="input_gets_no_gradient")
    with torch.enable_grad():
        layer(twin).sum().backward()
    got = torch.zeros_like(x) if mine.grad is None else mine.grad
    near = (got - twin.grad).abs() <= 0.1 * twin.grad.abs().max()
    if not got.any() or near.double().mean() < 0.8:
        fail(
            "the gradient with respect to the input is not that of the layer, straight through: "
            "the layers before this one cannot learn",
            "input_gets_no_gradient",
        )


def expect_float_bias(student: Student, layer: nn.Module, x: Tensor) -> None:
    """Expect that the bias is added as it is; the weights are too small to hide it."""
    with torch.no_grad():
        layer.weight.mul_(1e-3)
    for bits in (2, 8):
        module = calibrate(wrap(student, layer, bits, 8), x)
        got = outputs(module, torch.zeros_like(x)).transpose(0, 1).flatten(1)[:, 0]
        off = float((got - layer.bias.detach()).abs().max())
        message = f"weight_bits={bits}: the bias stays in float, but it is off by {off:.3f}"
        expect.true(off < 2e-3, message, "bias_quantized")


def read_linear(module: RemoteObject, inputs: int, mode: str = "train") -> Tensor:
    """Return the weight (out, in) that a module computes with in train or in eval mode.

    Rows of the unit matrix read it; every scheme represents 0 and 1 exactly.
    """
    return _read(module, torch.cat([torch.eye(inputs), torch.zeros(1, inputs)]), mode)


def read_conv(module: RemoteObject, layer: nn.Conv2d, mode: str = "train") -> Tensor:
    """Return the weight that a conv module without padding computes with, flat (out, -1)."""
    shape = layer.weight.shape[1:]
    count = shape.numel()
    probe = torch.cat([torch.eye(count), torch.zeros(1, count)]).reshape(-1, *shape)
    return _read(module, probe, mode)


def _read(module: RemoteObject, probe: Tensor, mode: str) -> Tensor:
    module.train()
    module(probe)
    getattr(module, mode)()
    rows = outputs(module, probe).flatten(1)
    return (rows[:-1] - rows[-1]).T


def different_rows(rows: Tensor, tolerance: float = 1e-3, most: int = 40) -> int:
    """Return how many different rows there are, up to a tolerance; counting ends at `most`."""
    count = 0
    while len(rows) and count < most:
        rows = rows[(rows - rows[0]).abs().amax(1) > tolerance]
        count += 1
    return count


def most_levels(rows: Tensor, tolerance: float = 1e-3) -> int:
    """Return the largest number of different values in a row, up to a tolerance."""
    return max(_count(row, tolerance) for row in rows)


def _count(row: Tensor, tolerance: float) -> int:
    ordered = row.flatten().sort().values
    return 1 + int((ordered.diff() > tolerance).sum())


def error(got: Tensor, wanted: Tensor) -> float:
    """Return the root mean square error relative to the wanted values."""
    return float((got - wanted).double().norm() / wanted.double().norm())


def state(module: RemoteObject) -> dict[str, Tensor]:
    """Return the tensors of a module with their gradients."""
    got = module.state_dict(keep_vars=True)
    if not isinstance(got, dict):
        fail(f"state_dict: expected a dict, got {describe(got)}")
    return {key: value for key, value in got.items() if isinstance(value, Tensor)}


def find_parameter(module: RemoteObject, wanted: Tensor) -> Tensor | None:
    """Return the float parameter that holds exactly these values, if there is one."""
    for value in state(module).values():
        if value.requires_grad and value.shape == wanted.shape and torch.equal(value, wanted):
            return value
    return None


def parts(student: Student, module: RemoteObject, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the attributes of a module and of all modules in it that stay in the sandbox."""
    attributes = student.attributes(module)
    yield attributes
    for child in (attributes.get("_modules") or {}).values():
        if isinstance(child, RemoteObject) and depth < 6:
            yield from parts(student, child, depth + 1)
        elif isinstance(child, nn.Module):
            for inner in child.modules():
                yield vars(inner)


def tensors_of(student: Student, module: RemoteObject) -> list[Tensor]:
    """Return every tensor that a module holds: parameters, buffers and plain attributes."""
    return _tensors(student, module, 0)


def _tensors(student: Student, value: Any, depth: int) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.detach()]
    if isinstance(value, dict | list | tuple):
        items = value.values() if isinstance(value, dict) else value
        return [tensor for item in items for tensor in _tensors(student, item, depth)]
    if isinstance(value, nn.Module):
        return [tensor.detach() for tensor in value.state_dict().values()]
    if not isinstance(value, RemoteObject) or depth > 8:
        return []
    if value._type_name == "Tensor":
        return [value.int_repr()] if value.is_quantized else []
    try:
        held = student.attributes(value)
    except StudentError:  # an object without attributes
        return []
    return _tensors(student, held, depth + 1) if isinstance(held, dict) else []


def modes(student: Student, module: RemoteObject) -> list[bool]:
    """Return the training flag of a module and of all modules in it."""
    return [bool(attributes["training"]) for attributes in parts(student, module)]


def same_state(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    """Tell whether two states hold the same tensors, to the last bit."""
    return list(before) == list(after) and all(
        torch.equal(value.nan_to_num(0.5), after[key].nan_to_num(0.5))
        if value.is_floating_point()
        else torch.equal(value, after[key])
        for key, value in before.items()
    )


def hits(model: Any, loader: DataLoader) -> float:
    """Return the accuracy of a model or of a module in the sandbox."""
    images, labels = loader.dataset.tensors
    return float((outputs(model, images).argmax(1) == labels).double().mean())


def on_grid(weight: Tensor, grid: tuple[float, int, int, bool], what: str) -> Tensor:
    """Expect a weight on its grid; return its codes."""
    scale, zero_point, bits, signed = grid
    codes = weight.detach().double() / scale + zero_point
    off = float((codes - codes.round()).abs().max())
    if off > 2e-3:
        fail(
            f"{what}: expected every weight on the frozen grid (scale {scale}), but one is off by "
            f"{off:.3f} steps; scales must not move, and the weights that are returned are the "
            "rounded ones",
            "off_the_frozen_grid",
        )
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    codes = codes.round()
    if codes.min() < low or codes.max() > high:
        fail(
            f"{what}: {bits} bits, {'signed' if signed else 'unsigned'}: expected codes {low} .. "
            f"{high}, got {int(codes.min())} .. {int(codes.max())}",
            "codes_out_of_range",
        )
    return codes


HIDDEN_IMAGES = 1000


def folded_checkpoint(course: Course) -> nn.Sequential:
    """Return the course's batch-norm network, folded, as a tree of plain layers."""
    model = course.checkpoint("batch_norm_cnn")
    layers: list[nn.Module] = []
    for number in (1, 2, 3):
        conv, norm = getattr(model, f"conv{number}"), getattr(model, f"bn{number}")
        layers += [fuse_conv_bn_eval(conv, norm), nn.ReLU(), nn.MaxPool2d(2)]
    folded = nn.Sequential(*layers, nn.AvgPool2d(3), nn.Flatten(), model.fc).eval()
    return folded.requires_grad_(True)  # PyTorch leaves the folded biases without gradient


def frozen_grids(model: nn.Module, bits: int) -> dict[str, tuple[float, int, int, bool]]:
    """Return signed grids whose scale is 1.4 mean|w|: the ternary scale at 2 bits."""
    return {
        name: (1.4 * float(layer.weight.detach().abs().mean()), 0, bits, True)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
