"""Objects whose own methods are hostile."""

from __future__ import annotations

from tests.redteam.attack import family

objects = family("hostile objects")

ATTACKS = [
    objects(
        "hostile_repr",
        "an object whose text is a script, and takes for ever the second time",
        """
        class Answer:
            def __repr__(self):
                if hasattr(self, "asked"):
                    while True: pass
                self.asked = True
                return "<script>alert('repr')</script>"

        def quarter(x):
            return Answer()
        """,
        forbidden=("<script>alert('repr')",),
    ),
    objects(
        "hostile_del",
        "an object that ends the process when it is thrown away",
        """
        import os

        class Answer:
            def __del__(self):
                os._exit(0)

        def quarter(x):
            return [Answer() and x]
        """,
    ),
    objects(
        "hostile_getattr",
        "an object that has every attribute, and raises SystemExit for some",
        """
        class Answer:
            def __getattribute__(self, name):
                if name.startswith("__"):
                    raise SystemExit(name)
                return lambda *a, **k: self

        def quarter(x):
            return Answer()
        """,
    ),
    objects(
        "hostile_class",
        "an object that says it is a tensor",
        """
        import torch

        class Answer:
            @property
            def __class__(self):
                return torch.Tensor

            def __getattr__(self, name):
                return lambda *a, **k: self

        def quarter(x):
            return Answer()
        """,
    ),
    objects(
        "hostile_metaclass",
        "a class of which everything is an instance, in the place of torch.Tensor",
        """
        import torch

        class Meta(type):
            def __instancecheck__(cls, other): return True
            def __eq__(cls, other): return True
            def __hash__(cls): return 0

        class Answer(metaclass=Meta):
            pass

        def quarter(x):
            torch.Tensor = Answer
            return Answer()
        """,
    ),
    objects(
        "lying_tensor",
        "a kind of tensor that says it is equal, close and of any shape",
        """
        import torch

        class Answer(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                if function.__name__ in ("equal", "allclose", "isclose", "eq"):
                    return True
                return super().__torch_function__(function, types, args, kwargs or {})

        def quarter(x):
            return torch.zeros_like(x).as_subclass(Answer)
        """,
    ),
    objects(
        "hostile_text",
        "a kind of str whose every method lies",
        """
        class Answer(str):
            def __len__(self): return 0
            def encode(self, *a): raise SystemExit
            def __eq__(self, other): return True
            def __hash__(self): return 0

        def quarter(x):
            return {Answer("x"): Answer("y" * 1000)}
        """,
    ),
    objects(
        "hostile_integer",
        "a kind of int that is another number each time it is asked",
        """
        class Answer(int):
            asked = 0
            def __index__(self):
                Answer.asked += 1
                return 10**5000 if Answer.asked % 2 else -1
            __int__ = __index__
            def __repr__(self): return "1e400]}"

        def quarter(x):
            return [Answer(3), Answer(4)]
        """,
    ),
    objects(
        "hostile_pickle",
        "an object that runs a command where it is unpickled",
        """
        import os, pickle

        class Answer:
            def __reduce__(self):
                return os.system, ("touch /tmp/GRAFFITI",)

        def quarter(x):
            return [Answer(), pickle.dumps(Answer())]
        """,
    ),
    objects(
        "hostile_exception",
        "an exception whose text ends the process",
        """
        import os

        class Trouble(Exception):
            def __str__(self):
                os._exit(0)

        def quarter(x):
            raise Trouble
        """,
    ),
    objects(
        "exception_like_a_check",
        "raises what a check raises that is not to be counted",
        """
        class Skipped(BaseException):
            pass

        Skipped.__module__, Skipped.__name__ = "builtins", "Skipped"

        def quarter(x):
            try:
                import pytest
            except ImportError:
                raise Skipped("the check is skipped")
            pytest.skip("the check is skipped")
        """,
    ),
    objects(
        "long_exception",
        "an exception of ten million characters in a chain of a thousand",
        """
        def quarter(x):
            error = None
            for _ in range(1000):
                new = ValueError("<b>" * 3_000_000 if error is None else "more")
                new.__cause__ = error
                error = new
            raise error
        """,
    ),
]
