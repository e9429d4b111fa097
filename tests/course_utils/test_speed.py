from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

import pytest
import torch
from torch import Tensor

from course_utils.models import MLP, LeNet
from course_utils.speed import compare_model_speed, compare_speed, median_interval

RUNS = 100


@pytest.fixture
def images() -> Tensor:
    return torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def another_program() -> Iterator[None]:
    """Keep the other core busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def test_four_times_the_work_is_slower() -> None:
    small, large = torch.randn(100, 100), torch.randn(400, 400)
    result = compare_speed(lambda: small @ small, lambda: large @ large, seconds=0.2)
    assert result.verdict == "slower"
    assert result.low <= result.ratio <= result.high < 1
    assert result.first_seconds < result.second_seconds
    assert "slower" in str(result)
    turned = compare_speed(lambda: large @ large, lambda: small @ small, seconds=0.2)
    assert turned.verdict == "faster"


def test_a_much_wider_layer_is_slower_and_models_stay_as_they_are(images: Tensor) -> None:
    narrow, wide = MLP((16,)).train(), MLP((2048,))
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    assert compare_model_speed(wide, narrow, images, seconds=0.2).verdict == "faster"
    assert narrow.training
    assert (torch.get_num_threads(), gc.isenabled()) == (threads, collecting)


def test_the_state_is_restored_after_an_error() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        compare_speed(lambda: 1 / 0, lambda: None)
    assert torch.get_num_threads() == threads
    assert gc.isenabled()


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match="lambda"):
        compare_speed(3, print)
    with pytest.raises(ValueError, match="seconds"):
        compare_speed(print, print, seconds=0)
    with pytest.raises(ValueError, match="at least one image"):
        compare_model_speed(LeNet(), LeNet(), torch.ones(0, 1, 28, 28))


def test_the_interval_is_the_table_of_order_statistics() -> None:
    # Conover's table: for n = 20 and 99 % the 4th and the 17th value.
    assert median_interval([float(value) for value in range(1, 21)]) == (4, 17)
    assert median_interval([5.0]) == (5, 5)


@pytest.mark.slow
@pytest.mark.alone
def test_a_model_is_as_fast_as_itself_while_the_other_core_is_busy(images: Tensor) -> None:
    model = LeNet()
    with another_program():
        verdicts = [compare_model_speed(model, model, images).verdict for _ in range(RUNS)]
    assert verdicts.count("no measurable difference") >= 0.99 * RUNS


@pytest.mark.slow
@pytest.mark.alone
def test_half_of_the_second_conv_layer_is_faster_every_time(images: Tensor) -> None:
    with another_program():
        results = [compare_model_speed(LeNet(), LeNet(conv2=25), images) for _ in range(RUNS)]
    assert [result.verdict for result in results] == ["faster"] * RUNS
    assert 1.2 < median(result.ratio for result in results) < 2.0
