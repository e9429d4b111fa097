"""The progress tab: score by topic as a chart, and what is due."""

from __future__ import annotations

import html

import ipywidgets as widgets

from course_utils.exam.desk import Desk
from course_utils.exam.pictures import topic_chart
from course_utils.exam.render import png_html
from course_utils.exam.texts import say


class ProgressView:
    """Shows what was practised, and how well."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.widget = widgets.VBox()
        self.refresh = widgets.Button()
        self.refresh.on_click(lambda _: self.render())
        self.render()

    def render(self) -> None:
        """Show the present state."""
        desk, language = self.desk, self.desk.language
        self.refresh.description = say("refresh", language)
        scores = desk.history.scores(desk.bank.topics)
        parts: list[widgets.Widget] = [self.refresh]
        if scores:
            names = {name: desk.bank.topics[name]["title"]["en"] for name in scores}
            chart = topic_chart({names[name]: score for name, score in scores.items()})
            picture = widgets.HTML(png_html(chart, say("chart_alt", language)))
            parts += [widgets.HTML(f"<h3>{say('weak_topics', language)}</h3>"), picture]
            parts.append(widgets.HTML(self._table(scores, language)))
        else:
            parts.append(widgets.HTML(f"<p>{say('no_history', language)}</p>"))
        asked = {entry.question for entry in desk.history.entries}
        known = [name for name in desk.deck.due() if name in desk.bank.questions]
        summary = say(
            "summary",
            language,
            answers=len(desk.history.entries),
            questions=len(asked & set(desk.bank.questions)),
            all=len(desk.bank.questions),
            due=len(known),
        )
        folder = say("kept_in", language, folder=html.escape(str(desk.folder)))
        parts.append(widgets.HTML(f"<p>{summary}<br>{folder}</p>"))
        self.widget.children = parts

    def _table(self, scores: dict[str, tuple[float, int]], language: str) -> str:
        """Say the chart's numbers as text, weakest first, in the language chosen."""
        ranked = sorted(scores.items(), key=lambda pair: pair[1][0])
        topics = self.desk.bank.topics
        rows = "".join(
            f"<li>{html.escape(name)}: {100 * score:.0f} % ({count})</li>"
            for name, score, count in (
                (topics[topic]["title"][language], *found) for topic, found in ranked
            )
        )
        return f"<ul>{rows}</ul>"
