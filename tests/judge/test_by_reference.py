"""What student code did to an argument is noted, and seen by who asks; the judge's objects stay."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from autograder.judge.by_reference import as_left, copy_into, forget_changes, note_changes
from autograder.judge.checking import first_change
from course_utils.models import BatchNormCNN


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    forget_changes()


def test_changed_numbers_are_noted_and_not_written() -> None:
    x = torch.ones(3)
    before = x.clone()
    note_changes(x, torch.zeros(3))
    assert x.tolist() == [1, 1, 1]
    assert as_left(x).tolist() == [0, 0, 0]
    assert first_change(before, x) == "its values differ"
    forget_changes()
    assert first_change(before, x) == ""


def test_the_first_change_stays_noted() -> None:
    x = torch.ones(3)
    note_changes(x, torch.zeros(3))
    note_changes(x, torch.ones(3))
    assert first_change(torch.ones(3), x) == "its values differ"


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {"a": x}, lambda x: (x, 1), lambda x: x])
def test_inside_containers(wrap) -> None:
    mine, theirs = torch.ones(2), torch.ones(2) * 2
    before, after = wrap(mine.clone()), wrap(mine)
    note_changes(after, wrap(theirs))
    assert "values differ" in first_change(before, after)
    assert mine.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 2], [1]),
        ([1, 2], [1, 3]),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([[1]], [[2]]),
    ],
)
def test_changed_containers(before, after) -> None:
    mine = copy.deepcopy(before)
    note_changes(mine, after)
    assert mine == before
    assert first_change(before, mine) != ""


@pytest.mark.parametrize("name", ["conv1.weight", "bn1.running_mean", "fc.bias"])
def test_models(name: str) -> None:
    model = BatchNormCNN()
    before, theirs = copy.deepcopy(model), copy.deepcopy(model)
    theirs.state_dict()[name].add_(1)
    note_changes(model, theirs)
    assert torch.equal(model.state_dict()[name], before.state_dict()[name])
    assert f"at '{name}'" in first_change(before, model)


def test_other_layers_and_modes() -> None:
    model = BatchNormCNN().eval()
    before, theirs = copy.deepcopy(model), copy.deepcopy(model)
    theirs.fc = nn.Sequential(nn.Linear(64, 10))
    note_changes(model, theirs)
    assert isinstance(model.fc, nn.Linear)
    assert "layers were" in first_change(before, model)
    forget_changes()
    note_changes(model, copy.deepcopy(before).train())
    assert "now in train mode" in first_change(before, model)


def with_gradient(*numbers: float) -> torch.Tensor:
    x = torch.ones(len(numbers), requires_grad=True)
    x.grad = torch.tensor(numbers, dtype=x.dtype)
    return x


def test_gradients_show_at_once_where_they_are_asked_for() -> None:
    x = torch.ones(2, requires_grad=True)
    note_changes(x, with_gradient(5, 5), gradients=True)
    assert x.grad.tolist() == [5, 5]


def test_other_gradients_are_noted() -> None:
    before, x = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    note_changes(x, with_gradient(5, 5))
    assert x.grad is None
    assert first_change(before, x) == "it now has a gradient"


@pytest.mark.parametrize("gradients", [True, False])
def test_a_tensor_that_was_cut_and_trained_is_noted(gradients: bool) -> None:
    x = with_gradient(1, 2, 3)
    before = with_gradient(1, 2, 3)
    note_changes(x, with_gradient(5, 5), gradients=gradients)
    assert x.grad.tolist() == [1, 2, 3]
    assert "it was a tensor of shape (3,)" in first_change(before, x)


@pytest.mark.parametrize("put", [None, 1.0, [1.0]])
def test_a_replaced_part_is_noted(put: object) -> None:
    for mine, after in (([torch.ones(2)], [put]), ({"a": torch.ones(2)}, {"a": put})):
        before = copy.deepcopy(mine)
        note_changes(mine, after)
        assert first_change(before, mine) != ""


def test_a_number_that_became_a_tensor_is_noted() -> None:
    mine = [1.0, 2.0]
    note_changes(mine, [torch.ones(3), 2.0])
    assert as_left(mine) is not mine


def test_a_layer_that_was_made_smaller() -> None:
    model = BatchNormCNN()
    before, theirs = copy.deepcopy(model), copy.deepcopy(model)
    theirs.fc = nn.Linear(64, 3)
    theirs.fc.weight.grad = torch.ones(3, 64)
    note_changes(model, theirs)
    assert model.fc.weight.shape == (10, 64)
    assert "at 'fc.weight'" in first_change(before, model)


def test_copy_into_writes() -> None:
    x = torch.ones(3)
    copy_into(x, torch.zeros(3))
    assert x.tolist() == [0, 0, 0]
