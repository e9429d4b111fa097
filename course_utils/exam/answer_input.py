"""Widgets that take the answer to one question. All can be used with the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from course_utils.exam.items import Item
from course_utils.exam.render import LETTERS, options_html, to_html
from course_utils.exam.texts import say

WIDE = "min(100%, 44em)"


class AnswerInput:
    """The widgets for the answer to one item.

    Attributes:
        widget: what is shown.
        order: the order in which choices are shown.
    """

    def __init__(self, item: Item, language: str, seed: str = "", answer: Any = None) -> None:
        self.item = item
        self.language = language
        self.order = item.order(seed)
        self._fields: list[widgets.Widget] = []
        self._listeners: list[Callable[[], None]] = []
        make = {
            "several": self._several,
            "ordering": self._ordering,
            "matching": self._matching,
        }.get(item.question.kind, self._choice)
        self.widget = (self._number if item.question.is_number else make)(answer)
        for field in self._fields:
            field.observe(lambda _: self._changed(), "value")

    @property
    def value(self) -> Any:
        """The answer, in the form that `marking.mark` takes; None without one."""
        values = [field.value for field in self._fields]
        if self.item.question.is_number:
            return values[0].strip() or None
        kind = self.item.question.kind
        if kind == "several":
            return sorted(n for n, on in zip(self.order, values, strict=True) if on) or None
        if kind in ("ordering", "matching"):
            return None if all(value is None for value in values) else values
        return values[0]

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    def disable(self) -> None:
        """Let nothing be changed any more."""
        for field in self._fields:
            field.disabled = True

    def focus(self) -> None:
        """Put the keyboard into the first field."""
        self._fields[0].focus()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _number(self, answer: Any) -> widgets.Widget:
        several = isinstance(self.item.key, list)
        label = say("your_answers" if several else "your_answer", self.language)
        field = widgets.Text(
            value=str(answer or ""),
            description=label,
            style={"description_width": "initial"},
            layout={"width": "min(100%, 28em)"},
        )
        self._fields = [field]
        unit = widgets.HTML(f"<span>{to_html(self.item.unit(self.language))}</span>")
        return widgets.HBox([field, unit])

    def _choice(self, answer: Any) -> widgets.Widget:
        names = [
            str(n + 1) if self.item.code else LETTERS[place] for place, n in enumerate(self.order)
        ]
        field = widgets.RadioButtons(
            options=list(zip(names, self.order, strict=True)),
            value=answer if answer in self.order else None,
            description=say("choose_line" if self.item.code else "choose_one", self.language),
            orientation="horizontal",
            style={"description_width": "initial"},
        )
        self._fields = [field]
        shown = widgets.HTMLMath(options_html(self.item, self.language, self.order))
        return widgets.VBox([shown, field])

    def _several(self, answer: Any) -> widgets.Widget:
        chosen = answer if isinstance(answer, list) else []
        texts = self.item.options(self.language)
        rows = []
        for place, number in enumerate(self.order):
            box = widgets.Checkbox(
                value=number in chosen,
                description=LETTERS[place],
                indent=False,
                tooltip=texts[number],
                layout={"width": "3.5em"},
            )
            self._fields.append(box)
            text = widgets.HTMLMath(to_html(texts[number]))
            rows.append(widgets.HBox([box, text], layout={"align_items": "center"}))
        return widgets.VBox([widgets.HTML(say("choose_several", self.language)), *rows])

    def _ordering(self, answer: Any) -> widgets.Widget:
        texts = self.item.items(self.language)
        menu = [(say("nothing", self.language), None), *((texts[n], n) for n in self.order)]
        return self._menus("put_in_order", [f"{n + 1}." for n in range(len(texts))], menu, answer)

    def _matching(self, answer: Any) -> widgets.Widget:
        texts = self.item.rights(self.language)
        menu = [(say("nothing", self.language), None), *((texts[n], n) for n in self.order)]
        return self._menus("match", self.item.lefts(self.language), menu, answer)

    def _menus(
        self, title: str, names: list[str], menu: list[tuple[str, int | None]], answer: Any
    ) -> widgets.Widget:
        given = answer if isinstance(answer, list) and len(answer) == len(names) else None
        known = {value for _, value in menu}
        rows: list[widgets.Widget] = [widgets.HTML(say(title, self.language))]
        for place, name in enumerate(names):
            value = given[place] if given else None
            field = widgets.Dropdown(
                options=menu,
                value=value if value in known else None,
                description=name,
                style={"description_width": "initial"},
                layout={"width": WIDE},
            )
            self._fields.append(field)
            rows.append(field)
        return widgets.VBox(rows)
