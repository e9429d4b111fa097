"""Judges submissions in processes forked from one that has made everything ready.

Importing torch, reading the topic, and training what its checks share takes as long as many checks
together. The warm process runs no student code and judges nothing itself: each submission has a
fork of its own, so one that brings its process down costs nobody else anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from autograder.judge.verdict import Verdict

import course_utils
from autograder.sandbox.warm_start import keep_template, template
from autograder.settings import PACKAGE

PR_SET_PDEATHSIG = 1
KINDS = ("*.py", "*.toml")


class WarmJudge:
    """The warm process, seen from the grader. It judges one submission at a time."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None

    def judge(self, order: dict[str, str], seconds: float) -> int | None:
        """Judge one submission, and return how its process ended; None when it took too long.

        Args:
            order: `submission`, `topic` and `student`; `output`, the file for the verdict's JSON;
                `log`, the file for whatever else is said; if wanted, `usage`, the file for the
                CPU time in seconds, and `unreadable`, why there is no file to read.
            seconds: wall time that it may take, the start of the warm process included.
        """
        if self._control is not None and (self._process.poll() is not None or self._is_stale()):
            self.close()
        if self._control is None:
            self._start(Path(order["log"]))
        control = self._control
        assert control is not None
        control.settimeout(seconds)
        try:
            control.sendall(json.dumps(order).encode() + b"\n")
            answer = control.recv(64)
        except TimeoutError:
            self.close()
            return None
        except OSError:
            answer = b""
        if not answer:
            code = self._process.wait()
            self.close()
            return code or 1
        return int(answer)

    def close(self) -> None:
        """End the warm process, and what it forked."""
        if self._control is not None:
            self._end()
        self._control = None

    def _is_stale(self) -> bool:
        """Tell whether a file was changed since the warm process has read it."""
        return self._made_of != _code_files()

    def _start(self, log: Path) -> None:
        self._made_of = _code_files()
        mine, theirs = socket.socketpair()
        with theirs, log.open("ab") as complaints:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=complaints,
                stderr=complaints,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._control = mine
        self._end = weakref.finalize(self, _end, self._process, mine)


def _code_files() -> frozenset[tuple[str, int, int]]:
    """Return path, size and time of everything that decides a verdict."""
    found = set()
    for folder in (PACKAGE, Path(course_utils.__file__).parent):
        for path in (path for kind in KINDS for path in folder.rglob(kind)):
            status = path.stat()
            found.add((str(path), status.st_size, status.st_mtime_ns))
    return frozenset(found)


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    # Its forks are killed with it.
    process.kill()
    process.wait()


def serve(control: socket.socket) -> None:
    """Judge what the grader orders, until it hangs up."""
    from autograder.judge.preparation import prepare, prepare_topic

    prepare()
    topics: set[str] = set()
    with control.makefile("rb") as orders:
        for line in orders:
            keep_template()
            order = json.loads(line)
            if order["topic"] not in topics:
                topics.add(order["topic"])
                # What is wrong with it, the fork finds too, and says so in its log.
                with contextlib.suppress(Exception):
                    prepare_topic(order["topic"])
                # The forks share this memory; collecting it there would copy it page by page.
                gc.collect()
                gc.freeze()
            child = os.fork()
            if child == 0:
                _judge_and_exit(order, control)
            ended = os.pidfd_open(child)
            ready, _, _ = select.select([ended, control], [], [])
            os.close(ended)
            for kill in (os.kill, os.killpg):
                with contextlib.suppress(ProcessLookupError):
                    kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if ended not in ready:
                return
            control.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _judge_and_exit(order: dict[str, str], control: socket.socket) -> NoReturn:
    """Judge one submission and write the verdict as JSON."""
    code = 1
    try:
        os.setsid()
        # When the warm process is killed, this one must not go on alone.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        control.close()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        verdict = _verdict(order)
        # To a file and not to the standard output, where a library could print.
        Path(order["output"]).write_text(verdict.model_dump_json(), encoding="utf-8")
        if usage := order.get("usage"):
            times = os.times()
            # Sandboxes that start by themselves are children that have been waited for.
            spent = times.user + times.system + times.children_user + times.children_system
            if source := template():
                spent += source.cpu_seconds
            Path(usage).write_text(f"{spent:.2f}", encoding="utf-8")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _verdict(order: dict[str, str]) -> Verdict:
    from autograder.authoring.source import load_source
    from autograder.judge.judge import judge, judge_submission
    from autograder.judge.submission import unreadable_submission

    topic, student = order["topic"], order["student"]
    if problem := order.get("unreadable"):
        return judge(unreadable_submission(topic, problem), load_source(topic), student)
    return judge_submission(Path(order["submission"]), topic, student)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
