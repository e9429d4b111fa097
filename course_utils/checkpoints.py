"""The trained models that come with the course."""

from __future__ import annotations

import json
from typing import Any

import safetensors.torch
from torch import nn

from course_utils.data import DATA, read_checked
from course_utils.models import rebuild

CHECKPOINTS = DATA / "checkpoints"
MANIFEST = CHECKPOINTS / "manifest.json"
_used: list[dict[str, str]] = []


def load_checkpoint(name: str) -> nn.Module:
    """Return a fresh copy of one of the course's trained models, in eval mode.

    Args:
        name: "lenet", "batch_norm_cnn" or "lenet_pruned_90"; see `checkpoint_manifest`.

    Raises:
        ValueError: If there is no checkpoint of that name, or its file was changed.
        FileNotFoundError: If a file of the course is missing.
    """
    manifest = checkpoint_manifest()
    if name not in manifest:
        raise ValueError(f"no checkpoint {name!r}; the course has {', '.join(sorted(manifest))}")
    entry = manifest[name]
    state = safetensors.torch.load(read_checked(CHECKPOINTS / entry["file"]))
    return rebuild(entry["class"], entry["config"], state)


def checkpoint_manifest() -> dict[str, dict[str, Any]]:
    """Return what is known about each checkpoint, by name.

    Returns:
        For each name a dictionary with "file", "class", "config", "parameters", "nonzero",
        "bytes", "sha256", "accuracy" (by split, fractions), "recipe", "seed" and "torch".

    Raises:
        ValueError: If the file was changed.
        FileNotFoundError: If it is missing.
    """
    return json.loads(read_checked(MANIFEST))


def use_course_checkpoint(name: str, instead_of: str) -> nn.Module:
    """Return a checkpoint to go on with when an exercise of yours does not work yet.

    It says so, and notes it in `course_checkpoints_used()`, so that nobody takes the
    checkpoint's numbers for those of your own solution.

    Args:
        name: Of the checkpoint; see `load_checkpoint`.
        instead_of: What it stands in for, for example "finetune_pruned".

    Raises:
        ValueError: If there is no checkpoint of that name.
    """
    model = load_checkpoint(name)
    _used.append({"checkpoint": name, "instead_of": instead_of})
    print(
        f"NOTE: using the course's checkpoint {name!r} instead of {instead_of}. "
        "What follows does not show your own solution."
    )
    return model


def course_checkpoints_used() -> list[dict[str, str]]:
    """Return what `use_course_checkpoint` stood in for so far, oldest first."""
    return [dict(entry) for entry in _used]
