"""Sandboxes that are forks of a template: as closed as the others, and apart from each other."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from autograder.judge.student import Student, StudentError
from autograder.sandbox import warm_start
from autograder.sandbox.bubblewrap import sandbox_problem, template_command
from autograder.sandbox.cells import Cell
from autograder.sandbox.session import Session
from autograder.sandbox.warm_start import Template, keep_template
from autograder.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")

# What a process can tell of itself. Numbers of processes and sockets differ from run to run.
PROBE = r"""
import ctypes, os, sys, time

def seen():
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    kept = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
    kept += ("Seccomp", "Seccomp_filters", "SigBlk", "SigIgn", "SigCgt", "Threads", "Umask")
    mounts = [line.split(" ", 4)[4] for line in open("/proc/self/mountinfo").read().splitlines()]
    opened = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    links = [os.readlink(path).split(":")[0] for path in opened if os.path.exists(path)]
    return repr({
        "status": {name: status.get(name) for name in kept},
        "mounts": mounts,
        "open": sorted(links),
        "folders": [os.getcwd(), os.readlink("/proc/self/root"), sorted(os.listdir("/"))],
        "environment": [dict(os.environ), open("/proc/self/environ").read()],
        "limits": open("/proc/self/limits").read(),
        "owner": os.stat("/proc/self/fd").st_uid,
        "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
        "path": sys.path,
        "host": os.uname().nodename,
        "cgroup": open("/proc/self/cgroup").read(),
        "network": open("/proc/self/net/if_inet6").read(),
        "priority": os.nice(0),
    })

def bounds():
    return open("/proc/self/status").read().split("CapBnd:")[1].split()[0]

def modules():
    return [name for name in sys.modules if name.split(".")[0] in ("autograder", "course_utils")]

def namespaces():
    kinds = sorted(os.listdir("/proc/self/ns"))
    return [(kind, os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in kinds]

def leave(text):
    for folder in (".", "/tmp", "/dev/shm"):
        open(f"{folder}/left", "w").write(text)
    import torch
    torch.left_here = text

def found():
    import torch
    # The course itself may lie below /tmp; nothing else of the machine does.
    above = {place.split("/")[2] for place in sys.path if place.startswith("/tmp/")}
    places = [name for folder in (".", "/tmp", "/dev/shm") for name in os.listdir(folder)]
    texts = [text for text in [getattr(torch, "left_here", "")] if text]
    return [place for place in places if place not in above] + texts

def running():
    names = filter(str.isdigit, os.listdir("/proc"))
    return sorted(open(f"/proc/{name}/cmdline").read().split("\0")[0] for name in names)

def end(number):
    os.kill(number, 9)
    time.sleep(0.5)
"""
CELLS = [Cell("probe", "exercise", PROBE)]


@pytest.fixture
def warm(template: Template, monkeypatch: pytest.MonkeyPatch) -> Template:
    monkeypatch.setattr(warm_start, "_template", template)
    return template


def ask(session: Session, function: str, *arguments: Any) -> Any:
    with session.check_process() as process:
        return Student(process, seed=1, cpu_seconds=5).call(function, *arguments)


@pytest.fixture(scope="module")
def by_itself() -> Iterator[dict[str, Any]]:
    with Session(CELLS) as session:
        yield ast.literal_eval(ask(session, "seen"))


@pytest.mark.usefixtures("warm")
def test_it_has_no_more_rights_and_sees_no_more_than_one_that_started_by_itself(
    by_itself: dict[str, Any],
) -> None:
    with Session(CELLS) as session:
        seen = ast.literal_eval(ask(session, "seen"))
        assert int(ask(session, "bounds"), 16) == 0
    for what, value in by_itself.items():
        assert seen[what] == value, what


@pytest.mark.usefixtures("warm")
def test_it_holds_nothing_of_the_judge() -> None:
    with Session(CELLS) as session:
        modules = ask(session, "modules")
    assert "autograder.sandbox.template" in modules
    strangers = [m for m in modules if not m.startswith(("autograder.sandbox", "course_utils"))]
    assert sorted(strangers) == ["autograder", "autograder.settings"] or strangers == ["autograder"]


@pytest.mark.usefixtures("warm")
def test_two_of_them_share_nothing() -> None:
    with Session(CELLS) as first, Session(CELLS) as second:
        ask(first, "leave", "a note")
        assert len(ask(first, "found")) >= 3
        assert ask(second, "found") == []
        ours, theirs = (dict(ask(one, "namespaces")) for one in (first, second))
        shared = {kind for kind, number in ours.items() if theirs[kind] == number}
        assert {"user", "mnt", "pid", "net", "ipc", "uts"} <= ours.keys() - shared
        # bubblewrap, the holder, the first process, the one that ran the cells, the check's.
        assert len(ask(first, "running")) == len(ask(second, "running")) == 5


@pytest.mark.parametrize("number", [2, 3], ids=["the holder", "the first process"])
def test_a_submission_that_ends_it_harms_only_itself(warm: Template, number: int) -> None:
    with Session(CELLS) as other, Session(CELLS) as session:
        for one in (other, session):
            assert ask(one, "found") == []
        with contextlib.suppress(StudentError):
            ask(session, "end", number)
        for one in (other, session):
            assert ask(one, "found") == []
    assert warm.alive


def test_its_cpu_time_is_counted(warm: Template) -> None:
    before = warm.cpu_seconds
    busy = "import time\nwhile time.process_time() < 1.0:\n    pass\n"
    with Session([Cell("busy", "exercise", busy + PROBE)]) as session:
        ask(session, "found")
    assert 1.0 <= warm.cpu_seconds - before < 3.0


def test_without_its_template_a_sandbox_starts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Template()
    monkeypatch.setattr(warm_start, "_template", ended)
    ended._process.kill()
    ended._process.wait()
    with Session(CELLS) as session:
        assert "cat" not in ask(session, "running")
    keep_template()
    assert warm_start.template() is not ended
    with Session(CELLS) as session:
        assert "cat" in ask(session, "running")
    warm_start.template().close()


def test_a_fork_that_does_not_get_in_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {**template_command(0)[1], "PWD": "/no/such/folder"}
    monkeypatch.setattr(
        warm_start, "template_command", lambda number: (template_command(number)[0], elsewhere)
    )
    broken = Template()
    monkeypatch.setattr(warm_start, "_template", broken)
    zygote = Zygote()
    with Session(CELLS, zygote=zygote) as session:
        assert "cat" not in ask(session, "running")
    assert "/no/such/folder" in zygote.not_from_template
    zygote.close()
    broken.close()


KILLED = """
import time
from autograder.sandbox.warm_start import keep_template, template
from autograder.sandbox.zygote import Zygote

keep_template()
zygote = Zygote()
zygote.start()
print(*zygote.processes(), zygote._guest.pid, template()._process.pid, flush=True)
time.sleep(600)
"""


def test_nothing_stays_behind_when_the_grader_is_killed() -> None:
    grader = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert grader.stdout is not None
    processes = [psutil.Process(int(number)) for number in grader.stdout.readline().split()]
    assert len(processes) == 5
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    grader.stdout.close()
    deadline = time.monotonic() + 20
    while any(alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [process for process in processes if alive(process)]


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("warm")
def test_when_the_process_outside_is_killed_the_one_inside_ends() -> None:
    zygote = Zygote()
    zygote.start()
    assert zygote._guest is not None
    os.kill(zygote._guest.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while len(zygote.processes()) > 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert zygote.control.recv(1) == b""
    zygote.close()
    zygote.start()
    assert len(zygote.processes()) == 3
    zygote.close()
