"""The judge's eye on a sandbox: memory, processes, and whether anything still computes."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import psutil

from autograder.settings import MEBIBYTE, Limits

STIR_SECONDS = 0.02
# A process that waits for the disk counts as working, as on a busy machine, but not for ever: one
# whose child, made by vfork, sleeps looks the same.
DISK_SECONDS = 300.0
# The sandbox's own limit comes first, and its message is the usual one.
CPU_GRACE_SECONDS = 2.0


class LimitExceeded(RuntimeError):
    """A submission used more than it may; the text is for the student."""


@dataclass
class Watch:
    """Watches all processes below `roots`.

    Args:
        roots: process ids of the sandbox's outermost processes.
        limits: what the submission may use.
        peak_memory: most memory that was seen in use, in bytes.
        spent: the submission's own time, in seconds: while it computes the CPU time that it gets,
            and while it waits for nothing the time on the clock.
    """

    roots: Sequence[int]
    limits: Limits
    peak_memory: int = 0
    spent: float = 0.0
    _shared_memory: int = 0
    _cpu_seconds: dict[int, float] = field(default_factory=dict)
    _stirred: float = 0.0
    _last_look: float = field(default_factory=time.monotonic)
    _last_stir: float = field(default_factory=time.monotonic)
    _disk_seconds: float = 0.0
    _spent: dict[int, float] = field(default_factory=dict)
    _most_spent: float = math.inf

    def process_ids(self) -> frozenset[int]:
        """Return the ids of the processes there are now."""
        return frozenset(process.pid for process in self._processes())

    def kill_all_but(self, spared: Collection[int]) -> None:
        """Kill the processes that are not spared; note the memory that all of them had."""
        processes = self._processes()
        memory = self._shared_memory + sum(self._own_memory(process) for process in processes)
        self.peak_memory = max(self.peak_memory, memory)
        for process in processes:
            if process.pid not in spared:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def _processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        waiting = [pid for root in self.roots for pid in children(root)]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(pid))
                waiting += children(pid)
        return found

    def _own_memory(self, process: psutil.Process) -> int:
        return max(0, _memory(process) - self._shared_memory)

    def settle(self) -> None:
        """Take the first process as it is now: its memory is shared by its forks, its time gone."""
        processes = self._processes()
        self._shared_memory = max((_memory(process) for process in processes), default=0)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu_seconds[process.pid] = times.user + times.system

    def rest(self) -> None:
        """Start counting idle time anew: from now on the student's code is expected to work."""
        self._last_stir = self._last_look = time.monotonic()

    def allow_cpu(self, seconds: float) -> None:
        """Let all processes together take so much CPU time from now on; inf is no limit."""
        self._note_cpu()
        self._most_spent = sum(self._spent.values()) + seconds + CPU_GRACE_SECONDS

    def _note_cpu(self) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._spent[process.pid] = times.user + times.system

    def check(self) -> None:
        """Look once.

        Raises:
            LimitExceeded: a limit is passed.
        """
        memory, threads, states = self._shared_memory, 0, set()
        cpu_seconds: dict[int, float] = {}
        for process in self._processes():
            with contextlib.suppress(psutil.Error), process.oneshot():
                memory += self._own_memory(process)
                threads += process.num_threads()
                states.add(process.status())
                times = process.cpu_times()
                cpu_seconds[process.pid] = times.user + times.system
        self.peak_memory = max(self.peak_memory, memory)
        # On a busy machine a process that wants to compute has to wait for a core, or for the disk.
        wants = psutil.STATUS_RUNNING in states
        if psutil.STATUS_DISK_SLEEP in states and not wants:
            wants = self._may_wait_for_disk()
        self._count_time(cpu_seconds, wants)
        # A process that has ended keeps what it took.
        self._spent |= cpu_seconds
        if threads > self.limits.processes:
            raise LimitExceeded(f"started more than {self.limits.processes} processes or threads")
        if memory > self.limits.memory_bytes:
            raise LimitExceeded(
                f"used more than {self.limits.memory_bytes // MEBIBYTE} MiB of memory"
            )
        if sum(self._spent.values()) > self._most_spent:
            raise LimitExceeded("took more CPU time than it may (an endless loop?)")
        if self._last_look - self._last_stir > self.limits.idle_seconds:
            raise LimitExceeded(
                f"waited for {self.limits.idle_seconds:.0f} s without computing anything"
            )

    def _may_wait_for_disk(self) -> bool:
        self._disk_seconds += time.monotonic() - self._last_look
        return self._disk_seconds < DISK_SECONDS

    def _count_time(self, cpu_seconds: dict[int, float], wants: bool) -> None:
        now, known = time.monotonic(), self._cpu_seconds
        computed = sum(spent - known.get(pid, 0.0) for pid, spent in cpu_seconds.items())
        self.spent += computed if wants else max(computed, now - self._last_look)
        self._stirred += computed
        self._last_look, self._cpu_seconds = now, cpu_seconds
        if wants or self._stirred >= STIR_SECONDS:
            self._last_stir, self._stirred = now, 0.0


def children(pid: int) -> list[int]:
    """Return the ids of the processes that `pid` started; none when it is gone.

    The kernel keeps this list for each thread. psutil reads every process of the machine instead,
    which on a busy one took a fifth of the time of judging.
    """
    found: list[int] = []
    tasks = f"/proc/{pid}/task"
    with contextlib.suppress(OSError):
        for thread in os.listdir(tasks):
            with contextlib.suppress(OSError), open(f"{tasks}/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def _memory(process: psutil.Process) -> int:
    """Return the bytes a process holds, files it maps left out; 0 when it is gone."""
    try:
        used = process.memory_info()
        return used.rss - used.shared
    except psutil.Error:
        return 0
