"""The honest speed meter: is one thing faster than another, on this machine, beyond the noise?

A stopwatch around two loops lies easily: the clock rate drifts, other programs take the core, one
side runs first on a cold cache, or uses more threads, or a better memory layout. So both sides
run here in one process, on one thread, in the order A B B A, many times. Each such block gives
one ratio; their median is the answer, with an interval that says how far to trust it.

What counts is the computing time of the whole process, all its threads together. It does not grow
while another program has the core. The wall clock decides only for functions that mostly wait.
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
Function = Callable[[], Any]
Clock = Callable[[], float]

CONFIDENCE = 0.99
# Where data lies in memory moves a ratio by a few per cent, and no repetition shows it.
DEAD_BAND = 0.05
MIN_BLOCKS = 8  # the fewest for which a 99 % interval of a median exists
ROUND_BLOCKS = 6  # models are copied to other places in memory after so many blocks
WARM_UP_CALLS = 3
WARM_UP_SECONDS = 0.05
MIN_TIMING_SECONDS = 0.005  # one timing; long against the clock's resolution
SHORTEST_SECONDS = 1e-7  # the clock may not tell a shorter call from none
MOSTLY_WAITING = 0.2  # a function that computes for less than this share of its time
# Windows counts computing time in ticks of 16 ms, too coarse: there the wall clock has to do.
COMPUTING_CLOCK: Clock = time.perf_counter if sys.platform == "win32" else time.process_time


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


def compare_speed(first: Function, second: Function, *, seconds: float = 1.0) -> SpeedComparison:
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
    return _compare(lambda _round: (first, second), seconds)


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
    parts = [*model_a.modules(), *model_b.modules()]
    convolutional = any(isinstance(part, nn.Conv2d) for part in parts)
    layout = torch.channels_last if convolutional else torch.preserve_format
    inputs = images.to(memory_format=layout)
    earlier: list[nn.Module] = []  # kept, so that the next copies get memory of their own

    def fresh_copies(round_number: int) -> tuple[Function, Function]:
        models = [model_a, model_b] if round_number % 2 == 0 else [model_b, model_a]
        copies = [copy.deepcopy(model).eval().to(memory_format=layout) for model in models]
        earlier[:] = copies
        copy_a, copy_b = copies if round_number % 2 == 0 else reversed(copies)
        return lambda: copy_a(inputs), lambda: copy_b(inputs)

    with torch.inference_mode():
        return _compare(fresh_copies, seconds)


def median_interval(values: list[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return an interval for the median that holds whatever the distribution of the values.

    The median lies between the j-th smallest and the j-th largest of n values as surely as n
    fair coins show at least j heads and at least j tails.

    Args:
        values: Independent measurements, at least one.
        confidence: In (0, 1). With too few values the interval is from smallest to largest.

    Source:
        Conover 1999, Practical Nonparametric Statistics, section 3.2.
    """
    ordered, n = sorted(values), len(values)
    rank, tail = 0, 1 / 2**n  # tail: probability that at most `rank` coins show heads
    while 2 * (tail + math.comb(n, rank + 1) / 2**n) <= 1 - confidence:
        rank += 1
        tail += math.comb(n, rank) / 2**n
    return ordered[rank], ordered[n - 1 - rank]


def _compare(
    make_pair: Callable[[int], tuple[Function, Function]], seconds: float
) -> SpeedComparison:
    """Compare two functions; `make_pair` makes them anew for every round of blocks."""
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a number above 0; got {seconds}")
    first_times: list[float] = []
    second_times: list[float] = []
    with _one_thread(), _no_garbage_collection():
        pair = make_pair(0)
        clock = _fitting_clock(pair)
        call_seconds = sum(_warm_up(function, clock) for function in pair) / 2
        repeats = math.ceil(MIN_TIMING_SECONDS / call_seconds)
        blocks = max(MIN_BLOCKS, round(seconds / (4 * repeats * call_seconds)))
        for block in range(blocks):
            if block and block % ROUND_BLOCKS == 0:
                pair = make_pair(block // ROUND_BLOCKS)
                for function in pair:
                    function()
            # A B B A, then B A A B: drifts and rhythms of the machine cancel.
            a, b = (0, 1) if block % 2 == 0 else (1, 0)
            spent = [0.0, 0.0]
            for side in (a, b, b, a):
                spent[side] += _timing(pair[side], repeats, clock)
            first_times.append(spent[0] / (2 * repeats))
            second_times.append(spent[1] / (2 * repeats))
    return _summary(first_times, second_times)


def _summary(first_times: list[float], second_times: list[float]) -> SpeedComparison:
    """Sum up the seconds per call of both functions, block by block."""
    logs = [math.log(a / b) for a, b in zip(first_times, second_times, strict=True)]
    low, high = (math.exp(end) for end in median_interval(logs))
    verdict: Verdict = "no measurable difference"
    if low > 1 + DEAD_BAND:
        verdict = "faster"
    elif high < 1 / (1 + DEAD_BAND):
        verdict = "slower"
    ratio, medians = math.exp(median(logs)), (median(first_times), median(second_times))
    return SpeedComparison(ratio, low, high, verdict, *medians, len(logs))


def _fitting_clock(functions: tuple[Function, Function]) -> Clock:
    """Return the clock for both: computing time, or wall time if one of them mostly waits."""
    for function in functions:
        shares = []
        for _ in range(WARM_UP_CALLS):
            started, computing = time.perf_counter(), COMPUTING_CLOCK()
            function()
            computing = COMPUTING_CLOCK() - computing
            shares.append(computing / max(time.perf_counter() - started, SHORTEST_SECONDS))
        if max(shares) < MOSTLY_WAITING:
            return time.perf_counter
    return COMPUTING_CLOCK


def _warm_up(function: Function, clock: Clock) -> float:
    """Call a function until it runs as it will run; return the seconds of its fastest call."""
    started, durations = time.perf_counter(), []
    while len(durations) < WARM_UP_CALLS or time.perf_counter() - started < WARM_UP_SECONDS:
        durations.append(_timing(function, 1, clock))
    return min(durations)


def _timing(function: Function, repeats: int, clock: Clock) -> float:
    started = clock()
    for _ in range(repeats):
        function()
    return max(clock() - started, SHORTEST_SECONDS)


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
