"""The program inside the sandbox.

Three kinds of process, each forked from the one before:

1. The first imports torch and never runs student code.
2. The second runs the cells that define things, once for the whole submission.
3. One more for every check answers the judge's calls, and ends with the check. So nothing is kept
   from check to check, and a process that dies costs one check.

The judge holds the other end of every socket. What arrives there is untrusted data.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import gc
import os
import platform
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autograder.sandbox.ahead import load_ahead
from autograder.sandbox.cells import Cell, Plan, make_plan
from autograder.sandbox.channel import receive, send
from autograder.sandbox.seeding import seed_everything
from autograder.sandbox.wire import Encoder, WireError, decode, encode

FORK = b"F"
READY = b"R"
MESSAGE_CHARACTERS = 1000
MADV_COLLAPSE, LARGE_PAGE = 25, 2 * 2**20


class ShellStub:
    """Stands in for IPython's shell: magics do nothing when a notebook is graded."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def main(control_descriptor: int) -> None:
    """Serve fork requests from the judge until it hangs up."""
    get_ready()
    serve(socket.socket(fileno=control_descriptor))


def get_ready() -> None:
    """Import all that is needed, and lay out the memory for forks."""
    torch.set_num_threads(1)
    load_ahead()
    # The forks share this memory; collecting it there would copy it page by page.
    gc.collect()
    gc.freeze()
    gc.enable()
    _use_large_pages()


def serve(control: socket.socket) -> NoReturn:
    """Be the first process of a sandbox, until the judge hangs up."""
    _join_own_keyring()
    control.sendall(READY)
    with contextlib.suppress(OSError):
        _serve_forks(control, _run_submission)
    # Taking the interpreter down in order takes longer than everything else at the end.
    os._exit(0)


def _join_own_keyring() -> None:
    """Leave the kernel's session keyring: a login hands the same one to all sandboxes."""
    keyctl, join_session_keyring = {"x86_64": 250, "aarch64": 219}, 1
    if platform.machine() in keyctl:
        ctypes.CDLL(None).syscall(keyctl[platform.machine()], join_session_keyring, None)


def _use_large_pages() -> None:
    """Gather the memory there is in large pages, where the kernel can: forks are then quicker."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *file = line.split(maxsplit=5)
        if rights == "rw-p" and file in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in span.split("-"))
            start, end = -(-start // LARGE_PAGE) * LARGE_PAGE, end // LARGE_PAGE * LARGE_PAGE
            if start < end:
                madvise(start, end - start, MADV_COLLAPSE)


def _serve_forks(control: socket.socket, child: Any) -> None:
    """For each socket received, fork a process that serves it, and report how that ended."""
    while True:
        try:
            command, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except OSError:
            return
        if command != FORK or len(descriptors) != 1:
            return
        process = os.fork()
        if process == 0:
            control.close()
            code = 0
            try:
                child(socket.socket(fileno=descriptors[0]))
            except BaseException:
                traceback.print_exc()
                code = 1
            finally:
                os._exit(code)
        os.close(descriptors[0])
        _, status = os.waitpid(process, 0)
        send(control, encode(os.waitstatus_to_exitcode(status)))


def _run_submission(channel: socket.socket) -> None:
    """Second process: run the defining cells, then fork one process for every check."""
    request = decode(receive(channel))
    limits = request["limits"]
    plan = make_plan([Cell(*cell) for cell in request["cells"]])
    cpu_seconds = limits[
        "notebook_cpu_seconds" if plan.mode == "whole notebook" else "definitions_cpu_seconds"
    ]
    _set_limits(limits, cpu_seconds)
    _silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    namespace = _fresh_namespace()
    send(channel, encode({"mode": plan.mode, "needed": plan.needed, "errors": plan.errors}))
    # Until then the judge notes which processes there are: those that the cells start are others.
    receive(channel)
    _run_cells(channel, plan, namespace, set(request["skip"]))
    send(channel, encode({"finished": True}))
    _serve_forks(channel, lambda calls: Calls(namespace, calls).serve())


def _set_limits(limits: dict[str, Any], cpu_seconds: int) -> None:
    memory, file_bytes = limits["memory_bytes"], limits["file_bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    # Where the kernel counts processes for each user namespace, this stops a fork storm at once;
    # elsewhere the judge's watch does, a moment later.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"], limits["processes"]))
    hard = max(limits["notebook_cpu_seconds"], limits["check_cpu_seconds"], cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, hard + 1))


def _silence() -> None:
    """Printed output decides nothing: throw it away, however much there is."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _fresh_namespace() -> dict[str, Any]:
    shell = ShellStub()
    return {
        "__name__": "__main__",
        "__builtins__": builtins,
        "get_ipython": lambda: shell,
        "display": lambda *args, **kwargs: None,
    }


def _run_cells(
    channel: socket.socket, plan: Plan, namespace: dict[str, Any], skip: set[str]
) -> None:
    # Classes and dataclasses look their module up; it must be the notebook's namespace.
    module = type(sys)("__main__")
    module.__dict__.update(namespace)
    sys.modules["__main__"] = module
    for name, tree in plan.cells:
        if name in skip:
            continue
        send(channel, encode({"running": name}))
        seed_everything(0)
        try:
            exec(compile(tree, f"<{name}>", "exec"), module.__dict__)
        except BaseException as error:
            send(channel, encode({"failed": name, "error": describe_error(error)}))
    namespace.clear()
    namespace.update(module.__dict__)


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return type, bases, message and place of an exception, whatever its own code does."""
    try:
        message = str(error)[:MESSAGE_CHARACTERS]
    except BaseException:
        message = "(its text could not be made)"
    frames = traceback.extract_tb(error.__traceback__)
    places = [(frame.filename, frame.lineno) for frame in frames if frame.filename[:1] == "<"]
    where = f"{places[-1][0]} line {places[-1][1]}" if places else ""
    kind = type(error)
    bases = [base.__name__ for base in kind.__mro__]
    return {"type": kind.__name__, "bases": bases, "message": message, "where": where}


class StaysHere:
    """Marks a model that must not cross as data, because that would lose a part of it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


def does_more(value: Any) -> bool:
    """Tell whether a model does more than its class and tensors say: hooks, or its own forward."""
    return isinstance(value, nn.Module) and any(
        part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part)
        for part in value.modules()
    )


class Calls:
    """Third process: answer the judge's calls of one check."""

    def __init__(self, namespace: dict[str, Any], channel: socket.socket | None) -> None:
        self._namespace = namespace
        self._channel = channel
        self._objects: list[Any] = []

    def serve(self) -> None:
        """Answer until the judge hangs up."""
        assert self._channel is not None
        while True:
            data = receive(self._channel)
            if not data:
                return
            send(self._channel, self.answer(data, self._limit_cpu))

    def answer(self, data: bytes, prepare: Callable[[int], None] | None = None) -> bytes:
        """Return the reply to one request; `prepare` is told the CPU seconds it may take."""
        request = decode(data, handle=lambda number, _: self._objects[number])
        if prepare is not None:
            prepare(request["cpu_seconds"])
        return self._answer(request)

    @staticmethod
    def _limit_cpu(seconds: int) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (min(seconds, hard), hard))

    def _keep(self, value: Any) -> int:
        self._objects.append(value.model if isinstance(value, StaysHere) else value)
        return len(self._objects) - 1

    def _answer(self, request: dict[str, Any]) -> bytes:
        arguments = [*request["args"], *request["kwargs"].values()]
        before = _snapshot(arguments)
        seed_everything(request["seed"])
        reply: dict[str, Any] = {"error": None, "result": None}
        try:
            result = self._call(request)
            if request["backward"]:
                total = result if isinstance(result, Tensor) else sum(result)
                if request.get("upstream") is not None:
                    total = total * request["upstream"]
                total.sum().backward()
            reply["result"] = StaysHere(result) if does_more(result) else result
        except BaseException as error:
            reply["error"] = describe_error(error)
        visible = [None if isinstance(item, DataLoader) else item for item in arguments]
        if _snapshot(arguments) != before:
            reply["arguments"] = visible
        try:
            return Encoder(self._keep).message(reply)
        except BaseException as error:
            return encode({"error": describe_error(error), "result": None})

    def _call(self, request: dict[str, Any]) -> Any:
        target, attribute = request["target"], request["attribute"]
        if isinstance(target, str):
            if target not in self._namespace:
                raise NameError(f"{target} is not defined; was its cell deleted or renamed?")
            target = self._namespace[target]
        if attribute is not None:
            target = getattr(target, attribute)
        if request["get"]:
            return target
        return target(*request["args"], **request["kwargs"])


def _snapshot(arguments: list[Any]) -> bytes:
    """Return the bytes of everything in the arguments that a call could change."""
    changeable = [item for item in arguments if isinstance(item, Tensor | nn.Module | list | dict)]
    try:
        return Encoder(keep=lambda value: 0).message(changeable)
    except (WireError, RuntimeError):
        return b""
