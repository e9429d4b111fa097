"""Call by reference across the wall: what student code did to the copy of an argument.

Numbers that were changed are noted beside the judge's own objects, not written into them. A check
that computes what is right from its arguments, after the call, would otherwise compute it from
what the student made of them. `first_change` sees what was noted. Where an exercise changes its
arguments by contract, its checks say so, and `copy_into` shows the change on the objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from autograder.sandbox.module_form import LAYER_ARGUMENTS

_changed: dict[int, tuple[Any, Any]] = {}


def forget_changes() -> None:
    """Forget what was noted: another check begins."""
    _changed.clear()


def as_left(value: Any) -> Any:
    """Return `value` as student code left it, if a change was noted, else `value` itself."""
    mine, theirs = _changed.get(id(value), (None, None))
    return theirs if mine is value else value


def note_changes(target: Any, source: Any, *, gradients: bool = False) -> None:
    """Note where `source`, the student's copy, differs from the judge's `target`.

    The train or eval mode and `requires_grad`, which decide no numbers that a check computes, are
    shown on the target at once.

    Args:
        target: the judge's object.
        source: the same as student code left it.
        gradients: show gradients on the target too, because they are what was asked for.
    """
    if isinstance(target, Tensor) and isinstance(source, Tensor):
        _note_tensor(target, source, gradients)
    elif isinstance(target, nn.Module) and isinstance(source, nn.Module):
        _note_module(target, source, gradients)
    elif isinstance(target, dict) and isinstance(source, dict):
        if list(target) != list(source):
            _note(target, source)
        else:
            _note_parts(target, target.values(), source, source.values(), gradients)
    elif isinstance(target, list | tuple) and isinstance(source, list | tuple):
        if len(target) != len(source):
            _note(target, source)
        else:
            _note_parts(target, target, source, source, gradients)


def _note(target: Any, source: Any) -> None:
    _changed.setdefault(id(target), (target, source))


def _note_tensor(target: Tensor, source: Tensor, gradients: bool) -> None:
    same = _same_numbers(target, source)
    if target.is_leaf and (target.is_floating_point() or target.is_complex()):
        target.requires_grad_(source.requires_grad)
        # That of a tensor with another shape does not fit here; it shows on the noted copy.
        if gradients and (source.grad is None or _fits(target, source.grad)):
            target.grad = source.grad
        same = same and _same_gradient(target, source)
    if not same:
        _note(target, source)


def _note_parts(
    target: Any, mine: Iterable[Any], source: Any, theirs: Iterable[Any], gradients: bool
) -> None:
    for left, right in zip(mine, theirs, strict=True):
        for kind in (Tensor, nn.Module, dict, list, tuple):
            if isinstance(left, kind) or isinstance(right, kind):
                if isinstance(left, kind) and isinstance(right, kind):
                    note_changes(left, right, gradients=gradients)
                else:
                    _note(target, source)
                break
        else:
            if left != right:
                _note(target, source)


def _note_module(target: nn.Module, source: nn.Module, gradients: bool) -> None:
    parts = dict(source.named_modules())
    if set(parts) != {name for name, _ in target.named_modules()}:
        _note(target, source)
        return
    for name, part in target.named_modules():
        other = parts[name]
        part.training = other.training
        for mine, theirs in (
            (part._parameters, other._parameters),
            (part._buffers, other._buffers),
        ):
            if mine.keys() != theirs.keys():
                _note(target, source)
            for key, value in theirs.items():
                own = mine.get(key)
                if own is None or value is None:
                    if own is not value:
                        _note(target, source)
                else:
                    note_changes(own, value, gradients=gradients)


def _same_numbers(left: Tensor, right: Tensor) -> bool:
    return _fits(left, right) and torch.equal(left.detach(), right.detach())


def _fits(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and left.dtype == right.dtype


def _same_gradient(left: Tensor, right: Tensor) -> bool:
    if left.grad is None or right.grad is None:
        return left.grad is right.grad
    return _same_numbers(left.grad, right.grad)


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
