"""One way to seed everything random, inside the sandbox and outside."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Without a GPU, torch.manual_seed draws the same numbers, but notes the whole call stack for
    # every kind of device that is not there: milliseconds, for each call of a student's function.
    torch.default_generator.manual_seed(seed)
