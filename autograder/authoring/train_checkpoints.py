"""Trains the checkpoints that come with the course, from fixed seeds (`make checkpoints`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autograder.authoring.datasets import load_grading_images, write_checksums
from course_utils.checkpoints import CHECKPOINTS, MANIFEST
from course_utils.data import DATA, load_images, make_loader
from course_utils.evaluation import accuracy
from course_utils.measures import count_nonzero, count_parameters
from course_utils.models import BatchNormCNN, LeNet, save_model
from course_utils.training import train

SEED = 0
EPOCHS = 4
BATCH_SIZE = 128
PRUNED_FRACTION = 0.9
FINETUNE_EPOCHS, FINETUNE_LR, FINETUNE_BATCH_SIZE = 2, 3e-3, 64


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on the full set."""

    build: Callable[[], nn.Module]
    lr: float


FULL_SET_RECIPES = {
    "lenet": Recipe(LeNet, lr=2e-3),
    "batch_norm_cnn": Recipe(BatchNormCNN, lr=1e-2),
}


def train_checkpoints() -> dict[str, dict[str, Any]]:
    """Train every checkpoint, write them with their manifest, and return the manifest.

    Takes about three minutes on one thread. Needs the full Fashion-MNIST; see `datasets`.
    """
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, dict[str, Any]] = {}
    with _one_thread():
        for name, recipe in FULL_SET_RECIPES.items():
            model = _train_on_full_set(recipe)
            text = f"Adam, one cycle to {recipe.lr}, {EPOCHS} epochs of the full training set"
            manifest[name] = _save(name, model, f"{text}, batches of {BATCH_SIZE}")
            if name == "lenet":
                pruned = _prune_and_finetune(model)
                text = (
                    f"lenet, {PRUNED_FRACTION:.0%} of all weights pruned by magnitude, then Adam, "
                    f"one cycle to {FINETUNE_LR}, {FINETUNE_EPOCHS} epochs of the subset"
                )
                recipe_text = f"{text}, batches of {FINETUNE_BATCH_SIZE}"
                manifest["lenet_pruned_90"] = _save("lenet_pruned_90", pruned, recipe_text)
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    MANIFEST.write_text(text, encoding="utf-8", newline="\n")
    write_checksums(DATA)
    return manifest


def _train_on_full_set(recipe: Recipe) -> nn.Module:
    torch.manual_seed(SEED)
    images, labels = load_images("train", full=True)
    loader = make_loader(images, labels, BATCH_SIZE, shuffle=True, seed=SEED)
    # Conv weights in this layout make a training step faster; the files hold plain ones.
    model = recipe.build().to(memory_format=torch.channels_last)
    return train(model, loader, EPOCHS, recipe.lr)


def _prune_and_finetune(model: nn.Module) -> nn.Module:
    """Prune the smallest weights of all layers together, then train those that are left."""
    torch.manual_seed(SEED)
    weights = [part.weight for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    threshold = magnitudes.kthvalue(round(PRUNED_FRACTION * magnitudes.numel())).values
    pruned = [weight.detach().abs() <= threshold for weight in weights]

    @torch.no_grad()
    def hold_zeros() -> None:
        for weight, zeros in zip(weights, pruned, strict=True):
            weight.masked_fill_(zeros, 0)

    hold_zeros()
    images, labels = load_images("train")
    loader = make_loader(images, labels, FINETUNE_BATCH_SIZE, shuffle=True, seed=SEED)
    return train(model, loader, FINETUNE_EPOCHS, FINETUNE_LR, after_step=hold_zeros)


def _save(name: str, model: nn.Module, recipe: str) -> dict[str, Any]:
    path = CHECKPOINTS / f"{name}.safetensors"
    save_model(model, path)
    content = path.read_bytes()
    return {
        "accuracy": {split: _accuracy(model, *data) for split, data in _splits().items()},
        "bytes": len(content),
        "class": type(model).__name__,
        "config": model.config,
        "file": path.name,
        "nonzero": count_nonzero(model),
        "parameters": count_parameters(model),
        "recipe": recipe,
        "seed": SEED,
        "sha256": hashlib.sha256(content).hexdigest(),
        "torch": torch.__version__,
    }


def _splits() -> dict[str, tuple[Tensor, Tensor]]:
    known = {split: load_images(split) for split in ("validation", "test")}
    return known | {"grading": load_grading_images()}


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return accuracy(model, make_loader(images, labels, batch_size=500))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums in another order would give other weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
