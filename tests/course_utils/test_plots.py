from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
import torch

mpl.use("Agg")

import matplotlib.pyplot as plt

from course_utils import plots, widgets
from course_utils.models import LeNet
from course_utils.speed import SpeedComparison


@pytest.fixture(autouse=True)
def _own_style() -> Iterator[None]:
    with mpl.rc_context():
        yield
    plt.close("all")


COMPARISON = SpeedComparison(2.0, 1.8, 2.2, "faster", 2e-3, 1e-3, 20)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (plots.plot_accuracy, ([0.5, 0.9], {"a": [0.9, 0.8]}, {"a": ([0.8, 0.7], [0.9, 0.9])}, 1)),
        (plots.plot_weights, ({"a": torch.randn(3, 4), "b": torch.zeros(5)},)),
        (plots.plot_mask, (torch.rand(4, 3, 5, 5) > 0.5, "conv1")),
        (plots.plot_layers, (LeNet(),)),
        (plots.plot_speedup, ([0.5, 0.9], {"a": [0.5, COMPARISON]})),
        (plots.plot_images, (torch.rand(9, 1, 28, 28), list("abcdefghi"))),
    ],
)
def test_a_plot_draws_and_returns_its_axes(function, arguments: tuple[Any, ...]) -> None:
    _figure, ax = plt.subplots()
    assert function(*arguments, ax=ax) is ax
    own = function(*arguments)
    own.figure.savefig(io.BytesIO())
    assert own.figure.get_facecolor() == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: plots.plot_accuracy([0.5], {}),
        lambda: plots.plot_accuracy([0.5], {"a": [1, 2]}),
        lambda: plots.plot_weights(torch.ones(0)),
        lambda: plots.plot_weights(torch.tensor([1.0, torch.nan])),
        lambda: plots.plot_mask(torch.ones(0)),
        lambda: plots.plot_layers(torch.nn.ReLU()),
        lambda: plots.plot_speedup([0.5], {}),
        lambda: plots.plot_speedup([0.5], {"a": [-1.0]}),
        lambda: plots.plot_images(torch.ones(3)),
        lambda: plots.plot_images(torch.ones(3, 4, 4), ["one"]),
        lambda: widgets.explorer(print),
        lambda: widgets.explorer(print, a=(1, 0)),
        lambda: widgets.explorer(print, a="text"),
        lambda: widgets.explorer(print, a=[]),
    ],
)
def test_bad_input_is_refused(call) -> None:
    with pytest.raises(ValueError, match=r"\w+ .*"):
        call()


def test_a_plain_run_draws_one_picture() -> None:
    drawn: list[tuple[float, str, bool]] = []
    controls = {"level": (0.0, 1.0), "kind": ["x", "y"], "flag": True}
    assert widgets.explorer(lambda _ax, **v: drawn.append(tuple(v.values())), **controls) is None
    assert drawn == [(0.0, "x", True)]


def test_in_a_notebook_a_slider_redraws_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widgets, "_in_notebook", lambda: True)
    drawn: list[int] = []

    def draw(ax, threshold_count: int) -> None:
        drawn.append(threshold_count)
        ax.plot([0, threshold_count])

    box = widgets.explorer(draw, threshold_count=(0, 10, 1, 5))
    slider, picture = box.children
    assert slider.description == "threshold count"
    first = picture.value
    assert 'alt="Picture for threshold count 5"' in first
    started = time.process_time()
    slider.value = 7
    assert time.process_time() - started < 0.3
    assert drawn == [5, 7]
    assert 'alt="Picture for threshold count 7"' in picture.value
    stored = box._repr_mimebundle_()["image/png"]
    assert stored in picture.value
    assert stored not in first
    assert base64.b64decode(stored).startswith(b"\x89PNG")
    assert not plt.get_fignums()


def test_chinese_labels_have_glyphs(recwarn: pytest.WarningsRecorder) -> None:
    plots.use_course_style()
    if len(mpl.rcParams["font.family"]) == 1:
        pytest.skip("no font with Chinese characters is installed here")
    ax = plt.subplots()[1]
    ax.set_title("剪枝比例 (sparsity)")
    ax.figure.canvas.draw()
    assert [str(w.message) for w in recwarn if "Glyph" in str(w.message)] == []


def test_missing_fonts_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.font_manager.get_font_names", lambda: ["PingFang TC"])
    plots.use_course_style()
    assert mpl.rcParams["font.family"] == ["DejaVu Sans", "PingFang TC"]
