"""Ways round the sandbox's limits that were found open once."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import pytest

from autograder.judge.student import Student, StudentError
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.cells import Cell
from autograder.sandbox.session import Session
from autograder.sandbox.system_calls import ARCHITECTURES, IGNORED, REFUSED, filter_program

needs_sandbox = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")
SECRET = "a secret of the judge"
ANSWERS = """
import ctypes, mmap, os, signal, struct, time

def environments():
    return [open(f"/proc/{p}/environ").read() for p in os.listdir("/proc") if p.isdigit()]

def shared():
    mmap.mmap(-1, 2**20)

def private():
    return len(mmap.mmap(-1, 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

def zeros():
    with open("/dev/zero", "r+b", 0) as file:
        mmap.mmap(file.fileno(), 2**20)

def memory_file():
    os.memfd_create("kept")

def segment():
    return ctypes.CDLL(None).shmget(0, 2**20, 0o1600)

def attach():
    return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)

def step_back():
    libc = ctypes.CDLL(None)
    idle = struct.pack("IIQiIQQQ", 48, os.SCHED_IDLE, 0, 0, 0, 0, 0, 0)
    os.nice(5)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    libc.syscall({sched_setattr}, 0, idle, 0)
    libc.syscall({ioprio_set}, 1, 0, 3 << 13)
    disk = libc.syscall({ioprio_get}, 1, 0)
    return os.nice(0), os.sched_getscheduler(0), disk >> 13

def fill(folder, megabytes):
    with open(f"{folder}/kept", "wb") as file:
        for _ in range(megabytes):
            file.write(b"x" * 2**20)

def deaf():
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while time.process_time() < 20:
        pass
    return "took 20 s"
"""
NUMBERS = {
    "x86_64": {"sched_setattr": 314, "ioprio_set": 251, "ioprio_get": 252},
    "aarch64": {"sched_setattr": 274, "ioprio_set": 30, "ioprio_get": 31},
}
for call, number in NUMBERS.get(platform.machine(), {}).items():
    ANSWERS = ANSWERS.replace(f"{{{call}}}", str(number))


@pytest.fixture(scope="module")
def session(either_start: None) -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_TOKEN", SECRET)
        with Session([Cell("answers", "exercise", ANSWERS)]) as opened:
            yield opened


@pytest.fixture
def student(session: Session) -> Iterator[Student]:
    with session.check_process(10) as process:
        yield Student(process, seed=1, cpu_seconds=10)


@needs_sandbox
def test_no_process_holds_the_judges_environment(student: Student) -> None:
    environments = student.environments()
    assert len(environments) >= 3
    assert not any(SECRET in text for text in environments)


@needs_sandbox
@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="numbers of system calls")
def test_memory_that_no_limit_counts_is_refused(student: Student) -> None:
    for name in ("shared", "zeros", "memory_file"):
        with pytest.raises(StudentError, match=r"PermissionError|No such device"):
            student.call(name)
    assert student.segment() == student.attach() == -1
    assert student.private() == 2**20


@needs_sandbox
@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="numbers of system calls")
def test_nobody_steps_back_behind_other_programs(student: Student) -> None:
    assert student.step_back() == (0, os.SCHED_OTHER, 0)


@needs_sandbox
def test_dev_is_no_place_to_keep_things(student: Student) -> None:
    student.fill("/dev/shm", 1)
    with pytest.raises(StudentError, match="Read-only"):
        student.fill("/dev", 1)
    with pytest.raises(StudentError, match=r"No space|too large"):
        student.fill("/dev/shm", 70)


@needs_sandbox
@pytest.mark.usefixtures("either_start")
def test_what_a_cell_leaves_running_is_ended() -> None:
    leaves = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
    # One that has ended is still listed, without a command line.
    count = """
def count():
    numbers = filter(str.isdigit, os.listdir("/proc"))
    return sum(bool(open(f"/proc/{number}/cmdline").read()) for number in numbers)
"""
    found = []
    for start in ("import os\n", leaves):
        with Session([Cell("answers", "exercise", start + count)]) as session:
            for _ in range(2):
                with session.check_process() as process:
                    found.append(Student(process, seed=1, cpu_seconds=5).count())
    assert len(set(found)) == 1


@needs_sandbox
def test_the_limit_on_cpu_time_cannot_be_ignored(session: Session) -> None:
    with session.check_process(1) as process, pytest.raises(StudentError, match="CPU time"):
        Student(process, seed=1, cpu_seconds=1).deaf()


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_jumps_to_lines_that_are_there(machine: str) -> None:
    program = filter_program(machine)
    lines = [program[place : place + 8] for place in range(0, len(program), 8)]
    assert len(lines) == len(REFUSED[machine]) + len(IGNORED[machine]) + 12
    for number, line in enumerate(lines):
        if line[0] & 7 == 5:
            assert number + 1 + max(line[2], line[3]) < len(lines)


def test_an_unknown_machine_has_no_filter() -> None:
    assert filter_program("abacus") == b""
