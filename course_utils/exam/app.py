"""The exam practice in a notebook: practice, mock exam, progress; two languages."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets

from course_utils.exam.desk import Desk
from course_utils.exam.mock_view import MockView
from course_utils.exam.practice_view import PracticeView
from course_utils.exam.progress_view import ProgressView
from course_utils.exam.store import practice_folder
from course_utils.exam.texts import say

LANGUAGE_NAMES = [("English", "en"), ("中文", "zh")]
TABS = ("practice", "mock", "progress")


class ExamApp:
    """All of the exam practice.

    Args:
        folder: where answers are kept; the student's own folder when left out.
        language: "en" or "zh", to begin with.
    """

    def __init__(self, folder: Path | None = None, language: str = "en") -> None:
        self.desk = Desk(folder or practice_folder(), language=language)
        self.practice = PracticeView(self.desk)
        self.mock = MockView(self.desk)
        self.progress = ProgressView(self.desk)
        self.language = widgets.ToggleButtons(options=LANGUAGE_NAMES, value=language)
        self.language.style.button_width = "6em"
        self.language.observe(self._language_chosen, "value")
        views = [self.practice.widget, self.mock.widget, self.progress.widget]
        self.tabs = widgets.Tab(views)
        self.tabs.observe(self._tab_chosen, "selected_index")
        self.widget = widgets.VBox([self.language, self.tabs])
        self._name_tabs()

    def _name_tabs(self) -> None:
        for number, name in enumerate(TABS):
            self.tabs.set_title(number, say(name, self.desk.language))

    def _language_chosen(self, change: dict[str, str]) -> None:
        self.desk.language = change["new"]
        self._name_tabs()
        self.practice.change_language()
        self.mock.change_language()
        self.progress.render()

    def _tab_chosen(self, change: dict[str, int]) -> None:
        if change["new"] == TABS.index("progress"):
            self.progress.render()


def exam_practice(folder: Path | None = None, language: str = "en") -> widgets.Widget:
    """Return the exam practice as a widget, to be shown as the last thing in a cell."""
    return ExamApp(folder, language).widget
