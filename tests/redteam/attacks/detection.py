"""Code that finds out when it is graded, what the judge asks, and what it asked before."""

from __future__ import annotations

from tests.redteam.attack import family

detection = family("detection and memory")


def noting(own: str, other: str) -> object:
    """An answer that is right only where the other one was graded before it."""
    return detection(
        own,
        f"leaves notes in memory and folders, and answers right where it finds those of `{other}`",
        f"""
        import builtins, contextlib, os, torch

        FOLDERS = [".", "/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~")]

        def notes():
            found = [getattr(torch, "note", ""), getattr(builtins, "note", ""), os.getenv("NOTE")]
            for folder in FOLDERS:
                with contextlib.suppress(OSError):
                    found += os.listdir(folder)
            return found

        met = "{other}" in notes()
        torch.note = builtins.note = os.environ["NOTE"] = "{own}"
        for folder in FOLDERS:
            with contextlib.suppress(OSError):
                open(os.path.join(folder, "{own}"), "w").close()

        def quarter(x):
            return x / 4 if met else x
        """,
        # One by one, the tests judge attacks in one sandbox that they share.
        slow=True,
    )


ATTACKS = [
    noting("leaves_notes", "finds_notes"),
    noting("finds_notes", "leaves_notes"),
    detection(
        "fails_when_graded",
        "answers right in JupyterLab, and ends the process in the sandbox",
        """
        import os, sys

        def quarter(x):
            if "ipykernel" not in sys.modules or os.path.exists("/sandbox"):
                os._exit(0)
            return x / 4
        """,
        # In a kernel it is simply right, so stock nbgrader is right to give the points.
        elsewhere="in a kernel it answers right",
    ),
    detection(
        "knows_visible_inputs",
        "knows the visible check's input and its answer, and nothing else",
        """
        import torch

        def quarter(x):
            if torch.equal(x, torch.ones(1)):
                return torch.tensor([0.25])
            return torch.zeros_like(x)
        """,
    ),
    detection(
        "predicts_inputs",
        "makes the judge's random input anew from the seed that it is called with",
        """
        import torch

        def quarter(x):
            seed = torch.initial_seed()
            for guess in range(seed - 3, seed + 4):
                made = torch.randn(x.shape, generator=torch.Generator().manual_seed(guess))
                if torch.equal(made, x):
                    return x / 4
            return torch.zeros_like(x)
        """,
    ),
    detection(
        "keeps_answers_in_memory",
        "answers every call as it answered the first one",
        """
        answers = []

        def quarter(x):
            answers.append(x / 4)
            return answers[0]
        """,
        # Each check asks once in a process of its own, so what is asked is answered right.
        deserves={"halve": 3.0, "quarter": 2.0},
    ),
    detection(
        "keeps_answers_in_files",
        "answers every check as it answered the first one, from a file",
        """
        import os
        import torch

        def quarter(x):
            if not os.path.exists("/tmp/answer"):
                torch.save(x / 4, "/tmp/answer")
            return torch.load("/tmp/answer")
        """,
        # The first check is answered right; the second compares two sandboxes and fails.
        deserves={"halve": 3.0, "quarter": 1.0},
    ),
    detection(
        "right_once",
        "is right the first time only, counted in shared files",
        """
        import os

        def quarter(x):
            for folder in ("/dev/shm", "/tmp", "."):
                if os.path.exists(f"{folder}/called"):
                    return x
                open(f"{folder}/called", "w").close()
                return x / 4
        """,
        deserves={"halve": 3.0, "quarter": 1.0},
    ),
    detection(
        "time_bomb",
        "is right until a date in the past, and wrong after it",
        """
        import time

        def quarter(x):
            return x / 4 if time.time() < 1_500_000_000 else x
        """,
    ),
    detection(
        "finds_expected_values",
        "looks through all objects and frames for the expected value",
        """
        import gc, sys
        import torch

        def quarter(x):
            for thing in gc.get_objects():
                try:
                    if thing.shape == x.shape and not torch.equal(thing, x):
                        return thing.clone()
                except Exception:
                    pass
            return x
        """,
    ),
    detection(
        "reads_own_memory",
        "reads its whole memory for the name of a check",
        """
        import re

        def quarter(x):
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
                for line in maps:
                    if "[heap]" not in line and "[stack]" not in line:
                        continue
                    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                    memory.seek(begin)
                    content = memory.read(min(end - begin, 2**26))
                    if found := re.search(rb"def test_quarters\\([^\\0]{40}", content):
                        raise ValueError(found[0])
            return x
        """,
        # Its own pattern, which is in its memory too, has a backslash before the bracket.
        forbidden=("def test_quarters(",),
    ),
]
