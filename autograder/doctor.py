"""Says what works on this machine, and how to mend what does not."""

from __future__ import annotations

import hashlib
import importlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autograder.settings import COURSE, GRADING_DATA, REPOSITORY, topic_names

CONSTRAINTS = REPOSITORY / "constraints.txt"
DATA = REPOSITORY / "data"
KERNEL_SECONDS = 120
FREE_BYTES = 2 * 2**30
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11, 5), (3, 13)
INSTALL = "run `pip install -e '.[dev]' -c constraints.txt` (or `make doctor`) in the repository"


class Broken(Exception):
    """A thing does not work; `mend` says what to do about it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.mend = mend


@dataclass(frozen=True)
class Finding:
    """What was found about one thing: whether it works, a detail, and how to mend it."""

    name: str
    works: bool
    detail: str
    mend: str = ""
    seconds: float = 0.0


def examine() -> list[Finding]:
    """Look at everything the course and its grading need, in the order it is needed."""
    return [look(name, probe) for name, probe in PROBES.items()]


def look(name: str, probe: Callable[[], str]) -> Finding:
    """Run one probe; whatever it raises becomes a finding, so the next probe still runs."""
    started = time.perf_counter()
    try:
        detail, works, mend = probe(), True, ""
    except Broken as problem:
        detail, works, mend = str(problem), False, problem.mend
    except Exception as problem:
        detail, works, mend = f"{type(problem).__name__}: {problem}", False, INSTALL
    return Finding(name, works, detail, mend, time.perf_counter() - started)


def locked_versions(constraints: Path = CONSTRAINTS) -> dict[str, str]:
    """Return the pinned version of every package in a constraints file, names in lower case."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): pin for name, pin in pins}


def verify_checksums(folder: Path, listing: str = "SHA256SUMS") -> int:
    """Compare files with a list of SHA-256 sums, and return how many were compared.

    Args:
        folder: where the files and the list are.
        listing: name of the list; its lines are `SUM  NAME`, as `sha256sum` writes them.

    Raises:
        Broken: the list or a file is missing, or a file is not what it was.
    """
    mend = "get the file again: `git checkout -- data autograder/grading_data`"
    path = folder / listing
    if not path.is_file():
        raise Broken(f"{path.relative_to(REPOSITORY)} is missing", mend)
    entries = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
    for expected, name in entries:
        file = folder / name.strip().removeprefix("*")
        if not file.is_file():
            raise Broken(f"{file.name} is missing", mend)
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise Broken(f"{file.name} has changed since its checksum was written", mend)
    return len(entries)


def _python() -> str:
    if sys.version_info[:3] < OLDEST_PYTHON or sys.version_info[:2] > NEWEST_PYTHON:
        raise Broken(
            f"Python {sys.version.split()[0]}; the course needs 3.11.5 to 3.13",
            "remove .venv and run `make build PYTHON=python3.12`",
        )
    return f"{sys.version.split()[0]} at {sys.prefix}"


def _packages() -> str:
    pins = locked_versions()
    for name in ("torch", "torchvision", "numpy", "nbgrader", "jupyterlab", "safetensors"):
        try:
            # torch's CPU build calls itself 2.14.1+cpu: the same version for the lock.
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            raise Broken(f"{name} is not installed", INSTALL) from None
        if found != pins[name]:
            raise Broken(f"{name} is {found}, the lock says {pins[name]}", INSTALL)
    return f"torch {version('torch')}, torchvision {version('torchvision')}, as locked"


def _torch() -> str:
    torch = importlib.import_module("torch")
    importlib.import_module("torchvision")
    total = torch.ones(2, 2).matmul(torch.ones(2, 2)).sum().item()
    if total != 8:
        raise Broken(f"torch computes 8 as {total}", "install torch again")
    return "imports and computes"


def _sandbox() -> str:
    bubblewrap = importlib.import_module("autograder.sandbox.bubblewrap")
    if problem := bubblewrap.sandbox_problem():
        raise Broken(
            problem,
            "Debian, Ubuntu: `apt install bubblewrap`; Fedora: `dnf install bubblewrap`. In a "
            "container, allow user namespaces. Students need no sandbox: only grading does",
        )
    found = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=True)
    warm_start = importlib.import_module("autograder.sandbox.warm_start")
    zygote = importlib.import_module("autograder.sandbox.zygote").Zygote()
    warm_start.keep_template()
    zygote.start()
    zygote.close()
    warm_start.forget_template()
    if why := zygote.not_from_template:
        return f"{found.stdout.strip()} starts; each sandbox loads PyTorch anew ({why})"
    return f"{found.stdout.strip()} starts"


def _kernel() -> str:
    start_new_kernel = importlib.import_module("jupyter_client.manager").start_new_kernel
    manager, client = start_new_kernel(startup_timeout=KERNEL_SECONDS, kernel_name="python3")
    try:
        reply = client.execute_interactive(
            "import course_utils", timeout=KERNEL_SECONDS, output_hook=lambda message: None
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    content = reply["content"]
    if content["status"] != "ok":
        raise Broken(f"course_utils in a kernel: {content.get('evalue', 'no answer')}", INSTALL)
    return "starts and imports course_utils"


def _data() -> str:
    count = verify_checksums(DATA) + verify_checksums(GRADING_DATA)
    return f"{count} files as their checksums say"


def _checkpoints() -> str:
    checkpoints = importlib.import_module("course_utils.checkpoints")
    names = sorted(checkpoints.checkpoint_manifest())
    for name in names:
        try:
            checkpoints.load_checkpoint(name)
        except Exception as problem:
            raise Broken(
                f"{name}: {problem}",
                "get it again (`git checkout -- data/checkpoints`) or train anew: "
                "`make checkpoints`",
            ) from problem
    return ", ".join(names)


def _nbgrader() -> str:
    loader = importlib.import_module("traitlets.config.loader")
    try:
        config = loader.PyFileConfigLoader("nbgrader_config.py", path=str(REPOSITORY)).load_config()
    except Exception as problem:
        raise Broken(
            f"nbgrader_config.py: {problem}", "`git checkout -- nbgrader_config.py`"
        ) from problem
    names: list[str] = []
    for trait in ("sanitize_preprocessors", "autograde_preprocessors"):
        names += [str(name) for name in config.get("Autograde", {}).get(trait, [])]
    plugins = [name for name in names if name.startswith("autograder.")]
    if not plugins:
        raise Broken(
            "nbgrader_config.py does not name the judge's plug-ins: nbgrader would grade unsafely",
            "`git checkout -- nbgrader_config.py`",
        )
    for name in plugins:
        module, _, attribute = name.rpartition(".")
        getattr(importlib.import_module(module), attribute)
    return f"nbgrader {version('nbgrader')} loads its configuration and {len(plugins)} plug-ins"


def _extensions() -> str:
    listing = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", listing.stdout + listing.stderr)
    for name in ("@jupyter/nbgrader", "@jupyter-widgets/jupyterlab-manager"):
        line = next((line for line in text.splitlines() if name in line), "")
        if "enabled" not in line or "OK" not in line:
            raise Broken(
                f"{name} is {'not enabled' if line else 'not installed'}",
                f"`jupyter labextension enable {name}`, or install again",
            )
    return "nbgrader and widgets are enabled in JupyterLab"


def _topics() -> str:
    names = topic_names()
    if not names:
        raise Broken("no topic has a notebook.py", "`git checkout -- autograder/topics`")
    return ", ".join(names)


def _disk() -> str:
    place = COURSE if COURSE.exists() else REPOSITORY
    free = shutil.disk_usage(place).free
    if free < FREE_BYTES:
        raise Broken(
            f"{free / 2**30:.1f} GiB free; a class needs {FREE_BYTES / 2**30:.0f}",
            "make room, or move the repository",
        )
    return f"{free / 2**30:.0f} GiB free"


PROBES: dict[str, Callable[[], str]] = {
    "Python": _python,
    "packages": _packages,
    "torch": _torch,
    "sandbox": _sandbox,
    "Jupyter kernel": _kernel,
    "data": _data,
    "checkpoints": _checkpoints,
    "topics": _topics,
    "nbgrader": _nbgrader,
    "JupyterLab": _extensions,
    "disk": _disk,
}
