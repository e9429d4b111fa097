"""What a program and everything it starts use: CPU time and memory.

The kernel counts the CPU time of a process for whoever waits for it. So the measuring process
adopts what loses its parent, such as the processes of a sandbox, and waits for all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
# Adding up the memory of large processes takes the kernel a while.
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 10.0
KIBIBYTE = 1024


@dataclass
class Usage:
    """What was used from start to end of a block.

    Attributes:
        seconds: wall time.
        cpu_seconds: CPU time of all processes that this one started.
        peak_memory: most memory of them together, in bytes; shared pages count once.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0


@contextlib.contextmanager
def measured() -> Iterator[Usage]:
    """Measure what the processes that this one starts use in the block."""
    _adopt_orphans(True)
    usage, stop = Usage(), threading.Event()
    watcher = threading.Thread(target=_watch_memory, args=(usage, stop), daemon=True)
    known = {child.pid for child in psutil.Process().children()}
    before, started = _cpu_seconds(), time.perf_counter()
    watcher.start()
    try:
        yield usage
    finally:
        usage.seconds = time.perf_counter() - started
        stop.set()
        watcher.join()
        _wait_for_orphans(known)
        usage.cpu_seconds = _cpu_seconds() - before
        # Whoever goes on does not wait for them, and they would stay for ever.
        _adopt_orphans(False)


def _adopt_orphans(adopt: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Run what this thread starts on one core, the last of those it may use."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _cpu_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _wait_for_orphans(known: set[int]) -> None:
    """Wait for the sandboxes' processes, which end by themselves; warm processes go on."""
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        orphans = [p for p in psutil.Process().children() if p.pid not in known and _is_orphan(p)]
        for process in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        if not orphans:
            return
        time.sleep(0.02)


def _is_orphan(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == "bwrap"
    return False


def _watch_memory(usage: Usage, stop: threading.Event) -> None:
    # Looking is not part of what is measured, so it must not take the measured core's time.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    while not stop.wait(LOOK_SECONDS):
        processes = psutil.Process().children(recursive=True)
        usage.peak_memory = max(usage.peak_memory, sum(_memory(p.pid) for p in processes))


def _memory(pid: int) -> int:
    """Return a process's share of the memory it uses; what it forked off shares the rest."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIBIBYTE
    return 0
