"""A short mock exam in a real browser, in JupyterLab, with a kernel restart in the middle.

It needs the package playwright and a Chromium-like browser of the system.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autograder.exam.build import NOTEBOOK
from autograder.exam.export_html import BROWSERS
from autograder.settings import REPOSITORY
from course_utils.exam.items import Bank

BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
TOKEN = "for-this-test-only"
SECONDS = 180

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser"),
    # Handles of the browser's driver are closed when the interpreter ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, folder / "notebooks")
    return folder


@pytest.fixture(scope="module")
def lab(place: Path) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    own = {
        name: str(place / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
                     "JUPYTERLAB_WORKSPACES_DIR")
    }  # fmt: skip
    environment = {
        **os.environ,
        **own,
        "EXAM_PRACTICE_FOLDER": str(place / "kept"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={place / 'notebooks'}",
        "--LabApp.news_url=None",
    ]  # fmt: skip
    with (place / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(f"{address}/api?token={TOKEN}")
            yield address
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(address)


@pytest.fixture
def page(lab: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        page = browser.new_page(viewport={"width": 1300, "height": 1100})
        page.set_default_timeout(SECONDS * 1000)
        page.goto(f"{lab}/lab/tree/{NOTEBOOK.name}?token={TOKEN}&reset")
        yield page
        browser.close()


def run_all(page: Any) -> None:
    # Before the kernel is there, Run All does nothing at all.
    page.get_by_text("| Idle").wait_for()
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def output(page: Any) -> Any:
    return page.locator(".jp-OutputArea-output").last


def answer(page: Any, bank: Bank, question: list[Any], right: bool) -> None:
    """Answer the question that is shown, with the keyboard."""
    item = bank.item(*question)
    key, shown = item.key, output(page)
    if item.question.is_number:
        numbers = key if isinstance(key, list) else [key]
        typed = ", ".join(f"{number:.10g}" for number in numbers) if right else "987654"
        shown.locator("input[type=text]:visible").fill(typed)
        page.keyboard.press("Tab")
    elif item.question.kind == "several":
        order = item.order("9")
        for number in key if right else key[:1]:
            shown.locator("input[type=checkbox]:visible").nth(order.index(number)).press("Space")
    elif item.question.kind in ("ordering", "matching"):
        order = item.order("9")
        menus = shown.locator(
            ".widget-vbox .widget-vbox .widget-vbox .widget-dropdown select:visible"
        )
        for place, number in enumerate(key):
            # The first entry stands for no answer.
            menus.nth(place).select_option(index=1 + order.index(number if right else key[0]))
    else:
        order = item.order("9")
        place = order.index(key)
        shown.locator("input[type=radio]:visible").nth(place if right else place - 1).check()


def test_a_mock_exam_with_a_restart_shows_mark_and_chart(
    page: Any, place: Path, bank: Bank
) -> None:
    file = place / "kept" / "mock_exam.json"
    run_all(page)
    shown = output(page)
    shown.get_by_role("tab", name="Mock exam").click()
    shown.get_by_label("Length").select_option("15 min")
    shown.get_by_label("Seed").fill("9")
    shown.get_by_role("button", name="Start a new exam").click()
    shown.get_by_text("Question 1 of").wait_for()
    state = json.loads(file.read_text(encoding="utf-8"))
    questions = state["questions"]
    answer(page, bank, questions[0], right=True)
    shown.get_by_text(f"· 1/{len(questions)}").wait_for()
    shown.get_by_role("button", name="Next", exact=True).press("Enter")
    shown.get_by_text("Question 2 of").wait_for()

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel and Run All Cells…").click()
    page.locator(".jp-Dialog button.jp-mod-warn").click()
    # The new output stands in another tab at first, so it is there and not yet visible.
    page.get_by_text("Paused. The time stands still.").wait_for(state="attached")
    shown = output(page)
    shown.get_by_role("tab", name="Mock exam").click()
    shown.get_by_role("button", name="Go on").click()
    shown.get_by_text("Question 2 of").wait_for()
    shown.get_by_text(f"· 1/{len(questions)}").wait_for()
    shown.get_by_role("button", name="中文").click()
    shown.get_by_text("第 2 題").wait_for()
    shown.get_by_role("button", name="English").click()

    for number in range(1, len(questions)):
        shown.get_by_text(f"Question {number + 1} of").wait_for()
        answer(page, bank, questions[number], right=number % 2 == 0)
        shown.get_by_text(f"· {number + 1}/{len(questions)}").wait_for()
        if number + 1 < len(questions):
            shown.get_by_role("button", name="Next", exact=True).click()
    assert shown.get_by_text("Right answer").count() == 0
    shown.get_by_role("button", name="Hand in").click()
    shown.get_by_text("Your mark:").wait_for()

    right = [bank.item(*q).question.minutes for n, q in enumerate(questions) if n % 2 == 0]
    most = sum(bank.item(*q).question.minutes for q in questions)
    mark = shown.get_by_text("Your mark:").inner_text()
    assert f"of {most} points" in mark
    earned = float(mark.partition("(")[2].split()[0])
    assert sum(right) <= earned < most
    chart = shown.get_by_alt_text("Bars: score of each topic, weakest at the top").first
    assert chart.evaluate("image => image.complete && image.naturalWidth") > 300
    assert shown.get_by_text("Click to show javascript error").count() == 0
    kept = (place / "kept" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(kept) == len(questions)
