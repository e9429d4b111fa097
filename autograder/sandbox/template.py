"""A process that has everything imported; its forks go behind the walls of one submission each.

Importing torch takes a quarter of the time of judging. A grader that judges many submissions has it
done here, once. No student code runs in this process, and it holds nothing but this folder,
`course_utils` and what they import. A fork joins the namespaces that bubblewrap has made for its
submission, gives up every right, as a program that bubblewrap starts has none, and only then
answers the judge. From there it sees neither this process nor another submission.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
from pathlib import Path
from typing import NoReturn

from autograder.sandbox.system_calls import filter_program
from autograder.sandbox.worker import READY, get_ready, serve

# From <linux/sched.h>, <linux/prctl.h> and <linux/capability.h>.
NAMESPACES = {
    "user": 0x10000000,
    "mnt": 0x00020000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
}
PARENT_DEATH_SIGNAL, SECCOMP, DROP_FROM_BOUND, NO_NEW_RIGHTS, AMBIENT = 1, 22, 24, 38, 47
CLEAR_ALL, FILTER = 4, 2
CAPABILITY_VERSION = 0x20080522
# More than there are; the kernel refuses the numbers that it does not know.
CAPABILITIES = range(64)
RIGHTS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

libc = ctypes.CDLL(None, use_errno=True)


def main(descriptor: int) -> None:
    """Send a fork behind the walls at each request, until the grader hangs up.

    Args:
        descriptor: of the socket for requests. One has three descriptors with it: of a process
            behind the walls, of the fork's end of the socket to the judge, and of a socket for
            reports.
    """
    _set(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    get_ready()
    requests = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, _forget_ended)
    requests.send(READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
        if len(descriptors) != 3:
            return
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _attend(*descriptors)
        for number in descriptors:
            os.close(number)


def _forget_ended(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(holder: int, control: int, report_descriptor: int) -> NoReturn:
    """Stay outside, fork a process that is inside, and report what it used when it has ended."""
    report = socket.socket(fileno=report_descriptor)
    try:
        _tell(report, pid=os.getpid())
        _join(holder)
        # Who joins a namespace of processes stays where he is; his children are in it.
        child = os.fork()
        if child == 0:
            _be_first(control, report)
        os.close(control)
        _, _, usage = os.wait4(child, 0)
        _tell(report, cpu_seconds=usage.ru_utime + usage.ru_stime)
    except BaseException as problem:
        _tell(report, problem=f"{type(problem).__name__}: {problem}")
    finally:
        os._exit(0)


def _be_first(control: int, report: socket.socket) -> NoReturn:
    """Be the first process of a sandbox."""
    try:
        # Without its parent, the judge would not see it any more.
        _set(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        os.setsid()
        os.chdir(os.environ["PWD"])
        give_up_rights()
        for number in os.listdir("/proc/self/fd"):
            if int(number) > 2 and int(number) not in (control, report.fileno()):
                with contextlib.suppress(OSError):
                    os.close(int(number))
        report.close()
        serve(socket.socket(fileno=control))
    except BaseException as problem:
        with contextlib.suppress(OSError):
            _tell(report, problem=f"{type(problem).__name__}: {problem}")
    finally:
        os._exit(1)


def _tell(report: socket.socket, **what: object) -> None:
    report.send(json.dumps(what).encode())


def _join(holder: int) -> None:
    """Join the namespaces of a process.

    Raises:
        OSError: the kernel does not allow it.
    """
    number = _process_id(holder)
    kinds = 0
    for name, kind in NAMESPACES.items():
        theirs, ours = (os.stat(f"/proc/{who}/ns/{name}") for who in (number, "self"))
        if theirs.st_ino != ours.st_ino:
            kinds |= kind
    _check(libc.setns(holder, kinds), "setns")


def _process_id(descriptor: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise ProcessLookupError("that is no descriptor of a process")


def give_up_rights() -> None:
    """Give up all capabilities for good, and load the filter of system calls.

    Raises:
        OSError: the kernel does not allow it.
        RuntimeError: something is left.
    """
    for number in CAPABILITIES:
        libc.prctl(DROP_FROM_BOUND, number, 0, 0, 0)
    _set(AMBIENT, CLEAR_ALL)
    header, nothing = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, nothing), "capset")
    _set(NO_NEW_RIGHTS, 1)
    program = filter_program()
    if program:
        lines = ctypes.create_string_buffer(program, len(program))
        length = len(program) // struct.calcsize("<HBBI")
        # struct sock_fprog: the number of lines, and where they are.
        loaded = ctypes.create_string_buffer(struct.pack("@HP", length, ctypes.addressof(lines)))
        _check(libc.prctl(SECCOMP, ctypes.c_ulong(FILTER), loaded, 0, 0), "prctl")
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    left = [name for name in RIGHTS if int(status[name], 16)]
    if left or status["NoNewPrivs"] != "1" or (program and status["Seccomp"] != "2"):
        raise RuntimeError(f"rights are left: {left}")


def _set(option: int, value: int) -> None:
    _check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
