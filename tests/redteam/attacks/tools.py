"""Answers that change the tools they are run with."""

from __future__ import annotations

from tests.redteam.attack import NOTHING, added, family

tools = family("changed tools")

ATTACKS = [
    tools(
        "patches_worker",
        "replaces the parts of the worker that encode replies",
        """
        import sys

        worker = sys.modules.get("autograder.sandbox.worker") or sys.modules["__main__"]
        for name in ("Encoder", "encode", "Calls", "_snapshot", "describe_error"):
            setattr(worker, name, lambda *a, **k: b"passed")

        def quarter(x):
            for frame in (sys._getframe(depth) for depth in range(1, 4)):
                frame.f_globals["Encoder"] = frame.f_globals["encode"] = lambda *a: b"passed"
            return x
        """,
    ),
    tools(
        "walks_frames",
        "walks up the worker's frames, and changes the judge's request and the namespace",
        """
        import sys

        def quarter(x):
            frame = sys._getframe()
            while frame:
                for name, value in list(frame.f_locals.items()):
                    if isinstance(value, dict) and "args" in value:
                        value.update(args=[x * 0], kwargs={}, get=True, target="quarter")
                frame = frame.f_back
            return x
        """,
    ),
    tools(
        "changes_arguments",
        "changes the judge's own input to zeros and returns zeros",
        """
        def quarter(x):
            x.zero_()
            return x / 4
        """,
    ),
    tools(
        "changes_arguments_shape",
        "changes shape and data of the judge's own input",
        """
        import torch

        def quarter(x):
            x.data = torch.zeros(0)
            return torch.zeros(0)
        """,
    ),
    tools(
        "later_change",
        "a thread changes the returned tensor later",
        """
        import threading, time

        def quarter(x):
            result = x / 4

            def later():
                for _ in range(10_000):
                    result.zero_()

            threading.Thread(target=later).start()
            time.sleep(0.05)
            return result
        """,
    ),
    tools(
        "traces_everything",
        "a trace function sees every call of the worker, and changes what it returns",
        """
        import sys

        def tracer(frame, event, argument):
            frame.f_trace_opcodes = True
            frame.f_locals.update(error=None, passed=True)
            return tracer

        def quarter(x):
            sys.settrace(tracer)
            for depth in range(1, 5):
                sys._getframe(depth).f_trace = tracer
            return x
        """,
    ),
    tools(
        "patches_json",
        "json, struct and safetensors answer as the attacker likes",
        """
        import json, struct
        import safetensors.torch

        def quarter(x):
            json.dumps = lambda *a, **k: '{"passed": true}'
            json.JSONEncoder.encode = json.dumps
            safetensors.torch.save = lambda *a, **k: b""
            struct.Struct.pack = None
            return x
        """,
    ),
    tools(
        "patches_course_utils",
        "changes the course's own package in memory",
        """
        import course_utils.models, course_utils.data
        from torch import nn

        class Fake(nn.Module):
            config = {}

        course_utils.models.MODEL_CLASSES.update(Fake=Fake, LeNet=Fake)
        course_utils.data.make_loader = lambda *a, **k: None

        def quarter(x):
            return Fake()
        """,
    ),
    tools(
        "patches_before_everything",
        "an added cell patches torch for everybody; nothing is answered",
        answers={
            "halve": "def halve(x):\n    return x",
            "quarter": "def quarter(x):\n    return x",
        },
        deserves=NOTHING,
        edit=added(
            "import torch, builtins\n"
            "class Patch:\n"
            "    torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True\n"
            "    builtins.AssertionError = Warning\n"
        ),
    ),
    tools(
        "leaves_modules",
        "writes sitecustomize.py, torch.py and conftest.py where the next process may find them",
        """
        import os, sys

        def quarter(x):
            for folder in [os.getcwd(), "/tmp", os.path.expanduser("~"), *sys.path]:
                for name in ("sitecustomize.py", "torch.py", "conftest.py", "usercustomize.py"):
                    try:
                        with open(os.path.join(folder, name), "w") as file:
                            file.write("import os; os._exit(0)")
                    except OSError:
                        pass
            os.environ.update(LD_PRELOAD="/tmp/evil.so", PYTHONPATH="/tmp")
            return x
        """,
    ),
    tools(
        "imports_the_judge",
        "imports the checks and solutions by name",
        """
        import importlib, sys

        def quarter(x):
            for part in ("topics.sample_topic.test_sample", "topics.sample_topic.notebook",
                         "judge.judge", "authoring.reference"):
                try:
                    module = importlib.import_module(f"autograder.{part}")
                except ImportError:
                    continue
                return module.load_reference("sample_topic").quarter(x)
            return x
        """,
    ),
    tools(
        "ends_at_exit",
        "handlers for the end of the process, and none of its output is flushed",
        """
        import atexit, os, sys

        atexit.register(lambda: os.kill(os.getppid(), 9))
        sys.exitfunc = sys.excepthook = lambda *a: os.kill(os.getppid(), 9)

        def quarter(x):
            raise SystemExit(0)
        """,
    ),
    tools(
        "homoglyph",
        "defines a function whose name only looks right, with a Cyrillic letter",
        """
        def qu\N{CYRILLIC SMALL LETTER A}rter(x):
            return x / 4
        """,
    ),
]
