"""Measures what to expect of the reference, and writes `expected.toml`.

A topic's `measurements.py` holds functions marked with `@measurement`. Each is run with several
seeds; the band of a figure is what was seen, widened by a margin that is fixed in the source.
A band is never widened to make a test pass: whoever changes a margin has to say so in a commit.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import platform
import statistics
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from autograder.authoring.reference import load_reference
from autograder.settings import topic_folder

RECORD = "__measurement__"
EXPECTED_FILE = "expected.toml"
MEASUREMENTS_FILE = "measurements.py"
FEWEST_SEEDS = 5
DIGITS = 5

Measure = Callable[[ModuleType, Any, int], float]


@dataclass(frozen=True)
class Measurement:
    """One figure to measure.

    Attributes:
        name: name of the figure, and of the function.
        unit: what the number counts.
        margin: how far beyond what was seen the band goes, on either side, in the figure's unit.
        what: the function's docstring, first line.
        measure: the function; it takes the reference, the course's data, and a seed.
    """

    name: str
    unit: str
    margin: float
    what: str
    measure: Measure


@dataclass(frozen=True)
class Figure:
    """A measured figure with its band.

    Attributes:
        name: name of the figure.
        value: mean over the seeds.
        low: lower end of the band.
        high: upper end of the band.
        spread: lowest and highest value that was seen.
        unit: what the number counts.
        margin: how far the band goes beyond the spread.
        what: a sentence that says how it was measured.
    """

    name: str
    value: float
    low: float
    high: float
    spread: tuple[float, float]
    unit: str
    margin: float
    what: str


def measurement(*, unit: str, margin: float) -> Callable[[Measure], Measure]:
    """Mark a function of a topic's measurements.py as the measurement of one figure."""

    def decorate(function: Measure) -> Measure:
        setattr(function, RECORD, (unit, margin))
        return function

    return decorate


def load_measurements(topic: str) -> list[Measurement]:
    """Return the measurements of a topic in the order of the file; none without the file."""
    path = topic_folder(topic) / MEASUREMENTS_FILE
    if not path.exists():
        return []
    found = []
    for name, value in vars(_load_module(path, topic)).items():
        if hasattr(value, RECORD):
            unit, margin = getattr(value, RECORD)
            what = (value.__doc__ or "").strip().partition("\n")[0]
            found.append(Measurement(name, unit, margin, what, value))
    return found


def measure(
    topic: str,
    seeds: Sequence[int],
    course: Any,
    names: Sequence[str] = (),
) -> Iterator[Figure]:
    """Measure the figures of a topic, one after the other.

    Args:
        topic: name of the topic.
        seeds: at least five.
        course: the course's data, as checks get it.
        names: only these figures; all without it.

    Raises:
        ValueError: too few seeds, or a name that is no figure of the topic.
    """
    if len(set(seeds)) < FEWEST_SEEDS:
        raise ValueError(f"seeds: at least {FEWEST_SEEDS} different ones, got {list(seeds)}")
    measurements = load_measurements(topic)
    if unknown := set(names) - {item.name for item in measurements}:
        raise ValueError(f"names: {topic} has no figure called {sorted(unknown)}")
    reference = load_reference(topic)
    torch.set_num_threads(1)
    for item in measurements:
        if not names or item.name in names:
            values = [float(item.measure(reference, course, seed)) for seed in seeds]
            yield _figure(item, values)


def _figure(item: Measurement, values: list[float]) -> Figure:
    low, high = min(values), max(values)
    return Figure(
        name=item.name,
        value=round(statistics.fmean(values), DIGITS),
        low=round(low - item.margin, DIGITS),
        high=round(high + item.margin, DIGITS),
        spread=(round(low, DIGITS), round(high, DIGITS)),
        unit=item.unit,
        margin=item.margin,
        what=item.what,
    )


def read_expected(topic: str) -> dict[str, Any]:
    """Return the content of a topic's expected.toml; empty without the file."""
    path = topic_folder(topic) / EXPECTED_FILE
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def changes(topic: str, figures: Sequence[Figure]) -> list[str]:
    """Say, a line for each figure, what is new or different from expected.toml."""
    known = read_expected(topic).get("figures", {})
    lines = []
    for figure in figures:
        before = known.get(figure.name)
        now = f"{figure.value:g} [{figure.low:g}, {figure.high:g}] {figure.unit}"
        if before is None:
            lines.append(f"new      {figure.name}: {now}")
            continue
        was = f"{before['value']:g} [{before['low']:g}, {before['high']:g}]"
        if (before["value"], before["low"], before["high"]) == (
            figure.value,
            figure.low,
            figure.high,
        ):
            lines.append(f"same     {figure.name}: {now}")
        else:
            wider = figure.low < before["low"] or figure.high > before["high"]
            lines.append(f"{'WIDER   ' if wider else 'changed '} {figure.name}: {was} -> {now}")
    return lines


def write_expected(topic: str, figures: Sequence[Figure], seeds: Sequence[int]) -> Path:
    """Write the measured figures to expected.toml; figures not measured now are kept."""
    path = topic_folder(topic) / EXPECTED_FILE
    known = read_expected(topic).get("figures", {})
    for figure in figures:
        known[figure.name] = {
            "what": figure.what,
            "unit": figure.unit,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "spread": list(figure.spread),
            "margin": figure.margin,
            "seeds": list(seeds),
            "date": datetime.date.today().isoformat(),
            "torch": torch.__version__.partition("+")[0],
            "machine": f"{platform.system()} {platform.machine()}, Python "
            f"{platform.python_version()}, one thread",
        }
    order = [item.name for item in load_measurements(topic)]
    lines = [f"# Measured by `autograder calibrate {topic}`; do not edit by hand."]
    lines.append("# Band: lowest and highest value seen, widened by the margin on either side.")
    for name in order:
        if name in known:
            lines += ["", f"[figures.{name}]"]
            # JSON's strings, numbers and lists are TOML's too.
            lines += [
                f"{key} = {json.dumps(value, ensure_ascii=False)}"
                for key, value in known[name].items()
            ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def calibrate(topic: str, seeds: int = FEWEST_SEEDS, names: Sequence[str] = ()) -> Path:
    """Measure with seeds 0 .. seeds - 1, say on the way what changed, and write expected.toml.

    Raises:
        ValueError: too few seeds, or a name that is no figure of the topic.
    """
    from autograder.judge.course import Course

    figures = []
    for figure in measure(topic, range(seeds), Course(), names):
        print(changes(topic, [figure])[0], flush=True)
        figures.append(figure)
    return write_expected(topic, figures, range(seeds))


def _load_module(path: Path, topic: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"measurements_of_{topic}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
