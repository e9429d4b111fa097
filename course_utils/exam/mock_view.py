"""The mock exam tab: timed, without any answer before the end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from random import SystemRandom

import ipywidgets as widgets

from course_utils.exam.answer_input import AnswerInput
from course_utils.exam.desk import Desk
from course_utils.exam.history import Entry
from course_utils.exam.marking import read_numbers
from course_utils.exam.pictures import topic_chart
from course_utils.exam.render import feedback_html, png_html, prompt_html
from course_utils.exam.session import EXAM_MINUTES, MockExam
from course_utils.exam.texts import say

LENGTHS = (15, 30, 60, EXAM_MINUTES)
SAVE_EVERY = 15
WIDE_LABEL = {"description_width": "initial"}


class MockView:
    """Starts, shows and marks a mock exam."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.exam = MockExam.resume(desk.bank, desk.mock_file)
        self.widget = widgets.VBox()
        self.clock = widgets.HTML()
        self.note = widgets.HTML()
        self.input: AnswerInput | None = None
        self._asked_to_start = self._asked_to_finish = False
        self._task: asyncio.Task[None] | None = None
        self._make_controls()
        self.render()

    def _make_controls(self) -> None:
        self.length = widgets.Dropdown(options=LENGTHS, value=EXAM_MINUTES, style=WIDE_LABEL)
        self.seed = widgets.Text(
            value=str(SystemRandom().randrange(1, 10000)), style=WIDE_LABEL,
            layout={"width": "14em"},
        )  # fmt: skip
        self.start = widgets.Button(button_style="primary", layout={"width": "18em"})
        self.previous, self.following = widgets.Button(), widgets.Button()
        self.pause, self.finish = widgets.Button(), widgets.Button()
        self.place = widgets.Dropdown(style=WIDE_LABEL, layout={"width": "14em"})
        self.start.on_click(lambda _: self.begin())
        self.previous.on_click(lambda _: self.go_to(self._state.position - 1))
        self.following.on_click(lambda _: self.go_to(self._state.position + 1))
        self.pause.on_click(lambda _: self.pause_or_go_on())
        self.finish.on_click(lambda _: self.hand_in())
        self.place.observe(self._place_chosen, "value")
        self._filling = False

    def render(self) -> None:
        """Show what there is to show in the present language."""
        language = self.desk.language
        if self.exam is None:
            parts = self._beginning(language)
        elif self._state.finished:
            parts = [*self._results(language), *self._beginning(language)]
        elif self._state.paused:
            parts = self._pausing(language)
        else:
            parts = self._question(language)
        self.widget.children = parts
        self._show_time()

    def change_language(self) -> None:
        """Show everything in the language that was chosen."""
        self.note.value = ""
        self.render()

    def begin(self) -> None:
        """Start a new exam; a second press is needed where one is under way."""
        if self.exam is not None and not self._state.finished and not self._asked_to_start:
            self._asked_to_start = True
            self.note.value = say("replace", self.desk.language)
            return
        self._asked_to_start = False
        self.note.value = ""
        self.exam = MockExam.start(
            self.desk.bank, self.length.value, self.seed.value.strip(), self.desk.mock_file
        )
        self._start_clock()
        self.render()

    def pause_or_go_on(self) -> None:
        """Stop the time, or let it run again."""
        exam = self._exam
        self.note.value = ""
        if self._state.paused:
            exam.go_on()
            self._start_clock()
        else:
            exam.pause()
        self.render()

    def go_to(self, position: int) -> None:
        """Show another question of the exam."""
        self._exam.go_to(position)
        self.note.value = ""
        self._asked_to_finish = False
        self._check_end()
        self.render()

    def hand_in(self) -> None:
        """End the exam; a second press is needed while questions are open."""
        open_questions = len(self._state.questions) - self._answered()
        if open_questions and not self._asked_to_finish:
            self._asked_to_finish = True
            self.note.value = say("finish_sure", self.desk.language, open=open_questions)
            return
        self._exam.tick()
        self._exam.finish()
        self._check_end()
        self.render()

    @property
    def _exam(self) -> MockExam:
        if self.exam is None:
            raise RuntimeError("there is no exam under way")
        return self.exam

    @property
    def _state(self):
        return self._exam.state

    def _answered(self) -> int:
        return sum(answer is not None for answer in self._state.answers.values())

    def _check_end(self) -> None:
        """Put the answers of an exam that is over into history and schedule, once."""
        state = self._state
        if not state.finished or state.counted:
            return
        now = datetime.now(UTC)
        entries = []
        for item, one in zip(self._exam.items, self._exam.marks(), strict=True):
            question = item.question
            entries.append(
                Entry(now.isoformat(), question.id, item.variant, question.topic, one.score, "mock")
            )
            self.desk.deck.review(question.id, one.score, now)
        self.desk.history.add(*entries)
        state.counted = True
        self._exam.save()

    def _beginning(self, language: str) -> list[widgets.Widget]:
        # New options would choose the first one.
        chosen = self.length.value
        self.length.options = [(say("minutes", language, number=n), n) for n in LENGTHS]
        self.length.value = chosen
        self.length.description = say("length", language)
        self.seed.description = say("seed", language)
        self.start.description = say("start", language)
        hint = widgets.HTML(say("seed_hint", language))
        return [widgets.HBox([self.length, self.seed]), hint, self.start, self.note]

    def _pausing(self, language: str) -> list[widgets.Widget]:
        self.pause.description = say("resume", language)
        text = widgets.HTML(f"<p>{say('paused', language)}</p>")
        return [self.clock, text, self.pause, *self._beginning(language)]

    def _question(self, language: str) -> list[widgets.Widget]:
        exam, state = self._exam, self._state
        count = len(state.questions)
        self.input = AnswerInput(exam.item, language, state.seed, exam.answer)
        self.input.on_change(self._keep)
        self._fill_places(language)
        self.previous.description = say("previous", language)
        self.following.description = say("following", language)
        self.pause.description = say("pause", language)
        self.finish.description = say("finish", language)
        self.previous.disabled = state.position == 0
        self.following.disabled = state.position == count - 1
        title = say("of", language, number=state.position + 1, count=count)
        points = say("minutes", language, number=exam.item.question.minutes)
        return [
            self.clock,
            widgets.HTML(f"<h3>{title} <small>({points})</small></h3>"),
            widgets.HTMLMath(prompt_html(exam.item, language)),
            self.input.widget,
            widgets.HBox([self.previous, self.following, self.place, self.pause, self.finish]),
            self.note,
        ]

    def _results(self, language: str) -> list[widgets.Widget]:
        exam, result = self._exam, self._exam.result()
        self.clock.value = ""
        names = {name: self.desk.bank.topics[name]["title"]["en"] for name in result.topics}
        chart = topic_chart({names[name]: score for name, score in result.topics.items()})
        picture = widgets.HTML(png_html(chart, say("chart_alt", language)))
        text = say("mark", language, percent=result.percent, points=result.points, most=result.most)
        pages = []
        for number, (item, one) in enumerate(zip(exam.items, exam.marks(language), strict=True)):
            field = AnswerInput(
                item, language, exam.state.seed, exam.state.answers.get(str(number))
            )
            field.disable()
            most = item.question.minutes
            points = say("points", language, points=one.score * most, most=most)
            body = feedback_html(item, one, language, field.order)
            pages.append(
                widgets.VBox(
                    [
                        widgets.HTMLMath(f"<p>{points}</p>{prompt_html(item, language)}"),
                        field.widget,
                        widgets.HTMLMath(body),
                    ]
                )
            )
        solutions = widgets.Accordion(pages)
        for number, (item, one) in enumerate(zip(exam.items, exam.marks(language), strict=True)):
            sign = "✓" if one.right else "◐" if one.score else "✗"
            slide = item.question.slide.partition(" #")[0]
            solutions.set_title(number, f"{sign} {number + 1}. {slide}")
        heading = widgets.HTML(f"<h3>{text}</h3><p>{say('weak_topics', language)}</p>")
        return [heading, picture, solutions]

    def _keep(self) -> None:
        if self.input is None or self._exam.tick():
            self._check_end()
            self.render()
            return
        answer = self.input.value
        self._exam.give(answer)
        # Whether it can be read says nothing about whether it is right.
        unreadable = self.input.item.question.is_number and answer and read_numbers(answer) is None
        self.note.value = say("unreadable", self.desk.language) if unreadable else ""
        self._show_time()

    def _fill_places(self, language: str) -> None:
        answers = self._state.answers
        self._filling = True
        self.place.options = [
            (f"{n + 1}{' ✓' if answers.get(str(n)) is not None else ''}", n)
            for n in range(len(self._state.questions))
        ]
        self.place.value = self._state.position
        self.place.description = say("go_to", language)
        self._filling = False

    def _place_chosen(self, change: dict[str, int]) -> None:
        if not self._filling and change["new"] is not None:
            self.go_to(change["new"])

    def _show_time(self) -> None:
        if self.exam is None or self._state.finished:
            return
        language = self.desk.language
        hours, seconds = divmod(int(self._exam.seconds_left), 3600)
        minutes, seconds = divmod(seconds, 60)
        done = f"{self._answered()}/{len(self._state.questions)} {say('answered', language)}"
        self.clock.value = (
            f"<p role='timer'>{say('left', language)}: "
            f"<strong>{hours}:{minutes:02}:{seconds:02}</strong> · {done}</p>"
        )

    def _start_clock(self) -> None:
        """Show the time every second, as long as the exam runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # No kernel: in a plain Python run the time is counted all the same.
            return
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run_clock(self._exam))

    async def _run_clock(self, exam: MockExam) -> None:
        seconds = 0
        while self.exam is exam and not exam.state.finished and not exam.state.paused:
            await asyncio.sleep(1)
            seconds += 1
            if exam.tick():
                self._check_end()
                self.render()
                return
            if seconds % SAVE_EVERY == 0:
                exam.save()
            self._show_time()
