"""The honest speed meter: is one thing faster than another, on this machine, beyond the noise?

A stopwatch around two loops lies easily: the clock rate drifts, other programs take the core, one
side runs first on a cold cache, or uses more threads, or a better memory layout. So both sides
run here in one process, on one thread, in the order A B B A, many times. Each such block gives
one ratio; their median is the answer, with an interval that says how far to trust it.

What counts is the computing time of the whole process (all its threads), which does not grow when
another program has the core. Waiting that a function does itself, as in `sleep`, is added.
"""

from __future__ import annotations

import copy
import gc
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn

Verdict = Literal["faster", "slower", "no measurable difference"]

CONFIDENCE = 0.99
# Memory addresses and code placement alone move a ratio by a few per cent, the same in every block.
DEAD_BAND = 0.05
MIN_BLOCKS = 8  # the fewest for which a 99 % interval of a median exists
WARM_UP_SECONDS = 0.05
WARM_UP_CALLS = 3
SHORTEST_SECONDS = 1e-7  # the clock may not tell a shorter call from none
MIN_TIMING_SECONDS = 0.005  # one timing; long against the clock's resolution
# Windows counts computing time in ticks of 16 ms, too coarse: there the wall clock has to do.
computing_clock = time.perf_counter if sys.platform == "win32" else time.process_time


@dataclass(frozen=True)
class SpeedComparison:
    """What `compare_speed` found.

    Attributes:
        ratio: Time of the first over time of the second: the speedup of the second, above 0.
        low: Lower end of the ratio's 99 % interval.
        high: Upper end of it.
        verdict: The second against the first: "faster" or "slower" if the whole interval lies
            more than 5 % above or below 1, otherwise "no measurable difference".
        first_seconds: Median time of one call of the first.
        second_seconds: Median time of one call of the second.
        blocks: Number of A B B A blocks.
    """

    ratio: float
    low: float
    high: float
    verdict: Verdict
    first_seconds: float
    second_seconds: float
    blocks: int

    def __str__(self) -> str:
        times = f"{self.first_seconds * 1e3:.3g} ms against {self.second_seconds * 1e3:.3g} ms"
        return f"{self.verdict}: {self.ratio:.2f}x [{self.low:.2f}, {self.high:.2f}] ({times})"


def compare_speed(
    first: Callable[[], Any], second: Callable[[], Any], *, seconds: float = 1.0
) -> SpeedComparison:
    """Compare the running times of two functions.

    Args:
        first: Called without arguments, often.
        second: Likewise.
        seconds: About how long to measure, above 0. Slow functions take longer: each one is
            called at least 20 times.

    Returns:
        The ratio of the times with its interval, and a verdict on the second function.

    Raises:
        ValueError: If `seconds` is not above 0.
        TypeError: If a function is not callable.
    """
    for name, function in (("first", first), ("second", second)):
        if not callable(function):
            raise TypeError(
                f"{name} must be a function without arguments, for example `lambda: model(x)`; "
                f"got a {type(function).__name__}"
            )
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a number above 0; got {seconds}")
    with _one_thread(), _no_garbage_collection():
        call_seconds = (_warm_up(first) + _warm_up(second)) / 2
        repeats = max(1, math.ceil(MIN_TIMING_SECONDS / call_seconds))
        blocks = max(MIN_BLOCKS, round(seconds / (4 * repeats * call_seconds)))
        first_timings, second_timings = [], []
        for _ in range(blocks):
            # In this order a steady drift of the machine's speed cancels.
            a, b = _timing(first, repeats), _timing(second, repeats)
            second_timings.append((b, _timing(second, repeats)))
            first_timings.append((a, _timing(first, repeats)))
    return _summary(first_timings, second_timings, repeats)


def compare_model_speed(
    model_a: nn.Module, model_b: nn.Module, images: Tensor, *, seconds: float = 1.0
) -> SpeedComparison:
    """Compare the forward passes of two models on the same images, in eval mode, without a graph.

    Both sides get the same memory layout: channels last as soon as one of them has a conv layer.
    The models themselves are not changed; copies of them run.

    Args:
        model_a: The reference.
        model_b: The verdict is about this one.
        images: One batch, (N, 1, 28, 28), N at least 1.
        seconds: About how long to measure, above 0.

    Raises:
        ValueError: If there are no images, or `seconds` is not above 0.
    """
    if len(images) == 0:
        raise ValueError("images must hold at least one image; got none")
    models = [copy.deepcopy(model).eval() for model in (model_a, model_b)]
    if any(isinstance(part, nn.Conv2d) for model in models for part in model.modules()):
        models = [model.to(memory_format=torch.channels_last) for model in models]
        images = images.to(memory_format=torch.channels_last)
    copy_a, copy_b = models
    with torch.inference_mode():
        return compare_speed(lambda: copy_a(images), lambda: copy_b(images), seconds=seconds)


def median_interval(values: list[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return an interval for the median that holds whatever the distribution of the values.

    Between the j-th smallest and the j-th largest value lies the median with the probability
    that at least j of n fair coins show heads, and at least j tails.

    Args:
        values: Independent measurements, at least one.
        confidence: In (0, 1). With too few values the interval is from smallest to largest.

    Source:
        Conover 1999, Practical Nonparametric Statistics, section 3.2.
    """
    ordered, n = sorted(values), len(values)
    rank, tail = 0, 1 / 2**n  # tail: probability that at most `rank` coins show heads
    while rank + 1 < n // 2 and 2 * (tail + math.comb(n, rank + 1) / 2**n) <= 1 - confidence:
        rank += 1
        tail += math.comb(n, rank) / 2**n
    return ordered[rank], ordered[n - 1 - rank]


@dataclass(frozen=True)
class _Timing:
    """Seconds of a number of calls: computing, and not computing."""

    computing: float
    waiting: float


def _summary(
    firsts: list[tuple[_Timing, _Timing]], seconds: list[tuple[_Timing, _Timing]], repeats: int
) -> SpeedComparison:
    """Sum up the blocks: of each, the two timings of the first and the two of the second."""
    first_times, second_times = _call_seconds(firsts, repeats), _call_seconds(seconds, repeats)
    logs = [math.log(a / b) for a, b in zip(first_times, second_times, strict=True)]
    ratio = math.exp(median(logs))
    low, high = (math.exp(end) for end in median_interval(logs))
    verdict: Verdict = "no measurable difference"
    if low > 1 + DEAD_BAND:
        verdict = "faster"
    elif high < 1 / (1 + DEAD_BAND):
        verdict = "slower"
    medians = median(first_times), median(second_times)
    return SpeedComparison(ratio, low, high, verdict, *medians, len(logs))


def _call_seconds(pairs: list[tuple[_Timing, _Timing]], repeats: int) -> list[float]:
    """Return the seconds per call in each block.

    The least waiting of all timings is the function's own; the rest is other programs' doing.
    """
    own_waiting = min(timing.waiting for pair in pairs for timing in pair)
    computing = [(before.computing + after.computing) / 2 for before, after in pairs]
    return [max(seconds + own_waiting, SHORTEST_SECONDS) / repeats for seconds in computing]


def _timing(function: Callable[[], Any], repeats: int) -> _Timing:
    started, computing = time.perf_counter(), computing_clock()
    for _ in range(repeats):
        function()
    computing = computing_clock() - computing
    return _Timing(computing, max(0.0, time.perf_counter() - started - computing))


def _warm_up(function: Callable[[], Any]) -> float:
    """Call a function until it runs as it will run; return the seconds of its fastest call."""
    started, durations = time.perf_counter(), []
    while len(durations) < WARM_UP_CALLS or time.perf_counter() - started < WARM_UP_SECONDS:
        timing = _timing(function, 1)
        durations.append(timing.computing + timing.waiting)
    return max(min(durations), SHORTEST_SECONDS)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
