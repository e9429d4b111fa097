"""JupyterLab as `make lab` starts it, driven by clicks and keys in a headless Chromium.

One server for all tests, in a folder of its own with copies of the notebooks. What a failed test
saw is kept in build/screenshots.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode

from autograder.authoring.build import complete_notebook, student_notebook
from autograder.authoring.source import load_source
from autograder.exam.export_html import BROWSERS
from autograder.settings import NOTEBOOKS, REPOSITORY

BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
TOKEN = "for-this-test-only"
# Generous: a busy machine must not fail a test.
SECONDS = 180
RUN_ALL_SECONDS = 900
FAILED = pytest.StashKey[bool]()

# Times in milliseconds from a key or a choice in an explorer until its new picture is decoded.
WATCH = """
(explorer) => {
  const picture = explorer.querySelector(".widget-html-content");
  window.begun = 0;
  window.took = [];
  for (const kind of ["keydown", "change"])
    explorer.addEventListener(kind, () => { window.begun = performance.now(); }, true);
  new MutationObserver(async () => {
    // A copy: what is scrolled out of sight is not decoded.
    const copy = new Image();
    copy.src = picture.querySelector("img").src;
    await copy.decode();
    window.took.push(performance.now() - window.begun);
  }).observe(picture, {childList: true});
}
"""
LABEL = """
(control) => {
  const widget = control.closest(".widget-inline-hbox");
  return (widget.querySelector(".widget-label:not(:empty)") || widget).textContent.trim();
}
"""
STILL = """
() => {
  const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")];
  return prompts.length && !prompts.some(prompt => prompt.textContent.includes("*"));
}
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    marks = [
        pytest.mark.browser,
        pytest.mark.timeout(2 * RUN_ALL_SECONDS),
        pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt install chromium"),
        # Handles of the browser's driver are closed when the interpreter ends.
        pytest.mark.filterwarnings("ignore::ResourceWarning"),
        pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    ]
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for mark in marks:
                item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let fixtures know whether their test failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@dataclass(frozen=True)
class Follow:
    """How fast a picture followed a control: the least of some moves.

    Attributes:
        seconds: wall time, measured in the page: from the key to the decoded picture.
        cpu_seconds: CPU time of the kernel.
    """

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab.

    Attributes:
        address: where it answers.
        folder: its root folder.
        process: the server.
    """

    address: str
    folder: Path
    process: psutil.Process

    def url(self, path: str) -> str:
        """Return the full address of a path, with the token."""
        return f"{self.address}/{path}{'&' if '?' in path else '?'}token={TOKEN}"

    def kernel_cpu_seconds(self) -> float:
        """Return the CPU time that all kernels have used."""
        kernels = self.process.children(recursive=True)
        return sum(sum(kernel.cpu_times()[:2]) for kernel in kernels)

    def kernel_peak_memory(self) -> int:
        """Return the most memory that all kernels have had, in bytes."""
        kernels = self.process.children(recursive=True)
        texts = [Path(f"/proc/{kernel.pid}/status").read_text() for kernel in kernels]
        return sum(int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) * 1024 for text in texts)

    def end_kernels(self) -> None:
        """End every kernel: each holds up to a gigabyte."""
        with urllib.request.urlopen(self.url("api/sessions")) as answer:
            sessions = json.load(answer)
        for session in sessions:
            address = self.url(f"api/sessions/{session['id']}")
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE")).close()


@dataclass
class Desk:
    """One open page of JupyterLab, and what a person does there."""

    page: Any
    lab: Lab
    path: Path = Path()
    ids: list[str] = field(default_factory=list)

    def open_topic(self, topic: str, *, finished: bool = False) -> None:
        """Open a fresh copy of a topic's notebook: as students get it, or with all answers."""
        source = load_source(topic)
        notebook = complete_notebook(topic) if finished else student_notebook(source)
        name = f"{'finished' if finished else 'untouched'}/{source.notebook_name}.ipynb"
        (self.lab.folder / name).parent.mkdir(exist_ok=True)
        nbformat.write(notebook, self.lab.folder / name)
        self.open(name)

    def open(self, path: str) -> None:
        """Open a notebook by its path below the server's folder, and wait for its kernel."""
        self.path = self.lab.folder / path
        self.ids = [cell.id for cell in nbformat.read(self.path, as_version=4).cells]
        self.page.goto(self.lab.url(f"lab/tree/{path}?reset"))
        # Before the kernel is there, Run All does nothing at all.
        self.page.get_by_text("| Idle").wait_for()
        # JupyterLab adds the cells one by one.
        cells = "count => document.querySelectorAll('.jp-Notebook .jp-Cell').length == count"
        self.page.wait_for_function(cells, arg=len(self.ids))

    def cell(self, name: str) -> Any:
        """Return the cell with an id, scrolled into view."""
        found = self.page.locator(".jp-Notebook .jp-Cell").nth(self.ids.index(name))
        found.scroll_into_view_if_needed()
        return found

    def outputs(self, name: str) -> Any:
        """Return the outputs of a cell."""
        return self.cell(name).locator(".jp-Cell-outputArea")

    def menu(self, *names: str) -> None:
        """Choose an entry of the menus."""
        for name in names:
            self.page.get_by_role("menuitem", name=name, exact=True).click()

    def run_all(self) -> NotebookNode:
        """Run all cells by the menu, and return the notebook as it is then saved."""
        self.page.locator(".jp-Notebook .jp-Cell").first.click()
        self.menu("Run", "Run All Cells")
        # The file tells: a folded cell, and one out of sight, shows no number on the page.
        deadline = time.monotonic() + RUN_ALL_SECONDS
        while time.monotonic() < deadline:
            notebook = self.wait_and_save()
            if all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code"):
                return notebook
            self.page.wait_for_timeout(1000)
        raise TimeoutError(f"not every cell was run within {RUN_ALL_SECONDS} s")

    def wait_and_save(self) -> NotebookNode:
        """Wait until no cell runs, save by the keyboard, and return the saved notebook."""
        self.page.wait_for_function(STILL, timeout=RUN_ALL_SECONDS * 1000, polling=300)
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        deadline = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < deadline, "the notebook was not saved"
            # JupyterLab empties the file before it writes.
            with contextlib.suppress(ValueError):
                if self.path.stat().st_mtime_ns != before:
                    return nbformat.read(self.path, as_version=4)
            self.page.wait_for_timeout(100)

    def type_and_run(self, name: str, text: str) -> None:
        """Type a text into a cell in place of what is there, and run it and the check below."""
        self.cell(name).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Shift+Enter")
        self.page.keyboard.press("Shift+Enter")

    def explorer(self, name: str) -> Any:
        """Return the explorer that a cell shows: controls above a picture."""
        found = self.cell(name).locator(".widget-vbox", has=self.page.locator("img"))
        found.wait_for()
        return found

    def follow(self, explorer: Any, times: int = 5) -> dict[str, Follow]:
        """Move each control, sliders by the keyboard; return how the picture follows."""
        explorer.scroll_into_view_if_needed()
        explorer.evaluate(WATCH)
        found = {}
        for control in explorer.locator(".noUi-handle, select, input[type=checkbox]").all():
            control.focus()
            moves = [self._move(control, back=number % 2 == 1) for number in range(times)]
            label = control.evaluate(LABEL)
            found[label] = Follow(
                min(move.seconds for move in moves), min(move.cpu_seconds for move in moves)
            )
        return found

    def _move(self, control: Any, *, back: bool) -> Follow:
        pictures = self.page.evaluate("took.length")
        used = self.lab.kernel_cpu_seconds()
        if control.evaluate("control => control.type") == "checkbox":
            control.press("Space")
        elif control.evaluate("control => control.tagName") == "SELECT":
            # In command mode JupyterLab keeps the arrows up and down for its cells.
            control.select_option(index=0 if back else 1)
        else:
            control.press("ArrowLeft" if back else "ArrowRight")
        self.page.wait_for_function("count => took.length > count", arg=pictures)
        seconds = self.page.evaluate("took.at(-1)") / 1000
        return Follow(seconds, self.lab.kernel_cpu_seconds() - used)


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder that JupyterLab opens."""
    folder = tmp_path_factory.mktemp("lab") / "course"
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(REPOSITORY / "lab_settings", folder / "lab_settings")
    shutil.copy(REPOSITORY / "nbgrader_config.py", folder)
    return folder


@pytest.fixture(scope="session")
def lab(lab_folder: Path) -> Iterator[Lab]:
    """Start JupyterLab with the very options of `make lab`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", *options_of_make_lab(), "--no-browser",
        f"--port={port}", "--allow-root", f"--IdentityProvider.token={TOKEN}",
    ]  # fmt: skip
    home = lab_folder.parent / "home"
    home.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")
    } | {
        "HOME": str(home),
        "EXAM_PRACTICE_FOLDER": str(home / "exam_practice"),
        "PYTHONPATH": str(REPOSITORY),
        "AUTOGRADER_COURSE": str(lab_folder / "course"),
    }
    with (lab_folder.parent / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=lab_folder, env=environment, stdout=log, stderr=log)
        try:
            made = Lab(f"http://127.0.0.1:{port}", lab_folder, psutil.Process(server.pid))
            _wait_for(made.url("api"), server)
            yield made
            made.end_kernels()
        finally:
            server.terminate()
            server.wait(30)


def options_of_make_lab() -> list[str]:
    """Return what the Makefile's target `lab` gives to JupyterLab."""
    said = subprocess.run(
        ["make", "--no-print-directory", "-n", "lab"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    program, lab, *options = shlex.split(said.stdout.splitlines()[-1])
    assert program.endswith("jupyter")
    assert lab == "lab"
    return options


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"JupyterLab does not answer at {address}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium, for one file of tests: its driver keeps an event loop to itself."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def desk(lab: Lab, browser: Any, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Give a fresh page; keep a screenshot and the console's log when the test fails."""
    page = browser.new_page(viewport={"width": 1300, "height": 1100})
    page.set_default_timeout(SECONDS * 1000)
    console: list[str] = []
    page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: console.append(f"exception: {error}"))
    yield Desk(page, lab)
    if request.node.stash.get(FAILED, False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^\w.-]+", "_", request.node.name)
        page.screenshot(path=SCREENSHOTS / f"{stem}.png")
        (SCREENSHOTS / f"{stem}.log").write_text("\n".join(console), encoding="utf-8")
    page.close()
    lab.end_kernels()
