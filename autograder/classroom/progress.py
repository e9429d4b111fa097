"""What grading shows while it runs: a live line on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from autograder.classroom.batch import Outcome

LINE_SECONDS = 15.0
# The first ones pay for the start of the workers, so they tell little.
FEWEST_FOR_ESTIMATE = 3


class Board:
    """Counts submissions, and shows the counts.

    Args:
        total: submissions to judge.
        console: where it is shown.
        workers: how many are judged at the same time.
        clock: seconds from any moment; tests put their own here.
    """

    def __init__(
        self,
        total: int,
        console: Console,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.running = self.done = self.failed = 0
        self._console = console
        self._fewest = max(FEWEST_FOR_ESTIMATE, workers)
        self._clock = clock
        self._started = self._last_line = clock()
        columns = (
            TextColumn("[bold]judging"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(self.text(), total=total)

    def __enter__(self) -> Board:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._show(always=True)
        self._bar.stop()

    def judging(self, running: int) -> None:
        """Note how many are being judged."""
        self.running = running
        self._show()

    def finished(self, outcome: Outcome) -> None:
        """Note that one has been judged, or that judging it failed."""
        self.running = max(0, self.running - 1)
        self.done += 1
        if outcome.broken:
            self.failed += 1
            reason = outcome.broken.partition("\n")[0]
            self._console.print(
                f"FAILED {outcome.student}: {reason}", markup=False, style="red", soft_wrap=True
            )
        self._show()

    def seconds_left(self) -> float | None:
        """Return an estimate of the time still needed; None before a few have finished."""
        rest = self.total - self.done
        if rest and self.done < self._fewest:
            return None
        return rest * (self._clock() - self._started) / self.done if self.done else 0.0

    def text(self) -> str:
        """Return the counts in words."""
        queued = self.total - self.done - self.running
        text = f"queued {queued}, running {self.running}, done {self.done - self.failed}"
        text += f", failed {self.failed}"
        seconds = self.seconds_left()
        if seconds is None:
            return f"{text}, end not known yet"
        if self.done == self.total:
            return text
        end = datetime.now() + timedelta(seconds=seconds)
        return f"{text}, end about {end:%H:%M} (in {_words(seconds)})"

    def _show(self, always: bool = False) -> None:
        self._bar.update(self._task, completed=self.done, description=self.text())
        due = self._clock() - self._last_line >= LINE_SECONDS
        if not self._console.is_terminal and self.total and (always or due):
            self._last_line = self._clock()
            line = f"judging: {self.text()}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
