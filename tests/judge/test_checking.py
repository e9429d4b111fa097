"""Expectations: what passes, and what a failure says."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from autograder.judge.checking import CheckFailure, expect, first_change
from autograder.judge.student import StudentError


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ([1.0], "torch.Tensor"),
        (np.ones(2), "torch.Tensor"),
        (None, "torch.Tensor"),
        (torch.ones(3), "shape"),
        (torch.ones(2, dtype=torch.float64), "dtype"),
        (torch.tensor([1.0, 2.0]), "index"),
        (torch.tensor([1.0, float("nan")]), "index"),
    ],
)
def test_equal_says_what_is_wrong(got, message):
    with pytest.raises(CheckFailure, match=message):
        expect.equal(got, torch.ones(2), "the result")


def test_equal_is_not_fooled_by_what_comes_back():
    class Agreeable:
        def __eq__(self, other):
            return True

        __hash__ = None

    with pytest.raises(CheckFailure):
        expect.tensor(Agreeable(), what="the result")


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5])])
def test_a_number_may_come_in_several_forms(number):
    assert expect.number(number, "accuracy", low=0, high=1) == 0.5


@pytest.mark.parametrize("number", [True, "0.5", float("nan"), None, torch.ones(2), 1j, 1.5])
def test_what_is_no_number_in_range_is_refused(number):
    with pytest.raises(CheckFailure):
        expect.number(number, "accuracy", low=0, high=1)


@pytest.mark.parametrize("number", [3.0, True, "3", torch.tensor(3)])
def test_an_integer_is_an_int(number):
    with pytest.raises(CheckFailure):
        expect.integer(number, "bytes")


def test_close_has_a_tolerance_and_a_limit():
    expect.close(torch.tensor([1.0 + 1e-7]), torch.tensor([1.0]), "x")
    expect.close(1.0 + 1e-7, 1.0, "x")
    with pytest.raises(CheckFailure):
        expect.close(torch.tensor([1.01]), torch.tensor([1.0]), "x")


def error(name: str, *bases: str) -> StudentError:
    return StudentError(name, "text", (name, *bases, "Exception") if bases else ())


def test_any_value_error_is_accepted():
    with expect.value_error("sparsity = 2"):
        raise error("SparsityError", "ValueError")


@pytest.mark.parametrize("name", ["KeyError", "AssertionError"])
def test_another_error_is_not(name):
    with pytest.raises(CheckFailure, match="expected a ValueError"), expect.value_error("x"):
        raise error(name, "LookupError")


def test_no_error_is_not():
    with pytest.raises(CheckFailure, match="none was raised"), expect.value_error("x"):
        pass


@pytest.mark.parametrize(
    "raised", [error("NotImplementedError", "RuntimeError"), error("NoAnswer")]
)
def test_no_answer_stays_no_answer(raised):
    with pytest.raises(StudentError), expect.value_error("x"):
        raise raised


def test_unchanged_sees_values_modes_and_gradients():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(2))
    assert not first_change(model, copy.deepcopy(model))
    changes = []
    for change in (
        lambda m: m[0].weight.data.add_(1),
        lambda m: m[1].eval(),
        lambda m: m[0].bias.requires_grad_(False),
        lambda m: m[0](torch.ones(1, 2)).sum().backward(),
        lambda m: m[1].running_mean.add_(1),
        lambda m: m.append(nn.ReLU()),
    ):
        other = copy.deepcopy(model)
        change(other)
        changes.append(first_change(model, other))
    assert all(changes)
    assert len(set(changes)) == len(changes)
