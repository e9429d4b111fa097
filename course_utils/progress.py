"""What you have done so far, in all notebooks: `progress()` in any cell shows it."""

from __future__ import annotations

import html
import json
import time
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from course_utils import language
from course_utils.storage import course_folder, read_json, write_json

FOLDER = "progress"
PLAN = "course_plan.json"
TEXTS = {
    "en": {
        "notebook": "notebook",
        "done": "exercises done",
        "points": "points of the checks",
        "left": "time left",
        "minutes": "{} min",
        "finished": "done",
        "all": "all notebooks",
        "next": "next",
        "written": "Written questions ({} points) are marked by a person and are not counted here.",
        "note": (
            "Counted is every visible check that passed once on this computer. "
            "Your mark comes from the hidden checks."
        ),
    },
    "zh-TW": {
        "notebook": "筆記本",
        "done": "完成的練習",
        "points": "檢查的分數",
        "left": "剩餘時間",
        "minutes": "{} 分鐘",
        "finished": "完成",
        "all": "全部",
        "next": "下一題",
        "written": "問答題（{} 分）由老師批改，這裡不計。",
        "note": "在這台電腦上通過一次的可見檢查都會計入。真正的成績由隱藏的檢查決定。",
    },
}


@dataclass(frozen=True)
class Row:
    """How far one notebook is.

    Attributes:
        title: number and title.
        done: exercises whose visible check passed.
        exercises: all exercises.
        points: points of those done.
        most_points: points of all.
        minutes_left: minutes that the others take.
        next_exercise: the first that is not done; empty when all are.
    """

    title: str
    done: int
    exercises: int
    points: float
    most_points: float
    minutes_left: int
    next_exercise: str


def passed(exercise: str) -> None:
    """Say that the visible check of an exercise passed, and note it for `progress`.

    Args:
        exercise: Its name, such as "apoz".
    """
    print(f"{exercise}: good")
    try:
        write_json(_note(exercise), {"passed": time.strftime("%Y-%m-%d %H:%M")})
    except OSError as error:
        warnings.warn(f"your progress could not be noted: {error}", stacklevel=2)


def rows(language_code: str = "en") -> list[Row]:
    """Return how far each notebook is, in their order.

    Args:
        language_code: Of the titles, such as "en" or "zh-TW".
    """
    result = []
    for notebook in _plan():
        exercises = notebook["exercises"]
        done = [e for e in exercises if read_json(_note(e["name"]), None)]
        left = [e for e in exercises if e not in done]
        titles = notebook["titles"]
        result.append(
            Row(
                title=f"{notebook['number']} {titles.get(language_code, titles['en'])}",
                done=len(done),
                exercises=len(exercises),
                points=sum(e["points"] for e in done),
                most_points=sum(e["points"] for e in exercises),
                minutes_left=sum(e["minutes"] for e in left),
                next_exercise=left[0]["name"] if left else "",
            )
        )
    return result


def progress() -> Progress:
    """Return the progress panel: what is done, the points, the time left, for all notebooks."""
    spoken = language.spoken()
    return Progress(rows(spoken), TEXTS[spoken])


class Progress:
    """The panel. A notebook shows it as a table; elsewhere it is text."""

    def __init__(self, rows: list[Row], texts: dict[str, str]) -> None:
        self.rows = rows
        self.texts = texts

    def __repr__(self) -> str:
        lines = [
            f"{row.title:42} {row.done:2}/{row.exercises:<2} {row.points:5g}/{row.most_points:<4g}"
            f" {self._left(row)}"
            for row in self.rows
        ]
        return "\n".join([*lines, self.texts["note"]])

    def _repr_html_(self) -> str:
        t = self.texts
        heads = "".join(
            f'<th style="text-align:left;padding:.2em .8em">{t[key]}</th>'
            for key in ("notebook", "done", "points", "left", "next")
        )
        total = Row(
            t["all"],
            sum(row.done for row in self.rows),
            sum(row.exercises for row in self.rows),
            sum(row.points for row in self.rows),
            sum(row.most_points for row in self.rows),
            sum(row.minutes_left for row in self.rows),
            "",
        )
        body = "".join(map(self._line, [*self.rows, total]))
        written = t["written"].format(f"{sum(n['written_points'] for n in _plan()):g}")
        return (
            f'<table style="border-collapse:collapse"><thead><tr>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table><p>{t['note']} {written}</p>"
        )

    def _line(self, row: Row) -> str:
        bar = (
            f'<progress max="{row.exercises}" value="{row.done}" '
            f'aria-label="{html.escape(row.title)}"></progress>'
        )
        cells = (
            html.escape(row.title),
            f"{bar} {row.done}/{row.exercises}",
            f"{row.points:g}/{row.most_points:g}",
            self._left(row),
            f"<code>{html.escape(row.next_exercise)}</code>" if row.next_exercise else "",
        )
        columns = "".join(
            f'<td style="text-align:left;padding:.2em .8em">{cell}</td>' for cell in cells
        )
        return f"<tr>{columns}</tr>"

    def _left(self, row: Row) -> str:
        if not row.minutes_left:
            return self.texts["finished"]
        return self.texts["minutes"].format(row.minutes_left)


def _note(exercise: str) -> Path:
    return course_folder() / FOLDER / f"{exercise}.json"


@cache
def _plan() -> list[dict[str, Any]]:
    return json.loads((files("course_utils") / PLAN).read_text(encoding="utf-8"))
