"""The first process in a sandbox: torch is imported, no student code has run, forks are quick."""

from __future__ import annotations

import contextlib
import math
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from autograder.sandbox.bubblewrap import (
    holder_command,
    require_sandbox,
    unprotected_command,
    worker_command,
)
from autograder.sandbox.channel import LENGTH
from autograder.sandbox.system_calls import filter_descriptor
from autograder.sandbox.warm_start import START_SECONDS, Guest, Template, template
from autograder.sandbox.watch import LimitExceeded, Watch, children
from autograder.sandbox.wire import WireError, decode
from autograder.settings import Limits

POLL_SECONDS = 0.1
# Nothing of a student's runs meanwhile: it is long, for a machine that is very busy.
EXIT_SECONDS = 60.0
CLOSE_SECONDS = 10.0
FORK = b"F"


class SandboxBroken(RuntimeError):
    """The sandbox itself did not start: the grader's trouble, not the student's."""


@dataclass
class Zygote:
    """Starts a sandbox when it is needed, forks processes in it, and watches all of them.

    Submissions that share a zygote share its folders too: one zygote for each submission, except
    where all of them are trusted.

    Args:
        limits: what the processes may use.
        unsafe: run without walls; only for code that the grader trusts.
        course_data: show the course's images and checkpoints; without walls they always show.
        peak_memory: most memory that was seen in use, in bytes.
        deadline: when this much time is spent, no more answers are waited for.
        not_from_template: why a template was of no use; empty when it was, or there is none.
    """

    limits: Limits = field(default_factory=Limits)
    unsafe: bool = False
    course_data: bool = True
    peak_memory: int = 0
    deadline: float = math.inf
    not_from_template: str = ""

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._control: socket.socket | None = None
        self._guest: Guest | None = None
        self._own_processes: frozenset[int] = frozenset()
        self._last_look = 0.0
        self._spent_before = 0.0

    @property
    def spent(self) -> float:
        """The time that student code has used, in seconds, as `Watch` counts it."""
        return self._spent_before + (0.0 if self._watch is None else self._watch.spent)

    def start(self) -> None:
        """Start the sandbox, unless it is there already.

        Raises:
            SandboxUnavailable: there is no sandbox on this machine.
            SandboxBroken: the sandbox does not start.
        """
        if self._control is not None:
            return
        if not self.unsafe:
            require_sandbox()
        source = None if self.unsafe else template()
        if source is None or not self._start_from(source):
            self._start_by_itself()
        assert self._process is not None
        roots = [self._process.pid] + ([] if self._guest is None else [self._guest.pid])
        self._watch = Watch(roots, self.limits)
        self._watch.settle()
        self._own_processes = self._watch.process_ids()

    def _start_from(self, source: Template) -> bool:
        """Put up the walls and have the template send a fork behind them; tell whether it came."""
        mine, theirs = socket.socketpair()
        self._control = mine
        with theirs, filter_descriptor() as calls, contextlib.suppress(OSError, ValueError):
            self._process = subprocess.Popen(
                holder_command(calls, self.limits, course_data=self.course_data),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[calls],
                env={},
                bufsize=0,
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(b"\n")
            with self._process.stdout as echo:
                stands = echo.read(1)
            if stands:
                # bubblewrap, its own process inside, and the holder.
                (inside,) = children(self._process.pid)
                (holder,) = children(inside)
                self._guest = source.send_guest(holder, theirs)
                theirs.close()
                mine.settimeout(START_SECONDS)
                if mine.recv(1):
                    return True
        guest = self._guest
        self.close()
        self.not_from_template = (guest.problem if guest else "") or "the walls do not stand"
        return False

    def _start_by_itself(self) -> None:
        """Start a program behind the walls that imports everything.

        Raises:
            SandboxBroken: it does not start.
        """
        mine, theirs = socket.socketpair()
        self._control = mine
        with theirs, tempfile.TemporaryFile() as complaints, filter_descriptor() as calls:
            descriptor = theirs.fileno()
            # bubblewrap's own process is the sandbox's number 1, and its environment can be read.
            environment: dict[str, str] = {}
            if self.unsafe:
                command, environment = unprotected_command(descriptor)
            else:
                command = worker_command(
                    descriptor, calls, self.limits, course_data=self.course_data
                )
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=[descriptor, calls],
                env=environment,
            )
            theirs.close()
            mine.settimeout(START_SECONDS)
            try:
                ready = mine.recv(1)
            except OSError:
                ready = b""
            if not ready:
                self.close()
                complaints.seek(0)
                text = complaints.read().decode(errors="replace").strip()
                raise SandboxBroken(
                    f"the sandbox did not start: {text[-800:] or 'no reason given'}"
                )

    @property
    def control(self) -> socket.socket:
        """The socket to the first process; it starts the sandbox where there is none."""
        self.start()
        assert self._control is not None
        return self._control

    def processes(self) -> frozenset[int]:
        """Return the process ids there are now."""
        return frozenset() if self._watch is None else self._watch.process_ids()

    def allow_cpu(self, seconds: float) -> None:
        """From now on, all processes together may take so much CPU time; inf takes the limit off.

        The sandbox's own limit counts each process by itself, and its signal can be ignored.
        """
        if self._watch is not None:
            self._watch.allow_cpu(seconds)

    def kill_all_but(self, spared: Collection[int] = ()) -> None:
        """Kill every process except the first one and those named."""
        if self._watch is None:
            return
        self._watch.kill_all_but({*spared, *self._own_processes})
        self.peak_memory = max(self.peak_memory, self._watch.peak_memory)

    def fork(self, server: socket.socket) -> socket.socket:
        """Ask a serving process to fork; return the judge's end of the new process's socket.

        Raises:
            OSError: the serving process has ended.
        """
        mine, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(server, [FORK], [theirs.fileno()])
        return mine

    def read_exit(self, server: socket.socket) -> int | None:
        """Return how the last fork of `server` ended; None when that cannot be known."""
        try:
            code = self.receive(server, seconds=EXIT_SECONDS)
        except (LimitExceeded, WireError):
            return None
        return code if isinstance(code, int) else None

    def send(self, channel: socket.socket, payload: bytes) -> None:
        """Send one message, watching the sandbox meanwhile.

        Raises:
            LimitExceeded: the sandbox used more than it may, or does not read.
            OSError: the other side hung up.
        """
        assert self._watch is not None
        channel.settimeout(POLL_SECONDS)
        self._watch.rest()
        rest = memoryview(LENGTH.pack(len(payload)) + payload)
        while rest:
            with contextlib.suppress(TimeoutError):
                rest = rest[channel.send(rest) :]
            self._look()

    def receive(
        self,
        channel: socket.socket,
        seconds: float | None = None,
        handle: Callable[[int, str], Any] | None = None,
    ) -> Any:
        """Receive one value, watching the sandbox meanwhile; None when the other side hung up.

        Raises:
            LimitExceeded: the sandbox used more than it may.
            WireError: what came is no message.
        """
        header = self._exactly(channel, LENGTH.size, seconds)
        if not header:
            return None
        (size,) = LENGTH.unpack(header)
        if size > self.limits.message_bytes:
            raise LimitExceeded(f"sent a value of {size} bytes, more than may cross")
        data = self._exactly(channel, size, seconds)
        return decode(bytes(data), handle) if data else None

    def close(self) -> None:
        """End every process of the sandbox."""
        # Of the student's code first: then the first process ends by itself when its socket
        # closes, and the kernel can tell what all of them used.
        self.kill_all_but()
        if self._control is not None:
            self._control.close()
        ends = self._guest is None or self._guest.see_out()
        if self._process is not None:
            if self._process.stdin is not None:
                # The holder ends with its input, and the walls with the holder.
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_SECONDS if ends else 0)
            self._process.kill()
            self._process.wait()
        self._spent_before = self.spent
        self._process = self._watch = self._control = self._guest = None

    def _exactly(self, channel: socket.socket, size: int, seconds: float | None) -> bytearray:
        assert self._watch is not None
        channel.settimeout(POLL_SECONDS)
        self._watch.rest()
        start = time.monotonic()
        data = bytearray()
        while len(data) < size:
            part: bytes | None = None
            try:
                part = channel.recv(min(size - len(data), 2**20))
            except TimeoutError:
                pass
            except OSError:
                part = b""
            if part == b"":
                return bytearray()
            data += part or b""
            self._look()
            if seconds is not None and time.monotonic() - start > seconds:
                raise LimitExceeded(f"did not answer within {seconds:.0f} s")
        return data

    def _look(self) -> None:
        """Look at the sandbox, but not at every byte.

        Raises:
            LimitExceeded: a limit is passed, or the time for the submission is used up.
        """
        now = time.monotonic()
        if now - self._last_look < POLL_SECONDS:
            return
        self._last_look = now
        assert self._watch is not None
        self._watch.check()
        if self.spent > self.deadline:
            raise LimitExceeded("used up the time for the whole submission")
