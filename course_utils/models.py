"""The course's networks, and their way into files and back.

Every network takes images (N, 1, 28, 28) and returns logits (N, num_classes).
`.config` holds the constructor arguments, read from the layers as they are now. So it is right
after surgery too, for example after `model.fc1 = smaller_layer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

IMAGE_SIDE = 28
IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE


class LeNet(nn.Module):
    """LeNet in the shape of Caffe's example: two conv and two linear layers, 431,080 parameters.

    Args:
        conv1: Output channels of the first conv layer, at least 1.
        conv2: Output channels of the second conv layer, at least 1.
        fc1: Width of the hidden linear layer, at least 1.
        num_classes: Number of logits, at least 1.

    Raises:
        ValueError: If a size is less than 1.

    Source:
        LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition.
    """

    def __init__(
        self, conv1: int = 20, conv2: int = 50, fc1: int = 500, num_classes: int = 10
    ) -> None:
        super().__init__()
        _require_sizes(conv1=conv1, conv2=conv2, fc1=fc1, num_classes=num_classes)
        self.conv1 = nn.Conv2d(1, conv1, kernel_size=5)
        self.conv2 = nn.Conv2d(conv1, conv2, kernel_size=5)
        self.fc1 = nn.Linear(conv2 * 4 * 4, fc1)
        self.fc2 = nn.Linear(fc1, num_classes)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor arguments that describe the layers as they are now."""
        names = {"conv1": "conv1", "conv2": "conv2", "fc1": "fc1", "num_classes": "fc2"}
        return {argument: _width(self, layer) for argument, layer in names.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images (N, 1, 28, 28)."""
        x = _channels_last(images)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # (N, conv1, 12, 12)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, conv2, 4, 4)
        x = x.flatten(1)  # (N, conv2 * 16): channel c, row h, column w is at c * 16 + h * 4 + w
        return self.fc2(F.relu(self.fc1(x)))


class BatchNormCNN(nn.Module):
    """Three conv layers with batch normalisation: as accurate as LeNet with 24,058 parameters.

    Each conv layer (3x3, without bias) is followed by batch normalisation, ReLU and 2x2 pooling.
    The mean over all positions then goes to one linear layer.

    Args:
        channels: Output channels of the three conv layers, each at least 1.
        num_classes: Number of logits, at least 1.

    Raises:
        ValueError: If there are not three channel numbers, or a size is less than 1.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64), num_classes: int = 10) -> None:
        super().__init__()
        if len(channels) != 3:
            raise ValueError(f"channels must hold three numbers; got {tuple(channels)}")
        first, second, third = channels
        _require_sizes(conv1=first, conv2=second, conv3=third, num_classes=num_classes)
        self.conv1 = nn.Conv2d(1, first, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, kernel_size=3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(third)
        self.fc = nn.Linear(third, num_classes)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor arguments that describe the layers as they are now."""
        channels = tuple(_width(self, layer) for layer in ("conv1", "conv2", "conv3"))
        return {"channels": channels, "num_classes": _width(self, "fc")}

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images (N, 1, 28, 28)."""
        x = _channels_last(images)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)  # (N, channels[0], 14, 14)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)  # (N, channels[1], 7, 7)
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), 2)  # (N, channels[2], 3, 3)
        return self.fc(x.mean(dim=(2, 3)))  # (N, channels[2]) -> (N, num_classes)


class MLP(nn.Module):
    """Linear layers fc1, fc2, ... with ReLU between them.

    Args:
        hidden: Widths of the hidden layers, each at least 1. Empty: a linear classifier.
        num_classes: Number of logits, at least 1.

    Raises:
        ValueError: If a size is less than 1.
    """

    def __init__(self, hidden: Sequence[int] = (256,), num_classes: int = 10) -> None:
        super().__init__()
        sizes = {f"fc{number}": width for number, width in enumerate((*hidden, num_classes), 1)}
        _require_sizes(**sizes)
        inputs = IMAGE_PIXELS
        for name, width in sizes.items():
            self.add_module(name, nn.Linear(inputs, width))
            inputs = width

    @property
    def config(self) -> dict[str, Any]:
        """The constructor arguments that describe the layers as they are now."""
        *hidden, num_classes = (_width(self, name) for name, _ in self.named_children())
        return {"hidden": tuple(hidden), "num_classes": num_classes}

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images (N, 1, 28, 28) or (N, 784)."""
        *hidden, last = self.children()
        x = images.flatten(1)
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


MODEL_CLASSES: dict[str, type[nn.Module]] = {
    model_class.__name__: model_class for model_class in (LeNet, BatchNormCNN, MLP)
}


def rebuild(name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build a course model from its class name, its constructor arguments and its tensors.

    Args:
        name: A key of `MODEL_CLASSES`.
        config: What the model's `.config` was.
        state: What its `state_dict()` was.

    Returns:
        A new model in eval mode.

    Raises:
        ValueError: If the class is unknown, or the arguments or tensors do not fit it.
    """
    if name not in MODEL_CLASSES:
        known = ", ".join(MODEL_CLASSES)
        raise ValueError(f"unknown model class {name!r}; the course has {known}")
    try:
        model = MODEL_CLASSES[name](**config)
        model.load_state_dict(dict(state))
    except (TypeError, RuntimeError) as problem:
        raise ValueError(
            f"config and state must be those of one {name} (its `.config` and `.state_dict()`): "
            f"{problem}"
        ) from None
    return model.eval()


def save_model(model: nn.Module, path: str | Path) -> None:
    """Write a course model to a safetensors file, with class name and config as metadata.

    Raises:
        ValueError: If the model's class is not one of `MODEL_CLASSES`, or its layers are not
            those that its config describes, so that nobody could load the file.
    """
    name = type(model).__name__
    if MODEL_CLASSES.get(name) is not type(model):
        known = ", ".join(MODEL_CLASSES)
        raise ValueError(f"save_model takes the course's models ({known}); got a {name}")
    config, state = model.config, packed_state(model)
    rebuild(name, config, state)
    metadata = {"class": name, "config": json.dumps(config)}
    Path(path).write_bytes(safetensors.torch.save(state, metadata))


def load_model(path: str | Path) -> nn.Module:
    """Return the model that `save_model` wrote, in eval mode.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a file of `save_model`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}; write one with save_model(model, path)")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        name, config = metadata["class"], json.loads(metadata["config"])
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as problem:
        raise ValueError(
            f"{path} is not a file that save_model wrote ({type(problem).__name__}: {problem})"
        ) from None
    return rebuild(name, config, state)


def packed_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict as safetensors wants it: tensors that are dense and share nothing."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }


def _channels_last(images: Tensor) -> Tensor:
    """Return the images in the memory layout that makes conv and pooling fast on a CPU.

    With one channel nothing is copied, only the strides say so. Conv layers pass the layout on.
    On one thread LeNet's forward pass takes half the time, and no user has to know.
    """
    return images.to(memory_format=torch.channels_last) if images.dim() == 4 else images


def _width(model: nn.Module, layer: str) -> int:
    """Return the number of outputs of a layer, from the shape of its weight."""
    weight = getattr(getattr(model, layer), "weight", None)
    if not isinstance(weight, Tensor):
        kind = type(getattr(model, layer)).__name__
        raise ValueError(f"{layer} is a {kind} without a weight tensor, so it has no known width")
    return weight.shape[0]


def _require_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {size!r}")
