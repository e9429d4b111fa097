"""System calls that the sandbox refuses, or ignores.

Refused are those that get memory which no limit counts: shared memory without a file belongs to no
process, so neither the kernel's limits nor the judge's watch see it. And those that reach into
other processes. Ignored are those that let a process step back behind all others: on a busy
machine it would use no CPU time, and hold a worker for as long as the clock allows. The filter is
a small program for the kernel (see seccomp(2)), which bubblewrap loads.
"""

from __future__ import annotations

import errno
import platform
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MMAP = {"x86_64": 9, "aarch64": 222}
REFUSED = {
    # memfd_create, memfd_secret, shmget; ptrace, process_vm_readv and _writev, pidfd_getfd;
    # io_uring_setup, userfaultfd, bpf, perf_event_open
    "x86_64": (319, 447, 29, 101, 310, 311, 438, 425, 323, 321, 298),
    "aarch64": (279, 447, 194, 117, 270, 271, 438, 425, 282, 280, 241),
}
IGNORED = {
    # setpriority (which nice uses), sched_setscheduler, sched_setattr, ioprio_set
    "x86_64": (141, 144, 314, 251),
    "aarch64": (140, 119, 274, 30),
}
# Numbers from here on are another way to call the same (x32).
OTHER_NUMBERS = 0x40000000
SHARED_AND_WITHOUT_FILE = 0x01 | 0x20
LOAD, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
ALLOW, REFUSE, IGNORE = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000
NUMBER, ARCHITECTURE, FOURTH_ARGUMENT = 0, 4, 40


def filter_program(machine: str = "") -> bytes:
    """Return the program for this machine; empty where its system calls are not known here.

    Args:
        machine: name of the processor's architecture; by default this machine's.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        return b""
    refused, ignored = REFUSED[machine], IGNORED[machine]
    calls = len(refused) + len(ignored)
    tests = [
        (LOAD, 0, 0, ARCHITECTURE),
        # Each test jumps over so many lines when it holds, and when it does not.
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, calls + 4, 0, OTHER_NUMBERS),
        *((EQUAL, calls + 3 - place, 0, call) for place, call in enumerate(refused)),
        *((EQUAL, len(ignored) + 5 - place, 0, call) for place, call in enumerate(ignored)),
        (EQUAL, 0, 4, MMAP[machine]),
        (LOAD, 0, 0, FOURTH_ARGUMENT),
        (AND, 0, 0, SHARED_AND_WITHOUT_FILE),
        (EQUAL, 0, 1, SHARED_AND_WITHOUT_FILE),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, IGNORE),
    ]
    return b"".join(struct.pack("<HBBI", *line) for line in tests)


@contextmanager
def filter_descriptor() -> Iterator[int]:
    """Give the program as an open file, for bubblewrap to read."""
    with tempfile.TemporaryFile() as file:
        file.write(filter_program())
        file.seek(0)
        yield file.fileno()
