"""Who makes the arguments trivial and answers that rightly has answered nothing.

A check computes what is right from its own objects. If it did so after the call, from what the
student's code made of them, an answer that sets everything to 0 would look right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from autograder import settings
from autograder.authoring.source import load_source, topics_in_order
from autograder.judge.judge import judge
from autograder.judge.submission import reference_submission
from autograder.sandbox.bubblewrap import sandbox_problem
from autograder.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(bool(sandbox_problem()), reason=sandbox_problem() or "sandbox")

SPOILING = """

def _spoil(value):
    if isinstance(value, torch.nn.Module):
        for part in [*value.parameters(), *value.buffers()]:
            part.data.zero_()
    elif isinstance(value, torch.Tensor):
        value.data.zero_()
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _spoil(part)


_right = NAME


def NAME(*args, **kwargs):
    _spoil([args, kwargs])
    return _right(*args, **kwargs)
"""
# A training that starts from zeros still trains; what it returns is measured, and partly good.
MOST = 0.65
QUICK = ("magnitude_mask", "symmetric_scale_per_channel", "quantize", "confidence")
# They take numbers or bytes only, so there is nothing to spoil.
NOTHING_TO_SPOIL = {
    "storage_bytes",
    "break_even_sparsity",
    "model_size_mib",
    "compression_ratio",
    "expected_macs",
    "width_for_budget",
    "decompress",
    "pareto_front",
    "huffman_code",
}
FUNCTIONS = [
    pytest.param(topic, e.name, id=e.name, marks=[] if e.name in QUICK else [pytest.mark.slow])
    for topic in topics_in_order()
    for e in load_source(topic).exercises
    if not e.solution.lstrip().startswith("class ") and e.name not in NOTHING_TO_SPOIL
]


def test_checks_ask_for_changes_of_the_very_object() -> None:
    # What was done to an argument is noted beside the object; a view of it is another object.
    views = []
    for path in sorted(settings.TOPICS.glob("*/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            asked = ast.unparse(node.func) in ("expect.unchanged", "first_change")
            after = ast.unparse(node.args[1])
            if asked and any(view in after for view in (".detach()", ".clone()", ".data")):
                views.append(f"{path.parent.name}/{path.name}:{node.lineno}: {after}")
    assert not views


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    opened = Zygote()
    yield opened
    opened.close()


@pytest.mark.parametrize(("topic", "name"), FUNCTIONS)
def test_trivial_arguments_earn_little(topic: str, name: str, zygote: Zygote) -> None:
    source = load_source(topic)
    submission = reference_submission(source)
    submission.answers[name] += SPOILING.replace("NAME", name)
    exercise = judge(submission, source, only=name, zygote=zygote).exercise(name)
    passed = [check.name for check in exercise.checks if check.passed]
    assert exercise.points <= MOST * exercise.max_points, passed
