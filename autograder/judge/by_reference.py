"""Call by reference across the wall: make an argument show what was done to its copy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autograder.sandbox.module_form import LAYER_ARGUMENTS


def copy_into(target: Any, source: Any) -> None:
    """Make `target` (tensor, model, or container) show what `source` holds.

    So the judge's own argument shows what student code did to its copy: call by reference.
    """
    if isinstance(target, Tensor) and isinstance(source, Tensor):
        _copy_tensor(target, source)
    elif isinstance(target, nn.Module) and isinstance(source, nn.Module):
        _copy_module(target, source)
    elif isinstance(target, dict) and isinstance(source, dict):
        target.clear()
        target.update(source)
    elif isinstance(target, list) and isinstance(source, list):
        target[:] = source


def _copy_tensor(target: Tensor, source: Tensor) -> None:
    with torch.no_grad():
        target.data = source.detach()
    if target.is_leaf:
        target.requires_grad_(source.requires_grad)
        target.grad = source.grad


def _copy_module(target: nn.Module, source: nn.Module) -> None:
    parts = dict(source.named_modules())
    if set(parts) != {name for name, _ in target.named_modules()}:
        target.__dict__.update(source.__dict__)
        return
    for name, part in target.named_modules():
        other = parts[name]
        # Parameters keep their identity, so that a caller who holds one sees the change too.
        for key, value in other._parameters.items():
            mine = part._parameters.get(key)
            if mine is None or value is None:
                part._parameters[key] = value
            else:
                _copy_tensor(mine, value)
        part._buffers.update(other._buffers)
        for key in (*LAYER_ARGUMENTS.get(type(other).__name__, ()), "training"):
            setattr(part, key, getattr(other, key))
