"""One training loop for the whole course."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

LossFunction = Callable[[Tensor, Tensor], Tensor]


def train(
    model: nn.Module,
    loader: DataLoader,
    epochs: int,
    lr: float = 1e-3,
    *,
    optimizer: Optimizer | None = None,
    loss_function: LossFunction = F.cross_entropy,
    after_step: Callable[[], None] | None = None,
    progress: bool = True,
) -> nn.Module:
    """Train a model in place.

    Args:
        model: Maps images to logits. Layers whose parameters do not require gradients are fixed.
        loader: Yields (images, labels).
        epochs: How often to go through the loader, at least 0.
        lr: Highest learning rate, above 0. It rises over the first 30 % of the steps and then
            falls to almost 0 (one cycle).
        optimizer: One of your own, used as it is: without a schedule, and `lr` has no effect.
            By default Adam on all parameters that require gradients.
        loss_function: Takes (logits, labels) and returns a scalar.
        after_step: Called without arguments after every step of the optimizer, for example to
            set pruned weights to zero again.
        progress: Whether to show a bar, on standard error.

    Returns:
        The same model, in eval mode.

    Raises:
        ValueError: If epochs or lr cannot be, or no parameter requires a gradient.
        FloatingPointError: If the loss is no longer finite.

    Source:
        Smith and Topin 2018, Super-Convergence (the schedule).
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"epochs must be a whole number of at least 0; got {epochs!r}")
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr must be a number above 0; got {lr}")
    steps = epochs * len(loader)
    schedule = None
    if steps and optimizer is None:
        optimizer, schedule = _adam_with_one_cycle(model, lr, steps)
    model.train()
    with tqdm(total=steps, disable=not progress, file=sys.stderr, mininterval=0.5) as bar:
        for epoch in range(epochs):
            bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
            for images, labels in loader:
                loss = _step(model, images, labels, loss_function, optimizer)
                if schedule is not None:
                    schedule.step()
                if after_step is not None:
                    after_step()
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
    return model.eval()


def warm_up() -> None:
    """Make one step of training.

    At the first one PyTorch loads its compiler, which takes about two seconds.
    """
    batch = DataLoader(TensorDataset(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)))
    train(nn.Linear(1, 1), batch, epochs=1, progress=False)


def _step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss_function: LossFunction,
    optimizer: Optimizer,
) -> float:
    optimizer.zero_grad()
    loss = loss_function(model(images), labels)
    value = loss.item()
    # NaN as well as infinity: no comparison with NaN is true.
    if not abs(value) < float("inf"):
        raise FloatingPointError(
            f"the loss is {value}, so the weights would be lost; use a lower learning rate, "
            "and look for a division by zero or a logarithm of 0 in the model or the loss"
        )
    loss.backward()
    optimizer.step()
    return value


def _adam_with_one_cycle(
    model: nn.Module, lr: float, steps: int
) -> tuple[Optimizer, OneCycleLR | None]:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("no parameter of the model requires a gradient; there is nothing to train")
    optimizer = Adam(trainable, lr=lr)
    # Below four steps the cycle has no room to rise and fall, and torch divides by zero.
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=steps) if steps >= 4 else None
    return optimizer, schedule
