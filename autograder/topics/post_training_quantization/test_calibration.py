"""Hidden checks: calibrate."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from autograder.judge.checking import check, expect, fail
from autograder.judge.student import RemoteObject, Student, StudentError
from autograder.judge.toys import lived_in, redraw, snapshot
from autograder.topics.post_training_quantization.toys import (
    ends_of,
    expect_end,
    expect_ranges,
    layer_values,
    loader_of,
)
from course_utils.models import MLP, BatchNormCNN, LeNet

METHODS = ("minmax", "percentile", "mse")


def flat_model(width: int) -> nn.Sequential:
    """Return a linear layer for images of `width` pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 2))


def expect_minmax(
    got: object,
    model: nn.Module,
    images: Tensor,
    what: str,
    guesses: dict[str, dict[str, Tensor]] | None = None,
    always: str | None = None,
) -> None:
    """Expect the smallest and largest input of each layer; a range that holds 0 is fine too.

    Args:
        got: What came back.
        model: The model.
        images: All images of the loader.
        what: What is being calibrated.
        guesses: By name of a mistake, the values whose ranges it gives.
        always: Name of the mistake when it is none of these.
    """
    ranges = expect_ranges(got, model)

    def alike(values: dict[str, Tensor]) -> bool:
        pairs = ((ranges[name], ends_of(x)) for name, x in values.items())
        return all(torch.allclose(torch.tensor(a), torch.tensor(b)) for a, b in pairs)

    mistake = next((name for name, values in (guesses or {}).items() if alike(values)), always)
    for name, values in layer_values(model, images).items():
        low, high = ends_of(values)
        slack = 1e-4 * max(abs(low), abs(high))
        for got_end, ends, side in (
            (ranges[name][0], (low, min(low, 0.0)), "low"),
            (ranges[name][1], (high, max(high, 0.0)), "high"),
        ):
            accepted = [(end - slack, end + slack) for end in ends]
            expect_end(got_end, accepted, f"{what}, input of {name}: {side}", mistake)


@check("calibrate", gate=True)
def test_minmax_of_one_batch(student: Student, rng: torch.Generator) -> None:
    model = redraw(LeNet(3, 4, 6), rng).eval()
    images = torch.randn(20, 1, 28, 28, generator=rng)
    guesses = {"outputs": layer_values(model, images, outputs=True)}
    got = student.calibrate(model, loader_of(images, 20), "minmax")
    expect_minmax(got, model, images, "LeNet", guesses)


@check("calibrate", weight=2)
def test_minmax_of_all_batches(student: Student, rng: torch.Generator) -> None:
    for place in (0, 11, 24):  # in the first, a middle, and the last (smaller) batch
        model = redraw(
            nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 2)), rng
        )
        images = torch.rand(25, 1, 3, 3, generator=rng) * 2 - 1
        images[place] *= 6
        guesses = {
            "first_batch": layer_values(model, images[:7]),
            "last_batch": layer_values(model, images[21:]),
        }
        got = student.calibrate(model.eval(), loader_of(images, 7), "minmax")
        expect_minmax(got, model, images, f"extremes in image {place} of 25", guesses)


@check("calibrate")
def test_layers_of_other_models(student: Student, rng: torch.Generator) -> None:
    nested = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 5, stride=3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(256, 6), nn.ReLU()), nn.Linear(6, 3)),
    )
    for kind, model in (
        ("MLP", MLP((7, 5))),
        ("BatchNormCNN", BatchNormCNN((3, 4, 5))),
        ("nested", nested),
    ):
        model = redraw(model, rng).eval()
        images = torch.randn(18, 1, 28, 28, generator=rng)
        got = student.calibrate(model, loader_of(images, 8), "minmax")
        expect_minmax(got, model, images, kind)


@check("calibrate")
def test_minmax_is_the_default(student: Student, rng: torch.Generator) -> None:
    model = redraw(flat_model(8), rng).eval()
    images = torch.randn(4000, 1, 2, 4, generator=rng)
    images[17] *= 20
    got = student.calibrate(model, loader_of(images, 500))
    expect_minmax(got, model, images, "default method")


@check("calibrate")
def test_calibrates_in_eval_mode(student: Student, rng: torch.Generator) -> None:
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
    model = redraw(nn.Sequential(*layers, nn.Linear(64, 3)), rng)
    model[1].running_mean.fill_(0.7)
    model[1].running_var.fill_(9.0)
    images = torch.randn(24, 1, 6, 6, generator=rng)
    for training in (True, False):
        got = student.calibrate(model.train(training), loader_of(images, 8), "minmax")
        expect_minmax(
            got, model, images, "a model with batch norm and dropout", always="train_mode"
        )


@check("calibrate", weight=2)
def test_calibrate_leaves_the_model(student: Student, rng: torch.Generator) -> None:
    for method in METHODS:
        layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten())
        model = lived_in(redraw(nn.Sequential(*layers, nn.Linear(32, 3)), rng), rng)
        before = snapshot(model)
        images = torch.randn(12, 1, 6, 6, generator=rng)
        got = student.calibrate(model=model, loader=loader_of(images, 5), method=method)
        expect.unchanged(before, model, f"the caller's model ({method})", "mode_changed")
        expect_ranges(got, model)


@check("calibrate", weight=2)
def test_no_hook_is_left_behind(student: Student, rng: torch.Generator) -> None:
    # This model stays in the sandbox, so what hangs on it can be counted there.
    model = student.call("SmallNet")
    loader = loader_of(torch.rand(12, 1, 4, 4, generator=rng), 5)
    for method in METHODS:
        ranges = student.calibrate(model, loader, method)
        expect.true(isinstance(ranges, dict), f"expected a dict, got {type(ranges).__name__}")
        if not isinstance(model, RemoteObject):
            fail("SmallNet was changed: it must be the class that the notebook gives")
        left = expect.integer(model.count_hooks(), "the number of hooks")
        message = (
            f"{left} hooks were left on the model after calibrate(…, {method!r}): remove every "
            "handle, or hang them on a deep copy"
        )
        expect.true(left == 0, message, "hooks_left")


def two_tails(values: Tensor, percentile: float) -> list[tuple[float, float]]:
    """Return the accepted (low, high) of both ends' tails, as fractions of all values cut off."""
    ordered = values.double().sort().values
    count = len(ordered)
    bands = []
    # 'two-sided' may mean this much on either side, or half of it on either side.
    for tail in ((100 - percentile) / 100, (100 - percentile) / 200):
        inner, outer = round(1.3 * tail * count) + 1, max(round(0.7 * tail * count) - 1, 0)
        bands.append((inner, outer))
    slack = 2e-3 * float(ordered[-1] - ordered[0])
    lows = [(float(ordered[o]) - slack, float(ordered[i]) + slack) for i, o in bands]
    highs = [(float(ordered[-1 - i]) - slack, float(ordered[-1 - o]) + slack) for i, o in bands]
    return [*lows, *highs]


def expect_percentile(got: object, values: Tensor, percentile: float, mistake: str | None) -> None:
    """Expect a two-sided percentile range of the input of `flat_model`."""
    ((low, high),) = expect_ranges(got, flat_model(40)).values()
    accepted, what = two_tails(values.flatten(), percentile), f"percentile={percentile}"
    expect_end(low, accepted[:2], f"{what}: low", mistake)
    expect_end(high, accepted[2:], f"{what}: high", mistake)


def skewed(rng: torch.Generator, count: int) -> Tensor:
    """Return images (count, 1, 4, 10) with a long tail to the right and a shorter one left."""
    right = torch.empty(count, 1, 4, 10).exponential_(1.0, generator=rng)
    left = torch.empty(count, 1, 4, 10).exponential_(3.0, generator=rng)
    return right - left


@check("calibrate", weight=2)
def test_percentile_cuts_both_sides(student: Student, rng: torch.Generator) -> None:
    model, images = redraw(flat_model(40), rng).eval(), skewed(rng, 1500)
    for percentile in (99.0, 95.0, 90.0):
        got = student.calibrate(
            model, loader_of(images, 200), method="percentile", percentile=percentile
        )
        expect_percentile(got, images, percentile, "one_sided")


@check("calibrate")
def test_percentile_default(student: Student, rng: torch.Generator) -> None:
    model, images = redraw(flat_model(40), rng).eval(), skewed(rng, 2500)
    got = student.calibrate(model, loader_of(images, 250), "percentile")
    expect_percentile(got, images, 99.9, None)


@check("calibrate")
def test_percentile_is_over_all_batches(student: Student, rng: torch.Generator) -> None:
    images = skewed(rng, 800)
    images[:200] *= 5  # one batch is louder: a mean of the batches' percentiles is no percentile
    model, loader = redraw(flat_model(40), rng).eval(), loader_of(images, 200)
    got = student.calibrate(model, loader, method="percentile", percentile=98.0)
    expect_percentile(got, images, 98.0, "mean_of_batches")


@check("calibrate")
def test_percentile_counts_zeros(student: Student, rng: torch.Generator) -> None:
    images = skewed(rng, 1500)
    images[torch.rand(images.shape, generator=rng) < 0.8] = 0.0
    model, loader = redraw(flat_model(40), rng).eval(), loader_of(images, 250)
    got = student.calibrate(model, loader, method="percentile", percentile=98.0)
    ((_, high),) = expect_ranges(got, model).values()
    of_others = float(torch.quantile(images[images != 0], 0.98))
    mistake = "percentile_without_zeros" if abs(high - of_others) < 0.05 else None
    expect_percentile(got, images, 98.0, mistake)


def quantization_error(values: Tensor, low: float, high: float, bits: int) -> float:
    """Return the mean squared error of asymmetric quantization with a range."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    codes = (torch.round(values / scale) + zero).clamp(0, 2**bits - 1)
    return float(((codes - zero) * scale - values).square().mean())


@check("calibrate", weight=2, timeout=60)
def test_mse_clips_what_is_not_worth_it(student: Student, rng: torch.Generator) -> None:
    # Two outliers among half a million: with 8 bits or fewer it pays to cut them.
    images = torch.rand(2000, 1, 10, 25, generator=rng) * 2 - 1
    images[3, 0, 2, 5], images[1700, 0, 1, 1] = 40.0, -40.0
    model, loader = redraw(flat_model(250), rng).eval(), loader_of(images, 500)
    got = student.calibrate(model, loader, method="mse")
    ((low, high),) = expect_ranges(got, model).values()
    values = images.flatten()
    mistake = "always_minmax" if max(high, -low) > 39.9 else None
    what = "mse, values in -1 .. 1 with one outlier at 40 and one at -40"
    expect_end(high, [(0.5, 34.0)], f"{what}: high", mistake)
    expect_end(low, [(-34.0, -0.5)], f"{what}: low", mistake)
    better = any(
        quantization_error(values, low, high, bits)
        < 0.9 * quantization_error(values, -40, 40, bits)
        for bits in range(2, 9)
    )
    message = f"{what}: the range {low:.3g} .. {high:.3g} has no smaller error than min-max"
    expect.true(better, message)


@check("calibrate")
def test_mse_of_data_after_relu(student: Student, rng: torch.Generator) -> None:
    images = torch.randn(100, 1, 10, 25, generator=rng).relu() * 2
    model, loader = redraw(flat_model(250), rng).eval(), loader_of(images, 25)
    got = student.calibrate(model, loader, method="mse")
    ((low, high),) = expect_ranges(got, model).values()
    largest = float(images.max())
    what = f"mse, values from 0 to {largest:.3g}"
    expect_end(low, [(-1.05 * largest, 0.02 * largest)], f"{what}: low")
    expect_end(high, [(0.2 * largest, 1.02 * largest)], f"{what}: high")
    shrunk = student.calibrate(model, loader_of(images * 0.01, 25), method="mse")
    ((_, high_now),) = expect_ranges(shrunk, model).values()
    expect_end(high_now, [(0.8e-2 * high, 1.2e-2 * high)], "mse, all values a hundredth: high")


@check("calibrate", weight=2)
def test_mse_range_fits_the_bits(student: Student, rng: torch.Generator) -> None:
    # Ten values of 25,000 are 4, the others lie in 0 .. 1. With 8 bits the step is fine enough to
    # keep them; with 2 bits it is not, and 4 bits lie between.
    images = torch.rand(100, 1, 10, 25, generator=rng)
    images[60:70, 0, 3, 5] = 4.0
    model, values = redraw(flat_model(250), rng).eval(), images.flatten()
    for bits in (8, 4, 2):
        try:
            got = student.calibrate(model, loader_of(images, 25), method="mse", bits=bits)
        except StudentError as error:
            if "unexpected keyword argument" in error.message:
                return  # an answer for a single width has no such argument
            raise
        ((low, high),) = expect_ranges(got, model).values()
        error = quantization_error(values, low, high, bits)
        ends = torch.linspace(0.04, 4.0, 100).tolist()
        best = min(ends, key=lambda end: quantization_error(values, 0.0, end, bits))
        smallest = quantization_error(values, 0.0, best, bits)
        if error > 1.5 * smallest:
            mistake = "percentile_for_mse" if bits == 8 and high < 1 else None
            mistake = "ignores_bits" if bits < 8 and high > 3.9 else mistake
            fail(
                f"mse with bits={bits}: the range {low:.3g} .. {high:.3g} has the mean squared "
                f"error {error:.3g}, but 0 .. {best:.3g} has {smallest:.3g}: quantize all values "
                f"with that many bits, and compare the squares",
                mistake,
            )


@check("calibrate")
def test_calibrate_rejects_impossible_arguments(student: Student, rng: torch.Generator) -> None:
    model, loader = redraw(flat_model(4), rng), loader_of(torch.rand(6, 1, 2, 2, generator=rng), 3)
    for method in ("median", "", "max"):
        with expect.value_error(f"the unknown method {method!r}"):
            student.calibrate(model, loader, method)
    for percentile in (101.0, -1.0, 250.0):
        with expect.value_error(f"percentile = {percentile}"):
            student.calibrate(copy.deepcopy(model), loader, "percentile", percentile=percentile)
