"""The pytest plug-in: runs a topic's checks on one submission, each in a process of its own.

`pytest autograder/topics/network_pruning --submission FILE.ipynb` checks a file; without the
option the reference solutions are checked, in the same sandbox and the same way.
"""

from __future__ import annotations

import hashlib
import inspect
import tomllib
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from autograder import settings
from autograder.judge.verdict import CheckVerdict
from autograder.settings import Limits

if TYPE_CHECKING:
    import torch

    from autograder.judge.student import Student
    from autograder.sandbox.cells import Cell
    from autograder.sandbox.session import Session

WRITTEN_BY_STUDENTS = ("exercise", "added")
NOT_RUN = "not run, because the first check of this exercise failed"
JUDGING = pytest.StashKey["Judging"]()


@dataclass
class Judging:
    """The judging of one submission of one topic: where it runs, and the outcomes so far.

    Attributes:
        topic: name of the topic.
        session: the submission in its sandbox.
        cells: the code cells of the rebuilt notebook.
        seed: what the checks' random inputs are made from.
        limits: what the submission may use.
        unsafe: run without walls.
        exercises: names, as the notebook has them in order; so are their checks.
        only: run the checks of this exercise alone.
        checks: run the checks of these names alone, and the gates.
        outcomes: by exercise, what its checks said.
        review: what a person should look at.
        board: figures for the class leaderboard, by name.
        broken: why the sandbox did not start; empty when it did.
        killed: a process was killed, and perhaps not by the submission; see `Session`.
    """

    topic: str
    session: Session
    cells: list[Cell]
    seed: int
    limits: Limits = field(default_factory=Limits)
    exercises: list[str] = field(default_factory=list)
    only: str | None = None
    checks: Collection[str] | None = None
    outcomes: dict[str, list[CheckVerdict]] = field(default_factory=dict)
    review: list[str] = field(default_factory=list)
    board: dict[str, float] = field(default_factory=dict)
    unsafe: bool = False
    broken: str = ""
    killed: bool = False

    def gate_failed(self, exercise: str) -> bool:
        """Tell whether the exercise's gate has failed already."""
        return any(c.gate and not c.passed for c in self.outcomes.get(exercise, ()))

    def check_seed(self, name: str) -> int:
        """Return the seed of one check: the same for the same answers, and not to be guessed."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big")

    def generator(self, name: str) -> torch.Generator:
        """Return the random numbers of one check.

        The seed of the student's own random numbers goes into the sandbox, and this is another.
        """
        import torch

        return torch.Generator().manual_seed(self.check_seed(f"{name} inputs"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the judge."""
    group = parser.getgroup("autograder")
    group.addoption("--submission", type=Path, help="the notebook to check (else the reference)")
    group.addoption("--submission-seed", type=int, help="seed of the checks' random inputs")
    group.addoption(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run code that you wrote yourself without the sandbox",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that makes a test a check."""
    config.addinivalue_line("markers", "check(exercise, gate, ...): a hidden check")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run an exercise's gates before its other checks, and exercises as the notebook has them."""
    judging = config.stash.get(JUDGING, None)
    items.sort(key=lambda item: not _is_gate(item))
    if judging is not None:
        items[:] = [item for item in items if _is_wanted(item, judging)]
        places = {name: place for place, name in enumerate(judging.exercises)}
        items.sort(key=lambda item: places.get(_exercise(item), len(places)))


def _is_wanted(item: pytest.Item, judging: Judging) -> bool:
    if judging.only is not None and _exercise(item) != judging.only:
        return False
    return judging.checks is None or _is_gate(item) or item.name in judging.checks


def _exercise(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker("check")
    return None if mark is None else str(mark.args[0])


def _is_gate(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("check")
    return mark is not None and bool(mark.kwargs["gate"])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the checks of an exercise whose gate has failed: they cannot earn anything."""
    mark = item.get_closest_marker("check")
    judging = item.config.stash.get(JUDGING, None)
    if mark is not None and judging is not None and judging.gate_failed(mark.args[0]):
        pytest.skip(NOT_RUN)
    if mark is not None and judging is not None:
        from autograder.judge.by_reference import forget_changes
        from autograder.sandbox.seeding import seed_everything

        forget_changes()
        # Where the judge's own code draws from these, what ran before must not decide.
        seed_everything(judging.check_seed(f"{item.name} judge"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note the outcome of a check, with the message for the student."""
    report = yield
    mark = item.get_closest_marker("check")
    judging = item.config.stash.get(JUDGING, None)
    if mark is None or judging is None:
        return report
    setup_failed = call.when == "setup" and call.excinfo is not None
    if call.when == "call" or setup_failed:
        from autograder.judge.explain import explain
        from autograder.sandbox.zygote import SandboxBroken

        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, SandboxBroken):
            judging.broken = str(error)
        student = item.funcargs.get("student")
        message, mistake, review = explain(
            error, student, judging.topic, mark.args[0], item.name, _rehearsal(item, judging)
        )
        if review:
            judging.review.append(f"{item.name}: {message}")
        outcome = CheckVerdict(
            name=item.name,
            passed=error is None,
            weight=mark.kwargs["weight"],
            gate=mark.kwargs["gate"],
            message=message,
            mistake=mistake,
            seconds=round(call.duration, 3),
        )
        judging.outcomes.setdefault(mark.args[0], []).append(outcome)
    return report


def _rehearsal(item: pytest.Item, judging: Judging) -> Any:
    """Return what runs this check on a known mistake, with the same inputs."""
    from autograder.judge.rehearsal import rehearse
    from autograder.sandbox.seeding import seed_everything

    names = [name for name in inspect.signature(item.obj).parameters if name in item.funcargs]
    seed = judging.check_seed(item.name)

    def run(mistake: Any) -> BaseException | None:
        seed_everything(judging.check_seed(f"{item.name} judge"))
        arguments = {name: item.funcargs[name] for name in names}
        if "rng" in arguments:
            arguments["rng"] = judging.generator(item.name)
        return rehearse(item.obj, arguments, mistake, judging.topic, seed)

    return run


def _topic_of(path: Path) -> str:
    return path.relative_to(settings.TOPICS).parts[0]


@pytest.fixture(scope="session")
def _judgings(request: pytest.FixtureRequest) -> Iterator[dict[str, Judging]]:
    """The judgings of this run by topic, ended with it."""
    judgings: dict[str, Judging] = {}
    yield judgings
    for judging in judgings.values():
        judging.session.close()


@pytest.fixture
def _judging(request: pytest.FixtureRequest, _judgings: dict[str, Judging]) -> Judging:
    given = request.config.stash.get(JUDGING, None)
    if given is not None:
        return given
    topic = _topic_of(request.node.path)
    if topic not in _judgings:
        from autograder.judge.judge import open_judging

        option = request.config.getoption
        _judgings[topic] = open_judging(
            topic,
            option("--submission"),
            unsafe=option("--unsafe-no-sandbox"),
            seed=option("--submission-seed"),
        )
    return _judgings[topic]


@pytest.fixture
def student(request: pytest.FixtureRequest, _judging: Judging) -> Iterator[Student]:
    """The student's functions and classes, called in a fresh process of the sandbox."""
    yield from _student(request, _judging, _judging.session)


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, _judging: Judging) -> Iterator[Student]:
    """The same answers in a second sandbox, with no course data: only arguments get there."""
    from autograder.sandbox.session import Session

    session = Session(_judging.cells, _judging.limits, unsafe=_judging.unsafe, course_data=False)
    with session:
        yield from _student(request, _judging, session)


def _student(
    request: pytest.FixtureRequest, judging: Judging, session: Session
) -> Iterator[Student]:
    from autograder.judge.student import Student, StudentError
    from autograder.sandbox.session import SandboxStopped

    mark = request.node.get_closest_marker("check")
    seconds = (mark and mark.kwargs["timeout"]) or judging.limits.check_cpu_seconds
    try:
        with session.check_process(seconds) as process:
            in_place = bool(mark and mark.kwargs["in_place"])
            yield Student(process, judging.check_seed(request.node.name), seconds, in_place)
    except SandboxStopped as stop:
        raise StudentError("NoAnswer", str(stop)) from None
    finally:
        judging.killed |= session.killed


@pytest.fixture
def code_bytes(_judging: Judging) -> int:
    """Bytes of the zlib-compressed text of the answers and the added cells.

    A decoder counts as part of what it decodes: else weights could hide in the code.
    """
    written = [cell.source for cell in _judging.cells if cell.origin in WRITTEN_BY_STUDENTS]
    # No cell can hold a zero byte, so where cells end is counted too.
    return len(zlib.compress("\0".join(written).encode(), level=9))


@pytest.fixture
def board(_judging: Judging) -> Callable[[str, float], None]:
    """Note a figure for the class leaderboard: `board(name, value)`, smaller is better."""
    return _judging.board.__setitem__


@pytest.fixture
def rng(request: pytest.FixtureRequest, _judging: Judging) -> torch.Generator:
    """Random numbers for this check, different for every submission."""
    return _judging.generator(request.node.name)


@pytest.fixture
def reference(_judging: Judging) -> SimpleNamespace:
    """The reference solutions of the topic, run in this process."""
    from autograder.authoring.reference import load_reference

    return load_reference(_judging.topic)


@pytest.fixture
def expected(_judging: Judging) -> SimpleNamespace:
    """The topic's expected.toml: every measured figure with `value`, `low` and `high`."""
    return load_expected(_judging.topic)


@pytest.fixture(scope="session")
def course() -> Any:
    """The course's data and checkpoints, the hidden grading images included."""
    from autograder.judge.course import Course

    return Course()


def load_expected(topic: str) -> SimpleNamespace:
    """Return the measured figures of a topic; without the file there are none."""
    path = settings.TOPICS / topic / "expected.toml"
    table = tomllib.loads(path.read_text()) if path.exists() else {}
    figures = table.get("figures", {})
    return SimpleNamespace(**{name: SimpleNamespace(**figure) for name, figure in figures.items()})
