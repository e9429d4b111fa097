"""The class report: one HTML file that needs nothing else, with plots of how the class did.

All texts that could come from a student go through the template, which escapes them.
"""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from autograder.files import write_whole
from autograder.judge.verdict import Verdict
from autograder.settings import COURSE, MEBIBYTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from autograder.classroom.similarity import Group

SLOW_FACTOR = 3.0
SLOW_SECONDS = 60.0
MOST_MISTAKES = 10
BINS = 10
BOARD_ROWS = 10
NO_VERDICT = {
    "seconds": "–",
    "memory": "–",
    "what": "no verdict: not judged since it came or since the checks changed, or judging failed",
}
# Blue and orange stay apart for every kind of colour blindness.
THEMES = {
    "light": {"text": "#1c1f23", "grid": "#dde1e6", "bar": "#0072b2", "mark": "#b35900"},
    "dark": {"text": "#e6e8eb", "grid": "#333a42", "bar": "#56b4e9", "mark": "#e69f00"},
}


@dataclass(frozen=True)
class Plot:
    """A plot as two PNG data URIs, for light and for dark pages."""

    title: str
    text: str
    light: str
    dark: str


def write_report(
    topic: str,
    title: str,
    verdicts: Sequence[Verdict],
    path: Path,
    similar: Sequence[Group] = (),
    unjudged: Sequence[str] = (),
) -> Path:
    """Write the report on a class.

    Args:
        topic: name of the topic.
        title: the topic's title, for the heading.
        verdicts: one for each student.
        path: the HTML file.
        similar: groups of submissions that are alike.
        unjudged: students who handed in and have no verdict.

    Raises:
        ValueError: there are no verdicts.
    """
    if not verdicts:
        raise ValueError("verdicts is empty: nothing has been judged yet")
    write_whole(path, report_html(topic, title, verdicts, similar, unjudged))
    return path


def report_path(topic: str) -> Path:
    """Return where the report on a topic is written."""
    return COURSE / "report" / f"{topic}.html"


def report_html(
    topic: str,
    title: str,
    verdicts: Sequence[Verdict],
    similar: Sequence[Group] = (),
    unjudged: Sequence[str] = (),
) -> str:
    """Return the report as one HTML page."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("autograder.classroom", "."), autoescape=True, trim_blocks=True
    )
    ordered = sorted(verdicts, key=lambda verdict: verdict.student)
    return environment.get_template("report.html").render(
        topic=topic,
        title=title,
        written=f"{len(ordered)} submissions, written {datetime.now():%Y-%m-%d %H:%M}",
        figures=_figures(ordered),
        plots=_plots(ordered),
        review=[{"student": v.student, "why": _why(v)} for v in ordered if v.needs_review],
        boards=leaderboards(ordered),
        board_rows=BOARD_ROWS,
        mistakes=_mistakes(ordered),
        slow=[*({**NO_VERDICT, "student": who} for who in unjudged), *_slow(ordered)],
        similar=similar,
        rates=_rates(ordered),
        exercises=[exercise.name for exercise in ordered[0].exercises],
        everyone=[_row(verdict) for verdict in ordered],
    )


def what_happened(verdict: Verdict) -> str:
    """Say in one line what stands out in a verdict."""
    lost = [exercise for exercise in verdict.exercises if exercise.points < exercise.max_points]
    if verdict.problems:
        text = verdict.problems[0]
    elif not lost:
        text = "all checks passed"
    else:
        checks = [check for exercise in lost for check in exercise.checks if not check.passed]
        texts = [exercise.message for exercise in lost] + [check.message for check in checks]
        first = next((text for text in texts if text), "no verdict")
        text = f"{lost[0].name}: {first}" if len(lost) < len(verdict.exercises) else first
    return " ".join(text.split())


def pass_rates(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the fraction of the class with all points, in [0, 1], by exercise."""
    rates: dict[str, list[bool]] = {}
    for verdict in verdicts:
        for exercise in verdict.exercises:
            rates.setdefault(exercise.name, []).append(exercise.points == exercise.max_points)
    return {name: sum(passed) / len(passed) for name, passed in rates.items()}


def count_mistakes(verdicts: Sequence[Verdict]) -> dict[tuple[str, str], list[str]]:
    """Return who made each known mistake: (exercise, mistake) -> students, commonest first."""
    who: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for exercise in verdict.exercises:
            failed = [check for check in exercise.checks if not check.passed]
            named = {check.mistake for check in failed if check.mistake}
            for mistake in sorted(_short_name(name) for name in named):
                who.setdefault((exercise.name, mistake), []).append(verdict.student)
    return dict(sorted(who.items(), key=lambda item: (-len(item[1]), item[0])))


def leaderboards(verdicts: Sequence[Verdict]) -> dict[str, list[tuple[str, float]]]:
    """Return the figures that checks noted: name -> (student, value), the smallest first."""
    boards: dict[str, list[tuple[str, float]]] = {}
    for verdict in verdicts:
        for name, value in verdict.board.items():
            boards.setdefault(name, []).append((verdict.student, value))
    for rows in boards.values():
        rows.sort(key=lambda row: (row[1], row[0]))
    return boards


def _short_name(mistake: str) -> str:
    """Return the part of a mistake's name that follows the exercise's."""
    return mistake.rpartition("__")[2]


def _why(verdict: Verdict) -> str:
    return "; ".join(verdict.problems) or what_happened(verdict)


def _figures(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    points = [verdict.points for verdict in verdicts]
    return [
        ("submissions", str(len(verdicts))),
        ("points to earn", f"{verdicts[0].max_points:g}"),
        ("median", f"{round(median(points), 1):g}"),
        ("all points", str(sum(v.points == v.max_points for v in verdicts))),
        ("to be looked at", str(sum(v.needs_review for v in verdicts))),
        ("seconds each, median", f"{median(v.seconds for v in verdicts):.1f}"),
    ]


def _mistakes(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    found = list(count_mistakes(verdicts).items())[:MOST_MISTAKES]
    return [
        {"exercise": exercise, "name": name, "count": len(who), "students": ", ".join(who)}
        for (exercise, name), who in found
    ]


def _rates(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return a line for each exercise: how the class did, and the check that failed most."""
    rows = []
    for name, rate in pass_rates(verdicts).items():
        given = [e for verdict in verdicts for e in verdict.exercises if e.name == name]
        mean = sum(e.points for e in given) / len(given)
        failed = Counter(
            re.sub(r"^test_|\[.*$", "", check)
            for exercise in given
            for check in {check.name for check in exercise.checks if not check.passed}
        ).most_common(1)
        rows.append(
            {
                "name": name,
                "all": f"{rate:.0%}",
                "some": f"{sum(e.points > 0 for e in given) / len(given):.0%}",
                "mean": f"{mean:.1f} of {given[0].max_points:g}",
                "check": failed[0][0].replace("_", " ") if failed else "",
                "count": failed[0][1] if failed else "",
            }
        )
    return rows


def _slow(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    limit = max(SLOW_SECONDS, SLOW_FACTOR * median(verdict.seconds for verdict in verdicts))
    chosen = [v for v in verdicts if v.seconds > limit or v.problems]
    return [
        {
            "student": verdict.student,
            "seconds": f"{verdict.seconds:.1f}",
            "memory": f"{verdict.peak_memory / MEBIBYTE:.0f} MiB" if verdict.peak_memory else "–",
            "what": what_happened(verdict),
        }
        for verdict in sorted(chosen, key=lambda verdict: -verdict.seconds)
    ]


def _row(verdict: Verdict) -> dict[str, Any]:
    cells = [
        {
            "points": f"{exercise.points:g}",
            "kind": "good"
            if exercise.points == exercise.max_points
            else "warn"
            if exercise.points
            else "bad",
        }
        for exercise in verdict.exercises
    ]
    return {"student": verdict.student, "points": f"{verdict.points:g}", "cells": cells}


def _plots(verdicts: Sequence[Verdict]) -> list[Plot]:
    rates = pass_rates(verdicts)
    mistakes = Counter(
        {
            f"{exercise}: {name}": len(who)
            for (exercise, name), who in count_mistakes(verdicts).items()
        }
    ).most_common(MOST_MISTAKES)
    plots = [
        _plot(
            "Distribution of marks",
            "How many students earned how many points",
            _draw_marks,
            verdicts,
        ),
        _plot(
            "All points, by exercise",
            "Part of the class with all points in each exercise",
            _draw_bars,
            [(name, 100 * rate) for name, rate in rates.items()],
            "% of the class",
        ),
    ]
    if mistakes:
        plots.append(
            _plot(
                "Commonest mistakes",
                "How many students made each known mistake",
                _draw_bars,
                mistakes,
                "students",
            )
        )
    return plots


def _plot(title: str, text: str, draw: Any, *data: Any) -> Plot:
    pictures = {name: _picture(draw, theme, *data) for name, theme in THEMES.items()}
    return Plot(title, text, **pictures)


def _picture(draw: Any, theme: dict[str, str], *data: Any) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    parts = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    look = {
        **dict.fromkeys(parts, theme["text"]),
        "axes.edgecolor": theme["grid"],
        "grid.color": theme["grid"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        # A name may hold a dollar sign; it is no formula.
        "text.parse_math": False,
    }
    with rc_context(look):
        figure = Figure(figsize=(6.4, 3.8), dpi=110, layout="constrained")
        draw(figure, theme, *data)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", transparent=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _draw_marks(figure: Figure, theme: dict[str, str], verdicts: Sequence[Verdict]) -> None:
    points = [verdict.points for verdict in verdicts]
    top = max(verdict.max_points for verdict in verdicts)
    axes = figure.subplots()
    edges = [top * edge / BINS for edge in range(BINS + 1)]
    axes.hist(points, bins=edges, color=theme["bar"], rwidth=0.92)
    middle = median(points)
    axes.axvline(middle, color=theme["mark"], linewidth=2)
    axes.set_title(f"median {round(middle, 1):g}", color=theme["mark"], fontsize=10, loc="left")
    axes.set(xlabel=f"points (of {top:g})", ylabel="students")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _draw_bars(
    figure: Figure, theme: dict[str, str], values: Sequence[tuple[str, float]], unit: str
) -> None:
    names, sizes = zip(*reversed(values), strict=True)
    axes = figure.subplots()
    bars = axes.barh(names, sizes, color=theme["bar"])
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_xlabel(unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(0, max(*sizes, 1) * 1.12)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
