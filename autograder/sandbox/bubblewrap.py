"""The walls: the bubblewrap command line that student code runs behind.

Every namespace is unshared: no network, no other process in sight, a file system that holds only
the Python installation, `course_utils`, `data/` and this folder, all read-only and where they are
outside. The work folder and /tmp are empty, private, and limited in size.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from functools import cache
from pathlib import Path

import course_utils
from autograder.sandbox.system_calls import filter_descriptor, filter_program
from autograder.settings import PACKAGE, Limits

# A name that no machine uses already, so that it hides nothing.
WORK = "/sandbox/work"
SYSTEM = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/bin",
    "/etc/ld.so.cache",
    "/etc/alternatives",
)
SYSTEM_LINKS = ("/lib", "/lib32", "/lib64", "/bin")
UNSAFE_SWITCH = "--unsafe-no-sandbox"
COURSE_UTILS = Path(course_utils.__file__).parent
# Nothing that is imported is garbage: looking for some takes an eighth of the time of starting.
PROGRAM = (
    "import gc, sys; gc.disable(); "
    "from autograder.sandbox.{module} import main; main(int(sys.argv[1]))"
)
# Keeps the walls up until its input ends; it says back what it hears, so it can be waited for.
HOLDER = ["/usr/bin/env", "cat"]


class SandboxUnavailable(RuntimeError):
    """There is no working sandbox here; the text says how to get one."""


@cache
def sandbox_problem() -> str:
    """Say why the sandbox does not work here; empty when it does."""
    if sys.platform != "linux":
        return f"grading needs Linux, this is {sys.platform}"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap)"
    with filter_descriptor() as calls:
        trial = [*_walls(Limits(), True, calls), "/usr/bin/env", "true"]
        result = subprocess.run(
            trial, capture_output=True, text=True, check=False, pass_fds=[calls]
        )
    if result.returncode != 0:
        return (
            f"bubblewrap does not start: {result.stderr.strip()[:300]} "
            "(does the kernel allow user namespaces? see `sysctl user.max_user_namespaces`)"
        )
    return ""


def require_sandbox() -> None:
    """Make sure that the sandbox works.

    Raises:
        SandboxUnavailable: it does not.
    """
    problem = sandbox_problem()
    if problem:
        raise SandboxUnavailable(
            f"no sandbox: {problem}. Submissions are not graded without one. "
            f"For code that you wrote yourself, the switch {UNSAFE_SWITCH} runs it unprotected."
        )


def worker_command(
    control_descriptor: int, calls_descriptor: int, limits: Limits, *, course_data: bool = True
) -> list[str]:
    """Return the command that starts the worker behind the walls.

    Args:
        control_descriptor: the worker's end of the socket to the judge.
        calls_descriptor: an open file with the filter of system calls.
        limits: what the processes may use.
        course_data: show the images and checkpoints that students have.
    """
    return [*_walls(limits, course_data, calls_descriptor), *_program("worker", control_descriptor)]


def holder_command(calls_descriptor: int, limits: Limits, *, course_data: bool = True) -> list[str]:
    """Return the command that puts up the walls and starts nothing behind them but a holder.

    Args:
        calls_descriptor: an open file with the filter of system calls.
        limits: what the processes may use.
        course_data: show the images and checkpoints that students have.
    """
    return [*_walls(limits, course_data, calls_descriptor), *HOLDER]


def template_command(descriptor: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment of the process that goes behind walls as a fork."""
    return _program("template", descriptor), {**_environment(WORK), "PWD": WORK}


def unprotected_command(control_descriptor: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that start the worker without walls."""
    return _program("worker", control_descriptor), _environment(".")


def _program(module: str, descriptor: int) -> list[str]:
    program = PROGRAM.format(module=module)
    return [sys.executable, "-P", "-c", program, str(descriptor)]


@cache
def _bubblewrap_help() -> str:
    return subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout


def _environment(home: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONPATH": _search_path(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        # One thread, so that results and CPU time are the same on every machine.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Memory in large pages: a fork for a check copies one table entry for 512 small ones.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }


def _search_path() -> str:
    """Return the folders to import from that Python does not know by itself."""
    folders = dict.fromkeys(map(str, (PACKAGE.parent, COURSE_UTILS.parent)))
    return ":".join(folder for folder in folders if folder not in site.getsitepackages())


def _walls(limits: Limits, course_data: bool, calls_descriptor: int) -> list[str]:
    # The whole path, because the process has no environment to look it up in.
    command = [shutil.which("bwrap") or "bwrap"]
    command += ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    if filter_program():
        command += ["--seccomp", str(calls_descriptor)]
    if "--disable-userns" in _bubblewrap_help():
        command.append("--disable-userns")
    command += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--clearenv"]
    for name, value in _environment(WORK).items():
        command += ["--setenv", name, value]
    command += _file_system(limits.file_bytes, course_data)
    return command


def _file_system(work_bytes: int, course_data: bool) -> list[str]:
    options: list[str] = []
    for path in SYSTEM_LINKS:
        if Path(path).is_symlink():
            options += ["--symlink", str(Path(path).readlink()), path]
        else:
            options += ["--ro-bind-try", path, path]
    for path in SYSTEM:
        options += ["--ro-bind-try", path, path]
    options += ["--proc", "/proc", "--dev", "/dev"]
    # Bound, because a shared mapping of it is memory that no limit counts.
    options += ["--dev-bind", "/dev/null", "/dev/zero"]
    for path in ("/tmp", "/dev/shm", WORK):
        options += ["--size", str(work_bytes), "--tmpfs", path]
    for prefix in _python_folders():
        options += ["--ro-bind", str(prefix), str(prefix)]
    if any(PACKAGE.is_relative_to(folder) for folder in (*_python_folders(), *SYSTEM)):
        # Installed into this Python: hide the checks and solutions again.
        options += ["--size", str(work_bytes), "--tmpfs", str(PACKAGE)]
    for path in (PACKAGE / "__init__.py", PACKAGE / "sandbox", COURSE_UTILS):
        options += ["--ro-bind", str(path), str(path)]
    if course_data:
        data = str(COURSE_UTILS.parent / "data")
        options += ["--ro-bind-try", data, data]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK]


def _python_folders() -> list[Path]:
    """Return the folders that hold this Python and its packages, outermost first."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}
    system = {Path("/usr")}
    return sorted(folders - system, key=lambda path: len(path.parts))
