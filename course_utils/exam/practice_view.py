"""The practice tab: one question at a time, marked at once."""

from __future__ import annotations

from datetime import UTC, datetime

import ipywidgets as widgets

from course_utils.exam.answer_input import AnswerInput
from course_utils.exam.desk import Desk
from course_utils.exam.history import Entry
from course_utils.exam.items import Item
from course_utils.exam.marking import Mark, mark
from course_utils.exam.render import facts_html, feedback_html, prompt_html
from course_utils.exam.scheduling import next_item
from course_utils.exam.texts import say


class PracticeView:
    """Asks one question after the other."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.item: Item = self._draw("")
        self.mark: Mark | None = None
        self.again = ""
        self.widget = widgets.VBox()
        self.topic = widgets.Dropdown(style={"description_width": "initial"})
        self.check = widgets.Button(button_style="primary")
        self.next = widgets.Button()
        self.check.on_click(lambda _: self.mark_answer())
        self.next.on_click(lambda _: self.ask_next())
        self.topic.observe(self._topic_changed, "value")
        self._filling = False
        self.input = AnswerInput(self.item, desk.language)
        self.render(None)

    def render(self, answer: object) -> None:
        """Show the question in the present language, with an answer filled in."""
        language = self.desk.language
        self._fill_topics(language)
        self.check.description = say("check", language)
        self.next.description = say("next", language)
        self.check.disabled = self.mark is not None
        self.input = AnswerInput(self.item, language, self._seed, answer)
        parts = [
            self.topic,
            widgets.HTML(facts_html(self.item, language)),
            widgets.HTMLMath(prompt_html(self.item, language)),
            self.input.widget,
            widgets.HBox([self.check, self.next]),
        ]
        if self.mark is not None:
            self.input.disable()
            self.mark = mark(self.item, answer, language)
            shown = feedback_html(self.item, self.mark, language, self.input.order)
            parts.append(widgets.HTMLMath(f"{shown}<p>{self.again_text()}</p>"))
        self.widget.children = parts

    def change_language(self) -> None:
        """Show the same question in the language that was chosen."""
        self.render(self.input.value)

    def mark_answer(self) -> None:
        """Mark the answer, and note it in history and schedule."""
        if self.mark is not None:
            return
        answer = self.input.value
        found = mark(self.item, answer, self.desk.language)
        if found.unreadable and self.item.question.is_number:
            # A slip of the fingers is no mistake: it can be typed again.
            self.render(answer)
            note = widgets.HTML(say("unreadable", self.desk.language))
            self.widget.children = (*self.widget.children, note)
            return
        self.mark = found
        now = datetime.now(UTC)
        question = self.item.question
        self.desk.history.add(
            Entry(
                when=now.isoformat(),
                question=question.id,
                variant=self.item.variant,
                topic=question.topic,
                score=found.score,
                mode="practice",
            )
        )
        self._due = self.desk.deck.review(question.id, found.score, now) - now
        self.render(answer)
        self.next.focus()

    def again_text(self) -> str:
        """Say when the question comes again."""
        language, seconds = self.desk.language, self._due.total_seconds()
        unit, size = next(
            (name, size)
            for name, size in (("days", 86400), ("hours", 3600), ("minutes", 60))
            if seconds >= size or name == "minutes"
        )
        when = say(unit, language, number=max(round(seconds / size), 1))
        return say("due_again", language, when=when)

    def ask_next(self) -> None:
        """Ask another question."""
        self.item = self._draw(self.topic.value or "")
        self.mark = None
        self.render(None)
        self.input.focus()

    @property
    def _seed(self) -> str:
        return str(self.desk.history.times_asked(self.item.question.id) - (self.mark is not None))

    def _draw(self, topic: str) -> Item:
        return next_item(self.desk.bank, self.desk.history, self.desk.deck, topic)

    def _fill_topics(self, language: str) -> None:
        names = [(topic["title"][language], name) for name, topic in self.desk.bank.topics.items()]
        # Filling the menu changes its value for a moment; that is no choice.
        self._filling = True
        chosen = self.topic.value
        self.topic.options = [(say("by_weakness", language), ""), *names]
        self.topic.value = chosen or ""
        self.topic.description = say("topic", language)
        self._filling = False

    def _topic_changed(self, _: object) -> None:
        if not self._filling:
            self.ask_next()
