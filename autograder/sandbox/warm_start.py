"""The template of this process's sandboxes, seen from the grader."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from typing import Any

from autograder.sandbox.bubblewrap import sandbox_problem, template_command

# Nothing of a student's runs meanwhile: it is long, for a machine that is very busy.
START_SECONDS = 600.0
END_SECONDS = 10.0
REQUEST = b"G"
REPORT_BYTES = 4096


class Template:
    """Starts the template and sends forks of it behind walls.

    Attributes:
        cpu_seconds: CPU time of the forks that have been seen out.

    Raises:
        OSError: it does not start.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command, environment = template_command(theirs.fileno())
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self._requests.settimeout(START_SECONDS)
        try:
            ready = self._requests.recv(1)
        except OSError:
            ready = b""
        if not ready:
            self.close()
            raise OSError("the template of the sandboxes does not start")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def send_guest(self, holder: int, control: socket.socket) -> Guest:
        """Send a fork behind the walls.

        Args:
            holder: id of a process that is behind them.
            control: the fork's end of the socket to the judge.

        Raises:
            OSError: the template has ended, or cannot go there.
        """
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptor = os.pidfd_open(holder)
        try:
            with theirs:
                numbers = [descriptor, control.fileno(), theirs.fileno()]
                socket.send_fds(self._requests, [REQUEST], numbers)
            return Guest(self, report)
        except OSError:
            report.close()
            raise
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """End it. Forks that are behind walls stay there."""
        self._requests.close()
        self._process.kill()
        self._process.wait()


class Guest:
    """A fork of the template, behind walls.

    Attributes:
        pid: id of the process outside whose child it is.
        problem: why it never came to work; known when it has been seen out.
    """

    def __init__(self, template: Template, report: socket.socket) -> None:
        self._template, self._report = template, report
        self.problem = ""
        report.settimeout(START_SECONDS)
        self.pid = int(self._next().get("pid", 0))
        if not self.pid:
            raise OSError("the template of the sandboxes has ended")

    def see_out(self) -> bool:
        """Wait until it has ended, but not for long; tell whether it has."""
        self._report.settimeout(END_SECONDS)
        with self._report:
            try:
                while said := self._next():
                    self.problem = self.problem or str(said.get("problem", ""))
                    self._template.cpu_seconds += float(said.get("cpu_seconds", 0.0))
            except OSError:
                return False
        return True

    def _next(self) -> dict[str, Any]:
        said = self._report.recv(REPORT_BYTES)
        return json.loads(said) if said else {}


_template: Template | None = None


def keep_template() -> None:
    """Have a template for the sandboxes of this process and its forks, where there can be one."""
    global _template
    if sandbox_problem() or (_template is not None and _template.alive):
        return
    forget_template()
    with contextlib.suppress(OSError):
        _template = Template()


def forget_template() -> None:
    """End the template, where there is one."""
    global _template
    if _template is not None:
        _template.close()
    _template = None


def template() -> Template | None:
    """Return the template of this process's sandboxes; None where each starts by itself."""
    return _template
