from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch

from course_utils.data import load
from course_utils.evaluation import accuracy
from course_utils.models import MLP, LeNet
from course_utils.training import train


def test_training_is_in_place_seeded_and_teaches() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        model = LeNet(4, 8, 32)
        after_step = Mock()
        loader = load("train", limit=2000, batch_size=64)
        again = train(model, loader, 2, 5e-3, after_step=after_step, progress=False)
        assert again is model
        assert not model.training
        assert after_step.call_args_list == [()] * (2 * len(loader))
        results.append(model.fc2.weight.detach().clone())
    assert torch.equal(*results)
    assert accuracy(model, load("validation")) > 0.6


def test_no_epoch_changes_nothing_and_few_steps_work() -> None:
    model = MLP((4,))
    before = model.fc1.weight.detach().clone()
    train(model, load("train", limit=10), 0, progress=False)
    assert torch.equal(model.fc1.weight, before)
    train(model, load("train", limit=10), 1, progress=False)
    assert not torch.equal(model.fc1.weight, before)


def test_an_optimizer_of_ones_own_is_used() -> None:
    model = MLP((4,))
    before = model.fc1.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    train(model, load("train", limit=300), 1, optimizer=optimizer, progress=False)
    assert torch.equal(model.fc1.weight, before)


def test_bad_input_is_refused() -> None:
    loader = load("train", limit=10)
    with pytest.raises(ValueError, match="epochs"):
        train(MLP(), loader, -1)
    with pytest.raises(ValueError, match="lr"):
        train(MLP(), loader, 1, lr=0)
    with pytest.raises(ValueError, match="gradient"):
        train(MLP().requires_grad_(False), loader, 1, progress=False)
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        train(MLP(), loader, 1, loss_function=lambda x, _: x.sum() * torch.nan, progress=False)
