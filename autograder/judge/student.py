"""The proxy through which a check calls what a student wrote.

`student.magnitude_mask(weight, 0.5)` runs in the sandbox. Arguments go in and results come out as
data; what the call did to its arguments is noted, see `by_reference`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from autograder.judge.by_reference import copy_into, note_changes
from autograder.sandbox.session import CheckProcess, SandboxStopped, printable
from autograder.sandbox.wire import Handle, encode

REPLAY_BYTES = 32 * 2**20


class StudentError(Exception):
    """Student code raised, or ended without an answer.

    Attributes:
        type_name: name of the exception's class.
        bases: names of that class and all its bases.
        message: its text.
        where: cell and line, where known.
        fatal: there was no answer at all; the check's process is gone.
        result: what the call returned all the same, where its arguments came back broken.
    """

    def __init__(
        self, type_name: str, message: str, bases: tuple[str, ...] = (), where: str = ""
    ) -> None:
        super().__init__(f"{type_name}: {message}" + (f" ({where})" if where else ""))
        self.type_name = type_name
        self.message = message
        self.bases = bases
        self.where = where
        self.fatal = not bases
        self.result: Any = None

    def is_a(self, name: str) -> bool:
        """Tell whether the exception is of the class `name` or of one derived from it."""
        return name in self.bases


@dataclass
class Call:
    """One call that a check made: enough to make it again on another implementation."""

    name: str
    request: bytes
    seed: int
    result: Any
    error: StudentError | None


@dataclass(eq=False)
class Student:
    """Calls the functions and classes of one submission.

    Args:
        process: the check's process in the sandbox.
        seed: every call starts from a seed derived from it.
        cpu_seconds: CPU time for all calls of this check.
        in_place: the exercise changes its arguments, and the check looks at them.
    """

    process: CheckProcess
    seed: int
    cpu_seconds: int
    in_place: bool = False
    calls: list[Call] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def function(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, *args, **kwargs)

        return function

    def call(self, target: str, *args: Any, **kwargs: Any) -> Any:
        """Call the student's function or class `target`.

        Raises:
            StudentError: the student's code raised or did not answer.
        """
        return self._request(target, None, args, kwargs)

    def call_and_backward(
        self, target: str | Handle, *args: Any, upstream: Tensor | None = None, **kwargs: Any
    ) -> Any:
        """Call, then backpropagate from the sum of the result; gradients show on the arguments.

        Args:
            target: name of a function, or an object of the student's own.
            args: arguments of the call.
            upstream: the gradient that reaches the result from above, of its shape; default ones.
            kwargs: named arguments of the call.
        """
        return self._request(target, None, args, kwargs, backward=True, upstream=upstream)

    def attributes(self, handle: Handle) -> dict[str, Any]:
        """Return everything that an object of the student's own holds, by attribute name."""
        return self._request(handle, "__dict__", (), {}, get=True)

    def _request(
        self,
        target: str | Handle,
        attribute: str | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        get: bool = False,
        backward: bool = False,
        upstream: Tensor | None = None,
    ) -> Any:
        seed = self.seed + len(self.calls)
        request = {
            "target": target,
            "attribute": attribute,
            "args": list(args),
            "kwargs": kwargs,
            "get": get,
            "backward": backward,
            "upstream": upstream,
            "seed": seed,
            "cpu_seconds": self.cpu_seconds,
        }
        call = Call(target if isinstance(target, str) else "", b"", seed, None, None)
        arguments = [*args, *kwargs.values()]
        replayable = not get and not any(isinstance(x, Handle) for x in arguments)
        data = encode(request)
        if call.name and replayable and len(data) <= REPLAY_BYTES:
            call.request = data
        self.calls.append(call)
        try:
            reply = self.process.request(data, self._handle)
            call.result = self._read(reply, arguments, backward)
        except SandboxStopped as stop:
            call.error = StudentError("NoAnswer", str(stop))
        except StudentError as error:
            call.error = error
        if call.error is not None:
            raise call.error
        return call.result

    def _read(self, reply: dict[str, Any], arguments: list[Any], backward: bool) -> Any:
        if reply.get("error") is not None:
            raise _student_error(reply["error"])
        after = reply.get("arguments")
        if isinstance(after, list) and len(after) == len(arguments):
            for mine, theirs in zip(arguments, after, strict=True):
                if isinstance(mine, nn.Module) and not isinstance(theirs, nn.Module):
                    error = StudentError(
                        "TypeError",
                        f"the {type(mine).__name__} that was passed in no longer has the layers "
                        "and parameters of its class (did torch.nn.utils.prune leave weight_orig "
                        "and weight_mask behind? prune.remove takes them away)",
                        ("TypeError", "Exception"),
                    )
                    error.result = reply.get("result")
                    raise error
                if self.in_place:
                    copy_into(mine, theirs)
                else:
                    note_changes(mine, theirs, gradients=backward)
        return reply.get("result")

    def _handle(self, number: int, type_name: str) -> RemoteObject:
        return RemoteObject(self, number, type_name)


class RemoteObject(Handle):
    """An object of the student's own that stays in the sandbox.

    Calling it, its methods, and reading its attributes work as on the object itself.
    """

    def __init__(self, student: Student, handle_id: int, type_name: str) -> None:
        super().__init__(handle_id)
        self._student = student
        self._type_name = printable(type_name, 80)

    def __repr__(self) -> str:
        return f"<an object of the type {self._type_name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object in the sandbox."""
        return self._student._request(self, None, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._student._request(self, name, (), {}, get=True)


def _student_error(error: Any) -> StudentError:
    try:
        bases = tuple(printable(base, 80) for base in error["bases"][:20])
        kind, where = printable(error["type"], 80), printable(error["where"], 80)
        return StudentError(kind, printable(error["message"]), bases, where)
    except (TypeError, KeyError, AttributeError):
        return StudentError("NoAnswer", "the reply of your code could not be read")
