"""Pictures of questions and of results, as PNG. Labels are English: fonts for Chinese may lack."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#666666"
WEAK, GOOD = 0.5, 0.8
Drawing = Callable[..., None]


def picture(drawing: str, data: Mapping[str, Any]) -> bytes:
    """Draw the picture of a question.

    Raises:
        KeyError: there is no such drawing.
    """
    return _picture(drawing, json.dumps(data))


@lru_cache(maxsize=64)
def _picture(drawing: str, data: str) -> bytes:
    """Draw once what is shown again after each change of language."""
    return _png(DRAWINGS[drawing], (6.0, 3.6), **json.loads(data))


def topic_chart(scores: Mapping[str, tuple[float, int]]) -> bytes:
    """Draw a bar for each topic, the weakest at the top.

    Args:
        scores: by the topic's name: its score from 0 to 1, and the number of answers.
    """
    return _png(_topics, (6.4, 0.8 + 0.45 * max(len(scores), 1)), scores=scores)


def _png(draw: Drawing, size: tuple[float, float], **data: Any) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=90, layout="constrained", facecolor="white")
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    draw(ax, **data)
    content = io.BytesIO()
    # Without the version and date, the same picture always has the same bytes.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _topics(ax: Axes, scores: Mapping[str, tuple[float, int]]) -> None:
    ranked = sorted(scores.items(), key=lambda pair: -pair[1][0])
    shares = [100 * score for _, (score, _) in ranked]
    names = [f"{name} ({count})" for name, (_, count) in ranked]
    colours = [_colour(share / 100) for share in shares]
    bars = ax.barh(names, shares, color=colours)
    # The number beside the bar says the same as the colour.
    ax.bar_label(bars, [f"{share:.0f} %" for share in shares], padding=3)
    ax.axvline(100 * WEAK, color=GREY, linewidth=1, linestyle="--")
    ax.set(xlim=(0, 112), xlabel="score (%); number of answers in parentheses")


def _colour(score: float) -> str:
    return "#D55E00" if score < WEAK else "#E69F00" if score < GOOD else "#009E73"


def _curve(
    ax: Axes,
    x: Sequence[float],
    y: Sequence[float],
    xlabel: str,
    ylabel: str,
    log: bool = False,
    values: bool = False,
    line: float | None = None,
) -> None:
    """Draw one curve, its points marked with x, or with y when `values` is true."""
    ax.plot(x, y, color="#0072B2", marker="o", linewidth=2)
    if log:
        ax.set_xscale("log")
    for one, other in zip(x, y, strict=True):
        text = f"{other:g}" if values else f"{one:g}"
        ax.annotate(text, (one, other), (0, 7), textcoords="offset points", ha="center", size=8)
    if line is not None:
        ax.axhline(line, color=GREY, linestyle="--", linewidth=1.2)
    ax.grid(color="#DDDDDD")
    ax.margins(y=0.15)
    ax.set(xlabel=xlabel, ylabel=ylabel)


def _curves(
    ax: Axes,
    x: Sequence[float],
    names: Sequence[str],
    ys: Sequence[Sequence[float]],
    xlabel: str,
    ylabel: str,
    line: float | None = None,
) -> None:
    """Draw several curves that differ by marker as well as by colour."""
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    for name, y, colour, marker in zip(names, ys, colours, "osD^", strict=False):
        ax.plot(x, y, color=colour, marker=marker, linewidth=2, label=name)
    if line is not None:
        ax.axhline(line, color=GREY, linestyle="--", linewidth=1.2)
    ax.grid(color="#DDDDDD")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False)


def _bars(
    ax: Axes, names: Sequence[str], heights: Sequence[float], ylabel: str, xlabel: str = ""
) -> None:
    bars = ax.bar([str(name) for name in names], heights, color="#0072B2")
    ax.bar_label(bars, [f"{height:g}" for height in heights], padding=2)
    ax.margins(y=0.15)
    ax.set(xlabel=xlabel, ylabel=ylabel)


def _mask(ax: Axes, rows: Sequence[Sequence[int]]) -> None:
    """Draw a matrix: filled cells are kept, light ones are zero."""
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(["#EFEFEF", "#0072B2"])
    ax.pcolormesh(list(rows), cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.set_xticks([n + 0.5 for n in range(len(rows[0]))], [str(n) for n in range(len(rows[0]))])
    ax.set_yticks([n + 0.5 for n in range(len(rows))], [str(n) for n in range(len(rows))])
    ax.tick_params(length=0)
    ax.set(xlabel="input", ylabel="neuron")


def _points(
    ax: Axes,
    x: Sequence[float],
    y: Sequence[float],
    names: Sequence[str],
    xlabel: str,
    ylabel: str,
) -> None:
    """Draw named points."""
    ax.scatter(x, y, s=60, color="#0072B2", zorder=3)
    for name, one, other in zip(names, x, y, strict=True):
        ax.annotate(name, (one, other), (7, 4), textcoords="offset points")
    ax.grid(color="#DDDDDD")
    ax.margins(0.15)
    ax.set(xlabel=xlabel, ylabel=ylabel)


def _staircase(ax: Axes, low: float, high: float, scale: float) -> None:
    """Draw what quantizing and dequantizing gives, from beyond the lowest to beyond the highest."""
    count = round((high - low) / scale)
    levels = [low + scale * number for number in range(count + 1)]
    edges = [low - 2 * scale, *(level + scale / 2 for level in levels[:-1]), high + 2 * scale]
    ax.stairs(levels, edges, baseline=None, color="#0072B2", linewidth=2)
    ax.plot([edges[0], edges[-1]], [edges[0], edges[-1]], color=GREY, linestyle="--", linewidth=1)
    ax.set_yticks(levels)
    ax.grid(color="#DDDDDD")
    ax.set(xlabel="x", ylabel="dequantized value")


DRAWINGS: dict[str, Drawing] = {
    "bars": _bars,
    "curve": _curve,
    "curves": _curves,
    "mask": _mask,
    "points": _points,
    "staircase": _staircase,
}
