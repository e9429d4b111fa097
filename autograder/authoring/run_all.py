"""Run All of a notebook in a real kernel: how long it takes, how much memory, and what fails."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import dataclass, field

import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from autograder import settings
from autograder.authoring.build import complete_notebook, student_notebook
from autograder.authoring.source import load_source
from course_utils.storage import FOLDER_VARIABLE

LOOK_SECONDS = 0.1
SLOWEST = 8


@dataclass(frozen=True)
class CellRun:
    """One code cell that was run.

    Attributes:
        name: the cell's id.
        kind: kind of the cell in the source, such as check; `opening` for what is in no source.
        seconds: wall time.
        cpu_seconds: CPU time of the kernel meanwhile.
        error: name of the exception that it raised; empty when there was none.
        message: text of the exception.
    """

    name: str
    kind: str
    seconds: float
    cpu_seconds: float
    error: str = ""
    message: str = ""


@dataclass
class NotebookRun:
    """One Run All.

    Attributes:
        notebook: the notebook with its outputs.
        cells: every code cell, in order.
        seconds: wall time, without the kernel's start.
        cpu_seconds: CPU time of the kernel and its children.
        peak_memory: most memory in use by them, in bytes.
    """

    notebook: NotebookNode
    cells: list[CellRun] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0

    @property
    def failed(self) -> list[CellRun]:
        """The cells that raised something."""
        return [cell for cell in self.cells if cell.error]

    def slowest(self, kind: str) -> list[CellRun]:
        """Return the slowest cells of a kind, the slowest first."""
        chosen = [cell for cell in self.cells if cell.kind == kind]
        return sorted(chosen, key=lambda cell: -cell.seconds)[:SLOWEST]


def run_all(topic: str, *, finished: bool = True, experiments: bool = True) -> NotebookRun:
    """Run a topic's notebook from top to bottom, past cells that fail, with nothing remembered.

    Args:
        topic: name of the topic.
        finished: with the reference solutions; else as students get it.
        experiments: run all of them; else only the first, which loads what checks need.
    """
    source = load_source(topic)
    notebook = complete_notebook(topic) if finished else student_notebook(source)
    kinds = {cell.name: cell.kind for cell in source.cells}
    skipped = () if experiments else [cell.name for cell in source.of_kind("experiment")][1:]
    run = NotebookRun(notebook)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(settings.NOTEBOOKS)}},
    )
    with (
        tempfile.TemporaryDirectory(prefix="autograder-") as folder,
        client.setup_kernel(env={**os.environ, FOLDER_VARIABLE: folder}),
    ):
        kernel = psutil.Process(client.km.provisioner.pid)
        with _Watch(kernel) as watch:
            started = time.perf_counter()
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code" and cell.id not in skipped:
                    run.cells.append(
                        _run_cell(client, kernel, cell, index, kinds.get(cell.id, "opening"))
                    )
            run.seconds = time.perf_counter() - started
        run.cpu_seconds, run.peak_memory = watch.cpu_seconds, watch.peak_memory
    return run


def _run_cell(
    client: NotebookClient, kernel: psutil.Process, cell: NotebookNode, index: int, kind: str
) -> CellRun:
    started, used = time.perf_counter(), _cpu_seconds(kernel)
    error = message = ""
    try:
        client.execute_cell(cell, index)
    except CellExecutionError as problem:
        error, message = problem.ename, problem.evalue
    for output in cell.outputs:
        # A cell that may fail does not stop the run, and tells so in its output only.
        if output.output_type == "error":
            error, message = output.ename, output.evalue
    seconds, used = time.perf_counter() - started, _cpu_seconds(kernel) - used
    return CellRun(cell.id, kind, seconds, used, error, message)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


class _Watch:
    """Looks at a process and its children until the block ends."""

    def __init__(self, process: psutil.Process) -> None:
        self.cpu_seconds = 0.0
        self.peak_memory = 0
        self._process = process
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        ended = False
        while not ended:
            ended = self._end.wait(LOOK_SECONDS)
            memory, seconds = 0, 0.0
            for process in [self._process, *self._process.children(recursive=True)]:
                try:
                    memory += process.memory_info().rss
                    seconds += _cpu_seconds(process)
                except psutil.NoSuchProcess:
                    continue
            self.peak_memory = max(self.peak_memory, memory)
            self.cpu_seconds = max(self.cpu_seconds, seconds)
