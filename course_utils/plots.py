"""Plots in one style: colours that colour-blind readers tell apart, and a white ground.

Each function takes plain data, draws into `ax` (a new figure's Axes by default) and returns the
Axes. Lines differ by marker as well as by colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from course_utils.speed import DEAD_BAND, SpeedComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008, without yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
GREY = "#666666"
STYLE: dict[str, Any] = {
    # White also where a notebook is dark, so that the dark text stays readable.
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "figure.figsize": (6.4, 4.0),
    "figure.dpi": 100,
    "font.size": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "legend.frameon": False,
}

# Fonts with Chinese characters, for labels of one's own: Linux, Windows, macOS.
CHINESE_FONTS = (
    *("Noto Sans CJK TC", "Noto Sans TC", "Noto Sans CJK JP", "WenQuanYi Zen Hei"),
    *("Microsoft JhengHei", "PingFang TC", "Heiti TC"),
)

Band = tuple[Sequence[float], Sequence[float]]


def use_course_style() -> None:
    """Make the course's style matplotlib's default for this session."""
    import matplotlib as mpl
    from matplotlib import font_manager

    mpl.rcParams.update(STYLE)
    # A character that the first font lacks comes from the next. Missing fonts would be complained
    # about at every label.
    installed = set(font_manager.get_font_names())
    fonts = ["DejaVu Sans", *(name for name in CHINESE_FONTS if name in installed)]
    mpl.rcParams["font.family"] = fonts
    mpl.rcParams["axes.prop_cycle"] = mpl.cycler(color=COLOURS)


def plot_accuracy(
    sparsities: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    bands: Mapping[str, Band] | None = None,
    baseline: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy against sparsity, one line per method.

    Args:
        sparsities: Fractions in [0, 1], n of them.
        curves: By label: n accuracies in [0, 1].
        bands: By label: n lower and n upper ends, for example over seeds.
        baseline: Accuracy of the unpruned model, drawn as a dashed line.
        ax: Where to draw.

    Raises:
        ValueError: If there are no curves, or lengths differ.
    """
    if not curves:
        raise ValueError("curves is empty; pass at least one, such as {'global': [0.91, 0.90]}")
    bands = bands or {}
    for label, values in [
        *curves.items(),
        *((k, end) for k, pair in bands.items() for end in pair),
    ]:
        if len(values) != len(sparsities):
            raise ValueError(
                f"{label!r} has {len(values)} values for {len(sparsities)} sparsities; "
                "give one value for each"
            )
    ax = _axes(ax)
    per_cent = [100 * sparsity for sparsity in sparsities]
    for number, (label, values) in enumerate(curves.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        ax.plot(per_cent, [100 * v for v in values], color=colour, marker=marker, label=label)
        if label in bands:
            low, high = ([100 * value for value in end] for end in bands[label])
            ax.fill_between(per_cent, low, high, color=colour, alpha=0.2, linewidth=0)
    if baseline is not None:
        ax.axhline(100 * baseline, color=GREY, linestyle="--", linewidth=1.2, label="unpruned")
    ax.set(xlabel="sparsity (%)", ylabel="accuracy (%)")
    ax.legend()
    return ax


def plot_weights(
    weights: Tensor | Mapping[str, Tensor], bins: int = 80, ax: Axes | None = None
) -> Axes:
    """Draw how the values of weights are distributed; zeros are counted in the legend instead.

    Args:
        weights: A tensor of any shape, or several by label.
        bins: Number of bins, at least 1.
        ax: Where to draw.

    Raises:
        ValueError: If there is nothing to draw, or a value is not finite.
    """
    named = {"weights": weights} if isinstance(weights, Tensor) else dict(weights)
    values = {label: tensor.detach().flatten().float().numpy() for label, tensor in named.items()}
    if sum(map(len, values.values())) == 0:
        raise ValueError("there are no weights to draw; pass a tensor with elements")
    everything = np.concatenate(list(values.values()))
    if not np.isfinite(everything).all():
        raise ValueError("weights holds NaN or infinity; look for the step that made it")
    ax = _axes(ax)
    edges = np.histogram_bin_edges(everything, bins)
    for number, (label, array) in enumerate(values.items()):
        zeros, colour = np.count_nonzero(array == 0), COLOURS[number % len(COLOURS)]
        text = f"{label} ({zeros / max(len(array), 1):.0%} zeros)" if zeros else label
        ax.hist(array[array != 0], edges, color=colour, alpha=0.3)
        ax.hist(array[array != 0], edges, color=colour, histtype="step", linewidth=1.5, label=text)
    ax.set(xlabel="value", ylabel="number of weights")
    ax.legend()
    return ax


def plot_mask(mask: Tensor, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw which weights a mask keeps (blue) and which it prunes (light).

    Args:
        mask: Bool, or 0 and 1; True means keep. From the second on, dimensions are put in a row:
            each row of the picture is one neuron or one filter.
        title: Written before the fraction pruned.
        ax: Where to draw.

    Raises:
        ValueError: If the mask has no elements.
    """
    if mask.numel() == 0:
        raise ValueError("mask has no elements; pass the mask of a layer's weight")
    from matplotlib.colors import ListedColormap

    ax = _axes(ax)
    rows = mask.detach().reshape(len(mask), -1) if mask.dim() > 1 else mask.detach().reshape(1, -1)
    kept = (rows != 0).numpy()
    colours = ListedColormap(["#EFEFEF", COLOURS[0]])
    ax.imshow(kept, cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.grid(visible=False)
    ax.set(title=f"{title} {1 - kept.mean():.1%} pruned".strip())
    ax.set(xlabel="input weight", ylabel="neuron or filter")
    return ax


def plot_layers(model: nn.Module, ax: Axes | None = None) -> Axes:
    """Draw a table of the layers with weights: shape, number of parameters, share, zeros.

    Raises:
        ValueError: If the model has no parameters.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    if total == 0:
        raise ValueError("the model has no parameters; pass one with layers")
    rows = []
    for name, part in model.named_modules():
        own = list(part.parameters(recurse=False))
        if own:
            count = sum(parameter.numel() for parameter in own)
            zeros = 1 - sum(int(parameter.count_nonzero()) for parameter in own) / count
            shape = "x".join(map(str, own[0].shape))
            rows.append([name, shape, f"{count:,}", f"{count / total:.1%}", f"{zeros:.1%}"])
    rows.append(["total", "", f"{total:,}", "", ""])
    ax = _axes(ax)
    ax.axis("off")
    heads = ["layer", "weight shape", "parameters", "share", "zeros"]
    table = ax.table(rows, colLabels=heads, loc="center", cellLoc="right", edges="horizontal")
    table.scale(1, 1.5)
    return ax


def plot_speedup(
    sparsities: Sequence[float],
    results: Mapping[str, Sequence[float | SpeedComparison]],
    ax: Axes | None = None,
) -> Axes:
    """Draw speedup against sparsity; below 1, where it is a loss, the ground is shaded.

    Args:
        sparsities: Fractions in [0, 1], n of them.
        results: By label: n ratios above 0, or n results of the speed meter, whose intervals
            are then drawn.
        ax: Where to draw.

    Raises:
        ValueError: If there are no results, lengths differ, or a ratio is not above 0.
    """
    if not results:
        raise ValueError("results is empty; pass at least one, such as {'CSR': [0.5, 2.0]}")
    ax = _axes(ax)
    per_cent = [100 * sparsity for sparsity in sparsities]
    for number, (label, found) in enumerate(results.items()):
        ends = np.array([_ratio_and_ends(one) for one in found]).reshape(-1, 3)
        if len(ends) != len(per_cent) or (ends <= 0).any():
            raise ValueError(
                f"{label!r} must hold {len(per_cent)} ratios above 0, one for each sparsity"
            )
        ratios, low, high = ends.T
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        bars = [np.maximum(ratios - low, 0), np.maximum(high - ratios, 0)]
        ax.errorbar(
            per_cent, ratios, yerr=bars, color=colour, marker=marker, capsize=3, label=label
        )
    bottom, top = ax.get_ylim()
    ax.set_yscale("log")
    bottom, top = min(bottom, 0.8) if bottom > 0 else 0.1, max(top, 1.25)
    ax.set_ylim(bottom, top)
    ax.axhspan(bottom, 1, color=GREY, alpha=0.15, linewidth=0, label="slower than dense")
    ax.axhspan(1 / (1 + DEAD_BAND), 1 + DEAD_BAND, color=GREY, alpha=0.3, linewidth=0)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if bottom <= tick <= top]
    ax.set_yticks(ticks, [f"{tick:g}x" for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel="sparsity (%)", ylabel="speedup")
    ax.legend()
    return ax


def plot_images(
    images: Tensor, titles: Sequence[str] | None = None, columns: int = 8, ax: Axes | None = None
) -> Axes:
    """Draw images in a grid.

    Args:
        images: (N, 1, H, W) or (N, H, W), N at least 1. Each is scaled to its own range.
        titles: N short texts, for example class names.
        columns: Images per row, at least 1.
        ax: Where to draw.

    Raises:
        ValueError: If the shape is another one, or there are not as many titles as images.
    """
    pictures = images.detach().squeeze(1) if images.dim() == 4 else images.detach()
    if pictures.dim() != 3 or len(pictures) == 0 or columns < 1:
        raise ValueError(
            "images must be (N, 1, H, W) or (N, H, W) with N at least 1, and columns at least 1; "
            f"got {tuple(images.shape)} and {columns}"
        )
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"got {len(titles)} titles for {len(pictures)} images; give one for each")
    count, height, width = pictures.shape
    columns = min(columns, count)
    lowest = pictures.amin(dim=(1, 2), keepdim=True)
    spread = (pictures.amax(dim=(1, 2), keepdim=True) - lowest).clamp_min(1e-12)
    inks = 1 - ((pictures - lowest) / spread).float().numpy()
    row_height, column_width = height + (8 if titles else 2), width + 6
    rows = -(-count // columns)
    canvas = np.ones((rows * row_height, columns * column_width), dtype=np.float32)
    ax = _axes(ax, (1.1 * columns, 1.1 * rows * row_height / column_width))
    for number, ink in enumerate(inks):
        top, left = number // columns * row_height, number % columns * column_width
        canvas[top + row_height - height : top + row_height, left : left + width] = ink
        if titles is not None:
            place = (left + width / 2, top + row_height - height - 1)
            ax.text(*place, titles[number], ha="center", va="bottom", fontsize=8)
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    ax.axis("off")
    return ax


def _axes(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    use_course_style()
    return plt.subplots(figsize=size, layout="constrained")[1]


def _ratio_and_ends(found: float | SpeedComparison) -> tuple[float, float, float]:
    if isinstance(found, SpeedComparison):
        return found.ratio, found.low, found.high
    return found, found, found
