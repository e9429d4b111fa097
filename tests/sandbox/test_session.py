"""Student code in the real sandbox: what it can do, what it cannot, and how it ends."""

import ctypes
import platform
import textwrap
import time

import psutil
import pytest
import torch

from autograder.judge.by_reference import as_left
from autograder.judge.student import Student, StudentError
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.cells import Cell
from autograder.sandbox.session import SandboxStopped, Session
from autograder.sandbox.zygote import Zygote
from autograder.settings import PACKAGE, REPOSITORY, Limits
from course_utils import data
from course_utils.models import MLP

pytestmark = [
    pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox"),
    pytest.mark.usefixtures("either_start"),
]

LIMITS = Limits(definitions_cpu_seconds=3, idle_seconds=2.0)
ANSWERS = """
import os, socket, sys, threading, time
import torch
import torch.nn.utils.prune
from torch import nn

def double(x):
    return 2 * x

def double_in_place(x):
    x.mul_(2)

def zero(model):
    model.eval()
    with torch.no_grad():
        model.fc1.weight.zero_()

def leave_pruning_behind(model):
    torch.nn.utils.prune.random_unstructured(model.fc1, "weight", 0.5)

def refuse():
    raise KeyError("no")

def end():
    os._exit(3)

def loop():
    while True:
        pass

def sleep():
    time.sleep(1000)

def hoard():
    kept = []
    while True:
        kept.append(torch.ones(10**7))

def storm():
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(60)

def flood():
    for _ in range(20_000):
        print("x" * 1000)
    return "done"

def fill():
    with open("file", "wb") as file:
        for _ in range(500):
            file.write(bytes(2**20))

def connect(port):
    socket.create_connection(("127.0.0.1", port), timeout=1)

def listing(path):
    return os.listdir(path)

def write(path):
    open(path, "w").write("x")

def environment():
    return dict(os.environ)

counter = 0

def count():
    global counter
    counter += 1
    return counter

def note():
    open("note", "a").write("x")
    return len(open("note").read())

class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
    def forward(self, x):
        return self.factor * x

def trickle():
    for descriptor in range(3, 64):
        try:
            channel = socket.socket(fileno=os.dup(descriptor))
            channel.send((10**6).to_bytes(8, "little"))
            while True:
                channel.send(b"x")
                time.sleep(0.01)
        except OSError:
            pass

def garbage():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\\x05" + b"\\x00" * 7 + b"hello" * 100)
        except OSError:
            pass
    return 1
"""


@pytest.fixture(scope="module")
def session(either_start):
    with Session([Cell("answers", "exercise", ANSWERS)], LIMITS) as opened:
        yield opened


@pytest.fixture
def student(session):
    with session.check_process() as process:
        yield Student(process, seed=1, cpu_seconds=2)


def test_values_go_in_and_come_out(student):
    assert student.double(21) == 42
    assert torch.equal(student.double(x=torch.ones(2)), torch.full((2,), 2.0))


def test_changes_to_arguments_are_noted(student):
    x = torch.ones(3)
    student.double_in_place(x)
    assert x.tolist() == [1, 1, 1]
    assert as_left(x).tolist() == [2, 2, 2]
    model = MLP((4,)).train()
    weight = model.fc1.weight
    student.zero(model)
    assert not model.training
    assert weight.any()
    assert not as_left(weight).any()


def test_changes_show_on_the_callers_objects_where_the_exercise_is_to_make_them(student):
    student.in_place = True
    x = torch.ones(3)
    student.double_in_place(x)
    assert x.tolist() == [2, 2, 2]
    model = MLP((4,)).train()
    weight = model.fc1.weight
    student.zero(model)
    assert not model.training
    assert not weight.any()


def test_a_model_of_another_shape_is_explained(student):
    with pytest.raises(StudentError, match=r"prune\.remove"):
        student.leave_pruning_behind(MLP((4,)))


def test_exceptions_come_out_with_type_and_place(student):
    with pytest.raises(StudentError, match="KeyError") as caught:
        student.refuse()
    assert caught.value.is_a("LookupError")
    assert "answers" in caught.value.where


def test_objects_stay_inside_and_can_be_used(student):
    scale = student.Scale(3)
    assert scale(torch.ones(2)).tolist() == [3, 3]
    assert scale.factor == 3
    assert scale.state_dict() == {}


def test_a_name_that_is_missing_is_said(student):
    with pytest.raises(StudentError, match="not defined"):
        student.nothing()


ENDINGS = {
    "end": "exit code 3",
    "loop": "CPU time",
    "sleep": "without computing",
    "hoard": "memory",
    "storm": "processes",
    "fill": "File too large",
    "garbage": "Survived|NoAnswer",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_must_not_go_on_is_ended_and_the_next_check_works(session, name):
    with session.check_process() as process, pytest.raises(StudentError, match=ENDINGS[name]):  # noqa: PT012
        student = Student(process, seed=1, cpu_seconds=2 if name == "loop" else 20)
        student.call(name)
        student.double(1)
        raise StudentError("Survived", "")
    with session.check_process() as process:
        assert Student(process, seed=1, cpu_seconds=2).double(2) == 4


def test_nothing_is_left_running():
    def children() -> set[int]:
        return {process.pid for process in psutil.Process().children(recursive=True)}

    others = children()
    with (
        Session([Cell("answers", "exercise", ANSWERS)], LIMITS) as session,
        session.check_process() as process,
        pytest.raises(StudentError),
    ):
        Student(process, seed=1, cpu_seconds=2).storm()
    # What was killed is gone when the kernel comes to it.
    deadline = time.monotonic() + 10
    while not children() <= others and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children() <= others


def test_output_is_thrown_away(student):
    assert student.flood() == "done"


def test_there_is_no_network(student):
    with pytest.raises(StudentError, match=r"refused|unreachable|Errno"):
        student.connect(80)


HIDDEN = [PACKAGE / "topics", PACKAGE / "judge", REPOSITORY / "course", "/home", "/usr/share"]


@pytest.mark.parametrize("path", [str(path) for path in HIDDEN])
def test_what_students_must_not_see_is_not_there(student, path):
    with pytest.raises(StudentError, match="No such file"):
        student.listing(path)


def test_only_the_sandbox_part_of_the_autograder_is_there(student):
    assert sorted(student.listing(str(PACKAGE))) == ["__init__.py", "sandbox"]


@pytest.mark.parametrize("path", ["/usr/lib/x", data.__file__, "/etc/x"])
def test_the_system_is_read_only(student, path):
    with pytest.raises(StudentError, match=r"OSError|PermissionError"):
        student.write(path)


def test_the_environment_tells_nothing(student):
    environment = student.environment()
    assert "COURSE_FASHION_MNIST" not in environment
    # Where the course's modules are imported from is no secret: they are there.
    told = [name for name, value in environment.items() if str(REPOSITORY) in value]
    assert told in ([], ["PYTHONPATH"])


def test_nothing_in_memory_is_kept_between_checks(session):
    for _ in range(2):
        with session.check_process() as process:
            student = Student(process, seed=1, cpu_seconds=2)
            assert student.count() == 1


def run(*sources: str) -> Session:
    cells = [
        Cell(f"cell{i}", "exercise", textwrap.dedent(source)) for i, source in enumerate(sources)
    ]
    return Session(cells, LIMITS)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os._exit(5)", "exit code 5"),
        ("while True: pass", "CPU time"),
        ("raise SystemExit", "SystemExit"),
        ("import time; time.sleep(100)", "without computing"),
        ("x = undefined", "NameError"),
    ],
)
def test_a_cell_that_ends_everything_costs_only_itself(source, reason):
    with run("def f(): return 1", source, "def g(): return 2") as session:
        with session.check_process() as process:
            student = Student(process, seed=1, cpu_seconds=2)
            assert (student.f(), student.g()) == (1, 2)
        assert reason in session.cell_errors["cell1"]


def test_a_submission_has_an_end():
    limits = LIMITS.model_copy(update={"submission_wall_seconds": -1.0})
    with (
        Session([Cell("answers", "exercise", ANSWERS)], limits) as session,
        session.check_process() as process,
        pytest.raises(StudentError, match="used up"),
    ):
        Student(process, seed=1, cpu_seconds=2).double(2)


def test_a_check_that_calls_nothing_starts_nothing():
    zygote = Zygote()
    with Session([Cell("answers", "exercise", ANSWERS)], LIMITS, zygote=zygote) as session:
        with session.check_process():
            pass
        assert not zygote.processes()


def test_cells_that_cannot_be_run_are_tried_once_for_a_check(monkeypatch):
    tried = []

    def stopped(self):
        tried.append(self)
        raise SandboxStopped("the notebook's cells could not be run")

    monkeypatch.setattr(Session, "_run_cells", stopped)
    with run("def f(): return 1") as session, session.check_process() as process:
        student = Student(process, seed=1, cpu_seconds=2)
        for _ in range(2):
            with pytest.raises(StudentError, match="could not be run"):
                student.f()
    assert len(tried) == 1


def test_time_between_checks_does_not_count():
    limits = LIMITS.model_copy(update={"submission_wall_seconds": 5.0})
    with Session([Cell("answers", "exercise", ANSWERS)], limits) as session:
        for pause in (5.5, 0.0):
            with session.check_process() as process:
                assert Student(process, seed=1, cpu_seconds=2).double(2) == 4
            time.sleep(pause)


def test_bytes_that_only_trickle_have_an_end():
    limits = LIMITS.model_copy(update={"submission_wall_seconds": 6.0})
    with (
        Session([Cell("answers", "exercise", ANSWERS)], limits) as session,
        session.check_process() as process,
        pytest.raises(StudentError, match=r"used up the time|without computing"),
    ):
        Student(process, seed=1, cpu_seconds=20).trickle()


KEYRING = """
import ctypes

def read(name):
    call = ctypes.CDLL(None).syscall
    key = call(250, 10, -3, b"user", name.encode(), 0)
    into = ctypes.create_string_buffer(32)
    size = call(250, 11, key, into, 32) if key > 0 else 0
    return into.raw[:max(size, 0)].decode()

def write(name, text):
    return ctypes.CDLL(None).syscall(248, b"user", name.encode(), text.encode(), len(text), -3)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls")
def test_two_sandboxes_share_no_keyring():
    call = ctypes.CDLL(None).syscall
    if call(250, 1, None) < 0 or call(248, b"user", b"login", b"secret", 6, -3) < 0:
        pytest.skip("this machine has no keyrings")
    cells = [Cell("keyring", "exercise", KEYRING)]
    with Session(cells) as first, first.check_process() as process:
        ring = Student(process, seed=0, cpu_seconds=5)
        assert ring.read("login") == ""
        ring.write("weights", "9,000 bytes")
        assert ring.read("weights") == "9,000 bytes"
        with Session(cells) as second, second.check_process() as other:
            assert Student(other, seed=0, cpu_seconds=5).read("weights") == ""
