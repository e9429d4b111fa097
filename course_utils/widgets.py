"""Interactive pictures: sliders that redraw one figure, and a picture where there are none."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.axes import Axes

Draw = Callable[..., Any]
DEFAULT_STEPS = 20


def explorer(draw: Draw, **controls: Any) -> Widget | None:
    """Show a figure that a reader can change with sliders; the keyboard moves them too.

    Where nothing is interactive (a plain Python run, a viewer of stored notebooks) the picture
    of the first values stands in for it: it is stored with the widget.

    Args:
        draw: Called as `draw(ax, **values)` after every change, with an empty Axes. It should
            take less than 0.3 s, so compute what is slow beforehand.
        **controls: By name of an argument of `draw`:
            (low, high) or (low, high, step): a slider, for whole numbers if all are whole;
                it begins at low. (low, high, step, start) begins elsewhere.
            a list: a choice among its elements, beginning with the first.
            True or False: a tick box.
            The name is the label; underscores become spaces.

    Returns:
        The widget, shown by a notebook if it is the last thing in a cell; None in a plain Python
        run, where the figure is drawn once into matplotlib's current backend.

    Raises:
        ValueError: If there is no control, or one has another form.

    Example:
        >>> explorer(lambda ax, sparsity: plot_mask(masks[sparsity], ax=ax), sparsity=[0.5, 0.9])
    """
    if not controls:
        raise ValueError("explorer needs at least one control, for example sparsity=(0.0, 0.99)")
    starts = {name: _start(name, control) for name, control in controls.items()}
    if not _in_notebook():
        _figure(draw, starts)
        return None
    return _interactive(draw, controls, starts)


def _interactive(draw: Draw, controls: dict[str, Any], starts: dict[str, Any]) -> Widget:
    import ipywidgets as widgets

    inputs = {name: _widget(name, control, starts[name]) for name, control in controls.items()}
    # Not widgets.Image: that one has no alternative text, and fails where it has a tooltip.
    picture = widgets.HTML()

    class Explorer(widgets.VBox):
        """Controls above a picture; shows the picture alone where widgets do not work."""

        def redraw(self, _change: dict[str, Any] | None = None) -> None:
            values = {name: widget.value for name, widget in inputs.items()}
            self.still = base64.b64encode(_png(draw, values)).decode()
            text = html.escape(_description(values))
            picture.value = f'<img alt="{text}" src="data:image/png;base64,{self.still}">'

        def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
            bundle = super()._repr_mimebundle_(**options) or {}
            # A viewer takes the richest form it knows: the widget if it can, otherwise this.
            return {**bundle, "image/png": self.still}

    box = Explorer([*inputs.values(), picture])
    box.redraw()
    for widget in inputs.values():
        widget.observe(box.redraw, names="value")
    return box


def _widget(name: str, control: Any, start: Any) -> Widget:
    import ipywidgets as widgets

    label = name.replace("_", " ")
    common: dict[str, Any] = {
        "value": start,
        "description": label,
        "style": {"description_width": "initial"},
        "layout": widgets.Layout(width="min(100%, 32em)"),
    }
    if isinstance(control, bool):
        return widgets.Checkbox(**common, indent=False, tooltip=label)
    if isinstance(control, list):
        return widgets.Dropdown(**common, options=control, tooltip=label)
    low, high, step = _range(control)
    if all(isinstance(number, int) for number in (low, high, step)):
        slider = widgets.IntSlider
    else:
        slider, common["readout_format"] = widgets.FloatSlider, ".4"
    text = f"{label}, from {low:g} to {high:g}; arrow keys change it"
    # Redrawing during a drag would lag behind the hand: only where it stops.
    return slider(**common, min=low, max=high, step=step, continuous_update=False, tooltip=text)


def _start(name: str, control: Any) -> Any:
    """Return the first value of a control, and refuse what is none."""
    if isinstance(control, bool):
        return control
    if isinstance(control, list) and control:
        return control[0]
    numbers = isinstance(control, tuple) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in control
    )
    if numbers and 2 <= len(control) <= 4 and control[0] < control[1]:
        start = control[3] if len(control) == 4 else control[0]
        if _range(control)[2] > 0 and control[0] <= start <= control[1]:
            return start
    raise ValueError(
        f"{name} must be (low, high), (low, high, step) or (low, high, step, start) with "
        f"low < high, a list with elements, or True or False; got {control!r}"
    )


def _range(control: Sequence[float]) -> tuple[float, float, float]:
    low, high = control[:2]
    whole = isinstance(low, int) and isinstance(high, int)
    step = control[2] if len(control) > 2 else 1 if whole else (high - low) / DEFAULT_STEPS
    return low, high, step


def _png(draw: Draw, values: dict[str, Any]) -> bytes:
    import matplotlib.pyplot as plt

    ax = _figure(draw, values)
    content = io.BytesIO()
    description = {"Description": _description(values)}
    ax.figure.savefig(content, format="png", metadata=description)
    # Otherwise the notebook would show the figure a second time, and keep all of them in memory.
    plt.close(ax.figure)
    return content.getvalue()


def _figure(draw: Draw, values: dict[str, Any]) -> Axes:
    import matplotlib.pyplot as plt

    from course_utils.plots import use_course_style

    use_course_style()
    ax = plt.subplots(layout="constrained")[1]
    draw(ax, **values)
    return ax


def _description(values: dict[str, Any]) -> str:
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
    return f"Picture for {settings}"


def _in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this code."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None
