"""What a process does ahead of its forks, so that not each of them does it again.

An optimizer loads PyTorch's compiler, `torch._dynamo`, at its first step, only to say that it is
not to be compiled. That takes as long as importing the rest of PyTorch, in every sandbox. So it is
left out until something is compiled.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn

from autograder.sandbox.seeding import seed_everything
from autograder.sandbox.wire import decode, encode
from course_utils.training import warm_up

COMPILER = "torch._dynamo"


class PutOff(ModuleType):
    """Stands in for `torch._dynamo`; whatever else is asked of it loads the real one."""

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Do nothing: only a compiler would break its graph here."""

    @staticmethod
    def disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Return the function as it is, or what does so where none is given."""
        return (lambda function: function) if fn is None else fn

    def __getattr__(self, name: str) -> Any:
        # `inspect` asks every module for its file. Importing a part of the compiler asks for the
        # path.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        torch._dynamo = importlib.import_module(COMPILER)
        return getattr(torch._dynamo, name)


def put_off_compiler() -> None:
    """Have PyTorch load its compiler when something is compiled, and not before."""
    if COMPILER not in sys.modules:
        torch._dynamo = sys.modules[COMPILER] = PutOff(COMPILER)


def load_ahead() -> None:
    """Import what the first step of training, the first seed and the first message import."""
    put_off_compiler()
    warm_up()
    seed_everything(0)
    decode(encode(nn.Linear(1, 1)))
