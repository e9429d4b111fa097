"""Values as bytes: the only thing that crosses the wall between student code and the judge.

A message is a JSON tree followed by its tensors in safetensors form. Numbers, strings, containers,
tensors, generators, data loaders and models cross; a model crosses as class, constructor arguments
and named tensors. Whatever else the sandbox holds stays there, behind a numbered handle.
Decoding builds these types and nothing else: no pickle, no evaluation, no import by name.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from autograder.sandbox.module_form import WireError, build, fill, structure_of
from course_utils.data import make_loader

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    )
}
# A tree takes many times its size in memory, tensors do not.
MAX_TREE_BYTES = 16 * 2**20
# Keys can be chosen so that all of them hash alike; then each is compared with every other.
MAX_KEYS = 5000
LENGTH = struct.Struct("<Q")


class Encoder:
    """Turns values into one message.

    Args:
        keep: called with an object that cannot cross; returns the number of its handle.
            Without it such an object is a `WireError`.
    """

    def __init__(self, keep: Callable[[Any], int] | None = None) -> None:
        self._keep = keep
        self._tensors: dict[str, Tensor] = {}

    def message(self, value: Any) -> bytes:
        """Return the bytes of `value`."""
        tree = json.dumps(self.node(value)).encode()
        tensors = safetensors.torch.save(self._tensors)
        return LENGTH.pack(len(tree)) + tree + tensors

    def node(self, value: Any) -> Any:
        """Return the JSON form of `value`, and note its tensors."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.generic):
            return self.node(value.item())
        if isinstance(value, int | float):
            return int(value) if isinstance(value, int) else float(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, list | tuple):
            kind = "list" if isinstance(value, list) else "tuple"
            return {"$": kind, "items": [self.node(item) for item in value]}
        if isinstance(value, dict):
            pairs = [[self.node(key), self.node(item)] for key, item in value.items()]
            return {"$": "dict", "items": pairs}
        if isinstance(value, nn.Module):
            structure = structure_of(value)
            if structure is not None:
                return self._module(value, structure)
        return self._other(value)

    def _other(self, value: Any) -> Any:
        if isinstance(value, Handle):
            return {"$": "handle", "id": value.handle_id}
        if isinstance(value, bytes):
            tensor = torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else None
            return {"$": "bytes", "data": None if tensor is None else self._note(tensor)}
        if isinstance(value, torch.dtype) and str(value).removeprefix("torch.") in DTYPES:
            return {"$": "dtype", "name": str(value).removeprefix("torch.")}
        if isinstance(value, np.ndarray):
            try:
                return {"$": "ndarray", "data": self._note(torch.from_numpy(value.copy()))}
            except TypeError:
                pass
        if isinstance(value, torch.Generator):
            return {"$": "generator", "state": self._note(value.get_state())}
        if isinstance(value, DataLoader):
            node = self._loader(value)
            if node is not None:
                return node
        if self._keep is None:
            raise WireError(f"a value of type {type(value).__name__} cannot cross")
        return {"$": "handle", "id": self._keep(value), "type": type(value).__name__[:80]}

    def _note(self, tensor: Tensor) -> str:
        name = f"t{len(self._tensors)}"
        # A clone, because safetensors refuses tensors that share memory; dense and contiguous.
        self._tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        return name

    def _tensor(self, tensor: Tensor) -> Any:
        dtype = str(tensor.dtype).removeprefix("torch.")
        dense = tensor.layout == torch.strided and not tensor.is_quantized
        if not dense or dtype not in DTYPES or tensor.device.type != "cpu":
            return self._other(tensor)
        node: dict[str, Any] = {"$": "tensor", "data": self._note(tensor)}
        if tensor.requires_grad:
            node["requires_grad"] = True
        if tensor.is_leaf and tensor.grad is not None:
            node["grad"] = self._note(tensor.grad)
        return node

    def _loader(self, loader: DataLoader) -> Any:
        tensors = getattr(loader.dataset, "tensors", ())
        if len(tensors) != 2 or loader.batch_size is None:
            return None
        seed = 0 if loader.generator is None else loader.generator.initial_seed()
        return {
            "$": "loader",
            "images": self._note(tensors[0]),
            "labels": self._note(tensors[1]),
            "batch_size": loader.batch_size,
            "shuffle": isinstance(loader.sampler, RandomSampler),
            "seed": seed,
        }

    def _module(self, module: nn.Module, structure: Any) -> Any:
        tensors = dict(module.named_parameters(remove_duplicate=False))
        tensors |= dict(module.named_buffers(remove_duplicate=False))
        return {
            "$": "module",
            "structure": structure,
            "state": {name: self._tensor(tensor) for name, tensor in tensors.items()},
            "training": {name: part.training for name, part in module.named_modules()},
        }


class Handle:
    """Stands for an object that stays on the other side; subclasses say how to use it."""

    def __init__(self, handle_id: int) -> None:
        self.handle_id = handle_id


class Decoder:
    """Builds values from a message, trusting nothing in it.

    Args:
        handle: makes the value for a handle, from its number and type name.
    """

    def __init__(self, handle: Callable[[int, str], Any] | None = None) -> None:
        self._make_handle = handle
        self._tensors: dict[str, Tensor] = {}
        self._keys_left = MAX_KEYS

    def message(self, data: bytes) -> Any:
        """Return the value of a message.

        Raises:
            WireError: these bytes are no message.
        """
        try:
            (size,) = LENGTH.unpack_from(data)
            (header,) = LENGTH.unpack_from(data, LENGTH.size + size)
            if max(size, header) > MAX_TREE_BYTES:
                raise WireError("the value has too many parts")
            tree = json.loads(data[LENGTH.size : LENGTH.size + size])
            self._tensors = safetensors.torch.load(bytes(data[LENGTH.size + size :]))
            return self.value(tree)
        except WireError:
            raise
        except Exception as error:  # whatever malformed bytes can raise, RecursionError included
            raise WireError(f"not a message: {type(error).__name__}: {error}"[:300]) from None

    def value(self, node: Any) -> Any:
        """Return the value of one JSON node."""
        if node is None or isinstance(node, bool | int | float | str):
            return node
        kind = node["$"]
        if kind not in KINDS:
            raise WireError(f"unknown kind of value {kind!r}"[:100])
        return getattr(self, f"_{kind}")(node)

    def _list(self, node: Any) -> list[Any]:
        return [self.value(item) for item in node["items"]]

    def _tuple(self, node: Any) -> tuple[Any, ...]:
        return tuple(self._list(node))

    def _dict(self, node: Any) -> dict[Any, Any]:
        self._keys_left -= len(node["items"])
        if self._keys_left < 0:
            raise WireError(f"dictionaries with more than {MAX_KEYS} keys together")
        return {self.value(key): self.value(item) for key, item in node["items"]}

    def _tensor(self, node: Any) -> Tensor:
        tensor = self._tensors[node["data"]]
        if node.get("requires_grad") is True:
            tensor.requires_grad_(True)
        if node.get("grad") is not None:
            tensor.grad = self._tensors[node["grad"]]
        return tensor

    def _bytes(self, node: Any) -> bytes:
        return b"" if node["data"] is None else self._tensors[node["data"]].numpy().tobytes()

    def _ndarray(self, node: Any) -> np.ndarray:
        return self._tensors[node["data"]].numpy()

    def _dtype(self, node: Any) -> torch.dtype:
        return DTYPES[node["name"]]

    def _generator(self, node: Any) -> torch.Generator:
        generator = torch.Generator()
        generator.set_state(self._tensors[node["state"]])
        return generator

    def _loader(self, node: Any) -> DataLoader:
        images, labels = self._tensors[node["images"]], self._tensors[node["labels"]]
        batch_size, shuffle, seed = node["batch_size"], node["shuffle"], node["seed"]
        return make_loader(images, labels, batch_size=batch_size, shuffle=shuffle, seed=seed)

    def _handle(self, node: Any) -> Any:
        if self._make_handle is None or not isinstance(node["id"], int):
            raise WireError("a handle where none can be")
        return self._make_handle(node["id"], str(node.get("type", ""))[:80])

    def _module(self, node: Any) -> nn.Module:
        module = build(node["structure"])
        fill(module, {name: self._tensor(item) for name, item in node["state"].items()})
        parts = dict(module.named_modules())
        if set(parts) != set(node["training"]):
            raise WireError("the model's layers are not those its constructor makes")
        for name, part in parts.items():
            part.training = bool(node["training"][name])
        return module


KINDS = frozenset(
    (
        *("list", "tuple", "dict", "tensor", "bytes", "ndarray"),
        *("dtype", "generator", "loader", "handle", "module"),
    )
)


def encode(value: Any, keep: Callable[[Any], int] | None = None) -> bytes:
    """Return the message for `value`; see `Encoder`."""
    return Encoder(keep).message(value)


def decode(data: bytes, handle: Callable[[int, str], Any] | None = None) -> Any:
    """Return the value of a message; see `Decoder`."""
    return Decoder(handle).message(data)
