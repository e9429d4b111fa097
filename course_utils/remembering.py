"""Keeps what a long training returned, so that after a restart it comes back in a second.

A result is found again only by content: the function's code and all of your own code that it
uses in the notebook, its arguments (weights and images too), the state of PyTorch's random numbers,
PyTorch's version and the course's. Change any of these, and it is computed anew. What is in other
files of your own counts by its name only: after you change one, call `forget()`.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import io
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

from course_utils.storage import course_folder, write_whole

Result = TypeVar("Result")
FOLDER = "remembered"
NOTEBOOK = "__main__"
READS_A_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
# What takes less time is computed again.
SHORTEST_SECONDS = 0.3
MOST_BYTES = 1 << 30
# What `functools.cache` makes of a function.
CACHED = type(cache(int))
_announced: set[tuple[int, str]] = set()
# What cannot be put into a key, or not be stored.
NOT_KEPT = (
    pickle.PicklingError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    RuntimeError,
)


def remember(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Call `function(*args, **kwargs)`, or return what the same call returned before.

    PyTorch's random numbers go on from where the call left them, in both cases. Arguments that
    the function changes are changed only when it really runs.

    Args:
        function: Such as your `distill`. It should return models, tensors or plain values.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Raises:
        Exception: Whatever the function raises; nothing is kept then.
    """
    try:
        path = course_folder() / FOLDER / f"{_key(function, args, kwargs)}.pt"
    except NOT_KEPT:
        return function(*args, **kwargs)
    if (kept := _read(path)) is not None:
        torch.set_rng_state(kept["random_state"])
        # A partial function has no name.
        _announce(getattr(function, "__name__", type(function).__name__), kept["date"])
        return kept["result"]
    start = time.perf_counter()
    result = function(*args, **kwargs)
    seconds = time.perf_counter() - start
    if seconds >= SHORTEST_SECONDS:
        _write(path, result, seconds)
    return result


def forget() -> int:
    """Delete everything that was remembered, and return how many results that were."""
    paths = list((course_folder() / FOLDER).glob("*.pt"))
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)


def _announce(name: str, date: str) -> None:
    """Say that a result was remembered, once for a cell: it may hold a loop of many calls."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    place = (getattr(shell, "execution_count", 0), name)
    if place not in _announced:
        _announced.add(place)
        print(f"{name}: remembered from {date}; forget() in course_utils.remembering deletes it")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        # Written by this function on this computer, so it may hold classes of the notebook.
        kept = torch.load(path, weights_only=False)
        path.touch()
        return kept
    except FileNotFoundError:
        return None
    except Exception:  # a damaged file, or none that can be read: the call can be made again
        return None


def _write(path: Path, result: Any, seconds: float) -> None:
    record = {
        "result": result,
        "random_state": torch.get_rng_state(),
        "seconds": seconds,
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }
    content = io.BytesIO()
    try:
        torch.save(record, content)
        write_whole(path, content.getvalue())
        _make_room(path)
    except NOT_KEPT:
        return
    except OSError as error:
        warnings.warn(f"the result could not be kept for later: {error}", stacklevel=3)


def _make_room(newest: Path) -> None:
    """Delete the results that were not used for longest, until the others fit."""
    found = []
    for path in newest.parent.glob("*.pt"):
        # Another notebook may delete it at this moment.
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES and path != newest:
            path.unlink(missing_ok=True)


def _key(function: Callable[..., Any], args: Any, kwargs: Any) -> str:
    sink = _Digest()
    pickler = _ContentPickler(sink)
    # Equal contents must give equal bytes, whether or not they are the same object.
    pickler.fast = True
    versions = torch.__version__, _course_code()
    pickler.dump((versions, torch.get_rng_state(), function, args, sorted(kwargs.items())))
    return sink.hexdigest()


@cache
def _course_code() -> str:
    """Return a hash of the course's own code: what another release computed is not the same."""
    digest = hashlib.blake2b(digest_size=20)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Digest:
    """A file that keeps nothing but the hash of what is written to it."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=20)

    def write(self, content: Any) -> int:
        self._hash.update(content)
        return len(content)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class _ContentPickler(pickle.Pickler):
    """Pickles for a hash only: tensors by their numbers, the notebook's own code by its code."""

    def __init__(self, file: _Digest) -> None:
        super().__init__(file, protocol=5)
        self._seen: set[int] = set()

    def reducer_override(self, thing: Any) -> Any:
        """Say what stands for `thing` in the hash."""
        if isinstance(thing, Tensor):
            return tuple, (list(_tensor_content(thing)),)
        if isinstance(thing, torch.Generator):
            return tuple, ([thing.get_state()],)
        if isinstance(thing, ModuleType):
            return str, (thing.__name__,)
        if isinstance(thing, CodeType):
            # The order of a set differs from one run of Python to the next.
            constants = [
                sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in thing.co_consts
            ]
            names = thing.co_names, thing.co_varnames, thing.co_freevars
            # Where `try` begins and ends is not part of the code itself since Python 3.11.
            handlers = getattr(thing, "co_exceptiontable", b"")
            return tuple, ([thing.co_code, handlers, constants, names],)
        own = getattr(thing, "__module__", None) == NOTEBOOK
        if own and isinstance(thing, FunctionType | type):
            # A function may call itself, directly or not.
            if id(thing) in self._seen:
                return str, (thing.__qualname__,)
            self._seen.add(id(thing))
            return tuple, (list(_own_code(thing)),)
        if own and isinstance(thing, CACHED):
            # It pickles as nothing but its name.
            return tuple, ([thing.__wrapped__],)
        return NotImplemented


def _tensor_content(tensor: Tensor) -> Iterator[Any]:
    plain = tensor.detach().cpu().contiguous()
    yield str(tensor.dtype), tuple(tensor.shape), tensor.requires_grad
    yield hashlib.blake2b(plain.flatten().view(torch.uint8).numpy()).digest()
    # A training that does not set it to zero goes on from it.
    yield tensor.grad if tensor.is_leaf else None


def _own_code(thing: FunctionType | type) -> Iterator[Any]:
    yield thing.__qualname__
    if isinstance(thing, type):
        yield thing.__bases__
        members = vars(thing).items()
        yield [(n, v) for n, v in members if isinstance(v, FunctionType) or not n.startswith("__")]
        return
    yield from (thing.__code__, thing.__defaults__, thing.__kwdefaults__)
    yield [cell.cell_contents for cell in thing.__closure__ or ()]
    for name in sorted(_names(thing.__code__) & thing.__globals__.keys()):
        yield name, thing.__globals__[name]


def _names(code: CodeType) -> set[str]:
    """Return the global names that the code reads, the code inside it too."""
    read = {step.argval for step in dis.get_instructions(code) if step.opname in READS_A_GLOBAL}
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return read.union(*map(_names, inner))
