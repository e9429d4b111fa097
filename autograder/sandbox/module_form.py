"""Models as plain data: class name, constructor arguments, and named tensors.

Only the course's own model classes and PyTorch's plain layers have such a form.
"""

from __future__ import annotations

import json
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course_utils.models import MODEL_CLASSES

# Constructor arguments of the plain layers that may cross; each is also an attribute of the layer.
LAYER_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features"),
    "Conv2d": (
        *("in_channels", "out_channels", "kernel_size", "stride"),
        *("padding", "dilation", "groups", "padding_mode"),
    ),
    "BatchNorm2d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "BatchNorm1d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "MaxPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "AdaptiveAvgPool2d": ("output_size",),
    "Flatten": ("start_dim", "end_dim"),
    "Dropout": ("p",),
    "ReLU": (),
    "Identity": (),
}
CONTAINERS = ("Sequential", "ModuleList")
MAX_MODULES = 2000
MAX_CONFIG_CHARACTERS = 2000
# No window in this course is larger; a padding of a million would fill the judge's memory.
MAX_WINDOW = 256
WINDOW_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "output_size")


class WireError(ValueError):
    """Bytes that are no message, or a value that cannot cross; the text says which and why."""


def structure_of(module: nn.Module) -> Any:
    """Return class and constructor arguments as JSON; None where they do not tell the whole."""
    name = type(module).__name__
    if MODEL_CLASSES.get(name) is not type(module) and type(module) is not getattr(nn, name, None):
        return None
    if name in CONTAINERS:
        children = [[key, structure_of(child)] for key, child in module.named_children()]
        if any(child is None for _, child in children):
            return None
        return {"class": name, "children": children}
    try:
        text = json.dumps({"class": name, "config": _config(module, name)})
        described = _described_outline(text)
    except Exception:  # surgery left a model that its arguments do not describe
        return None
    return json.loads(text) if _outline(module) == described else None


def _config(module: nn.Module, name: str) -> dict[str, Any]:
    if name in MODEL_CLASSES:
        return module.config
    config = {key: getattr(module, key) for key in LAYER_ARGUMENTS[name]}
    if name in ("Linear", "Conv2d"):
        config["bias"] = module.bias is not None
    return config


class _WithoutNumbers(TorchFunctionMode):
    """Leaves out the first values that layers draw: there is no memory for them."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def build(structure: Any) -> nn.Module:
    """Build the empty model of a structure, without memory for its tensors."""
    if _count(structure) > MAX_MODULES:
        raise WireError(f"a model of more than {MAX_MODULES} layers")
    return _build(structure)


def _count(structure: Any) -> int:
    return 1 + sum(_count(child) for _, child in structure.get("children", ()))


def _build(structure: Any) -> nn.Module:
    name = structure["class"]
    with torch.device("meta"), _WithoutNumbers(), warnings.catch_warnings():
        # A layer without neurons is odd, and the check will say so.
        warnings.simplefilter("ignore", UserWarning)
        if name in CONTAINERS:
            container = getattr(nn, name)()
            for key, child in structure["children"]:
                container.add_module(str(key), _build(child))
            return container
        if len(json.dumps(structure["config"])) > MAX_CONFIG_CHARACTERS:
            raise WireError(f"the constructor arguments of {name!r:.50} are too long")
        config = {key: _tuples(item) for key, item in structure["config"].items()}
        if any(_largest(config.get(key)) > MAX_WINDOW for key in WINDOW_ARGUMENTS):
            raise WireError(f"a {name!r:.50} with a window of more than {MAX_WINDOW}")
        if name in MODEL_CLASSES:
            return MODEL_CLASSES[name](**config)
        if name in LAYER_ARGUMENTS and set(config) <= {*LAYER_ARGUMENTS[name], "bias"}:
            return getattr(nn, name)(**config)
    raise WireError(f"a model of class {name!r:.50} cannot cross")


def _tuples(value: Any) -> Any:
    """Turn JSON's lists back into the tuples that constructors take."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _largest(value: Any) -> int:
    numbers = value if isinstance(value, tuple) else (value,)
    return max((abs(n) for n in numbers if isinstance(n, int)), default=0)


@lru_cache(maxsize=256)
def _described_outline(structure: str) -> list[Any]:
    """Return the outline of the model that a structure, as JSON, describes."""
    return _outline(build(json.loads(structure)))


def _outline(model: nn.Module) -> list[Any]:
    """Return layers and tensors: names with classes and with shapes."""
    kinds: list[Any] = [(name, type(part)) for name, part in model.named_modules()]
    for tensors in (model.named_parameters, model.named_buffers):
        kinds += [(name, tuple(t.shape)) for name, t in tensors(remove_duplicate=False)]
    return sorted(kinds, key=repr)


def fill(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put the tensors of `state` in their places; all of them, and none besides."""
    wanted: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    buffers = dict(module.named_buffers(remove_duplicate=False))
    wanted |= buffers
    if set(wanted) != set(state):
        odd = sorted(set(wanted) ^ set(state))[:3]
        raise WireError(f"the model's tensors are not those of its class: {odd}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
            raise WireError(f"the model's {name!r} has shape {shapes}")
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        if name in buffers:
            owner._buffers[leaf] = tensor
            continue
        floating = tensor.is_floating_point()
        parameter = nn.Parameter(tensor.detach(), requires_grad=floating and tensor.requires_grad)
        parameter.grad = tensor.grad
        owner._parameters[leaf] = parameter
