"""One submission in its sandbox, seen from the judge: run its cells, then call what they define."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from autograder.sandbox.cells import Cell
from autograder.sandbox.watch import LimitExceeded
from autograder.sandbox.wire import WireError, encode
from autograder.sandbox.zygote import Zygote
from autograder.settings import Limits

SIGXCPU, SIGKILL = -24, -9
DEFINITIONS, WHOLE = "definitions", "whole notebook"
MESSAGE_CHARACTERS = 1000


class SandboxStopped(RuntimeError):
    """The student's process ended, or was ended, before it answered; the text says why."""


class Session:
    """Runs the cells of one submission and forks a process for every check.

    Args:
        cells: the rebuilt notebook's code cells, in order.
        limits: what the submission may use.
        unsafe: run without walls; only for code that the grader trusts.
        course_data: show the course's images and checkpoints in the sandbox.
        zygote: a sandbox to share; by default the session has its own and closes it.

    Attributes:
        mode: "definitions", or "whole notebook" where answers use what experiments define.
        needed: those names.
        cell_errors: by cell name, why a cell did not run to its end.
        killed: a process was killed, or ended and nobody knows how. The submission may have done
            it itself, but so may the system or a person: judging it once more tells.
    """

    def __init__(
        self,
        cells: list[Cell],
        limits: Limits | None = None,
        *,
        unsafe: bool = False,
        course_data: bool = True,
        zygote: Zygote | None = None,
    ) -> None:
        self.mode = DEFINITIONS
        self.needed: list[str] = []
        self.cell_errors: dict[str, str] = {}
        self.killed = False
        self._cells = cells
        self._owns_zygote = zygote is None
        self._zygote = zygote or Zygote(limits or Limits(), unsafe, course_data)
        self._seconds_left = self._zygote.limits.submission_wall_seconds
        self._names = {cell.name for cell in cells}
        self._skip: list[str] = []
        self._submission: socket.socket | None = None
        # The process that ran the cells. What the cells or a check started ends with them.
        self._spared: frozenset[int] = frozenset()
        self._exit_code: int | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def peak_memory(self) -> int:
        """Most memory that was seen in use, in bytes, all processes together."""
        return self._zygote.peak_memory

    def close(self) -> None:
        """End every process of this submission."""
        if self._owns_zygote:
            self._abandon()
        elif self._submission is not None:
            self._drop_submission("")

    @contextlib.contextmanager
    def check_process(self, cpu_seconds: float = math.inf) -> Iterator[CheckProcess]:
        """Give a process for one check; it is forked at the first call, and ends with the block.

        Args:
            cpu_seconds: CPU time that all processes together may take meanwhile.
        """
        process = CheckProcess(self, cpu_seconds)
        try:
            yield process
        finally:
            if process.channel is not None:
                self._end_check(process.channel)
            if process.started is not None:
                self._seconds_left -= self._zygote.spent - process.started

    def fork_check(self, process: CheckProcess) -> socket.socket:
        """Fork the process of a check and return the judge's end of its socket.

        Raises:
            SandboxStopped: the submission's own cells end every process there is, or its time is
                used up.
            SandboxUnavailable, SandboxBroken: there is no sandbox, or it does not start.
        """
        self._zygote.start()
        if self._seconds_left <= 0:
            raise SandboxStopped("the time for this submission was used up by earlier checks")
        process.started = self._zygote.spent
        self._zygote.deadline = process.started + self._seconds_left
        submission = self._run_cells()
        self._exit_code = None
        self._zygote.allow_cpu(process.cpu_seconds)
        try:
            return self._zygote.fork(submission)
        except OSError:
            self.killed = True
            self._abandon()
            raise SandboxStopped("the process that ran the notebook's cells has ended") from None

    def _end_check(self, channel: socket.socket) -> None:
        channel.close()
        self._zygote.kill_all_but(self._spared)
        if self._exit_code is None and self._submission is not None:
            self._exit_code = self._zygote.read_exit(self._submission)
        if self._exit_code is None:
            self._abandon()

    def ask(
        self, channel: socket.socket, request: bytes, handle: Callable[[int, str], Any]
    ) -> dict[Any, Any]:
        """Send one call, encoded, to a check's process and return the reply.

        Raises:
            SandboxStopped: no reply came; the text says why, for the student.
        """
        try:
            self._zygote.send(channel, request)
            reply = self._zygote.receive(channel, handle=handle)
            if isinstance(reply, dict):
                return reply
        except LimitExceeded as error:
            raise SandboxStopped(f"your code {error}") from None
        except WireError as error:
            raise SandboxStopped(f"your code broke the connection to the judge: {error}") from None
        except OSError:
            pass
        if self._submission is not None and self._exit_code is None:
            self._exit_code = self._zygote.read_exit(self._submission)
        self.killed |= self._exit_code in (None, SIGKILL)
        raise SandboxStopped(end_text(self._exit_code, "your code"))

    def _run_cells(self) -> socket.socket:
        """Have a process that has run the cells, leaving out those that end it."""
        while self._submission is None:
            try:
                self._submission = self._zygote.fork(self._zygote.control)
            except OSError:
                self.killed = True
                self._abandon()
                raise SandboxStopped("the sandbox has ended") from None
            running, finished, reason = self._follow_cells(self._submission)
            if finished:
                self._zygote.kill_all_but(self._spared)
                break
            reason = self._drop_submission(reason)
            if running is None or running in self._skip:
                raise SandboxStopped(f"the notebook's cells could not be run: {reason}")
            self._skip.append(running)
            self.cell_errors[running] = reason
        return self._submission

    def _follow_cells(self, submission: socket.socket) -> tuple[str | None, bool, str]:
        """Return the cell that was running last, whether all are done, and why not.

        The reason is empty when the process ended by itself.
        """
        zygote = self._zygote
        cells = [(cell.name, cell.origin, cell.source) for cell in self._cells]
        request = {"cells": cells, "skip": self._skip, "limits": zygote.limits.model_dump()}
        running: str | None = None
        self._spared = frozenset()
        zygote.allow_cpu(zygote.limits.notebook_cpu_seconds)
        try:
            zygote.send(submission, encode(request))
            while True:
                report = zygote.receive(submission)
                if report is None:
                    return running, False, ""
                if running is None and not self._spared:
                    # None of the student's code runs before the process is told to go on.
                    self._spared = zygote.processes()
                    zygote.send(submission, encode(True))
                if "running" in report:
                    running = report["running"] if report["running"] in self._names else running
                elif "failed" in report:
                    self._note_error(report["failed"], error_text(report["error"]))
                elif "mode" in report:
                    self.mode = WHOLE if report["mode"] == WHOLE else DEFINITIONS
                    self.needed = [printable(name, 80) for name in report["needed"][:20]]
                    for name, text in report["errors"].items():
                        self._note_error(name, printable(text))
                elif "finished" in report:
                    return running, True, ""
        except LimitExceeded as error:
            return running, False, f"the cell {error}"
        except OSError as error:
            self.killed = True
            return running, False, f"the cell broke the connection to the judge ({error})"
        except (WireError, TypeError, KeyError, AttributeError) as error:
            return running, False, f"the cell broke the connection to the judge ({error})"

    def _note_error(self, name: object, text: str) -> None:
        if isinstance(name, str) and name in self._names:
            self.cell_errors[name] = text

    def _drop_submission(self, reason: str) -> str:
        """End the process that ran the cells, keep the first one; return why it ended."""
        assert self._submission is not None
        self._submission.close()
        self._submission = None
        self._zygote.kill_all_but()
        code = self._zygote.read_exit(self._zygote.control)
        if code is None:
            self._zygote.close()
        # With a reason, it was the judge that killed it.
        self.killed |= not reason and code in (None, SIGKILL)
        return reason or end_text(code, "the cell")

    def _abandon(self) -> None:
        """Close the whole sandbox; the next check starts another."""
        if self._submission is not None:
            self._submission.close()
            self._submission = None
        self._zygote.close()


@dataclass
class CheckProcess:
    """The process of one check; see `Session.check_process`."""

    session: Session
    cpu_seconds: float
    channel: socket.socket | None = None
    started: float | None = None
    stopped: str = ""

    def request(self, request: bytes, handle: Callable[[int, str], Any]) -> Any:
        """Send one call and return the reply; see `Session.fork_check` and `Session.ask`."""
        if self.stopped:
            raise SandboxStopped(self.stopped)
        if self.channel is None:
            try:
                self.channel = self.session.fork_check(self)
            except SandboxStopped as stop:
                # Cells that end every process are not run once more for the check's next call.
                self.stopped = str(stop)
                raise
        return self.session.ask(self.channel, request, handle)


def end_text(code: object, who: str) -> str:
    """Say in words how a process ended."""
    if code == SIGXCPU:
        return f"{who} took more CPU time than it may (an endless loop?)"
    if code == SIGKILL:
        return f"{who} was stopped because it used too much time or memory"
    if isinstance(code, int):
        return f"{who} ended its own process (exit code {code})"
    return f"{who} ended its own process"


def error_text(error: Any) -> str:
    """Return the text of an error description that came from the sandbox."""
    try:
        where = f" ({printable(error['where'], 80)})" if error["where"] else ""
        return f"{printable(error['type'], 80)}: {printable(error['message'])}{where}"
    except (TypeError, KeyError):
        return "an error that could not be read"


def printable(text: object, length: int = MESSAGE_CHARACTERS) -> str:
    """Return a text from the sandbox without control characters, and not too long."""
    if not isinstance(text, str):
        return ""
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text[:length]
    )
