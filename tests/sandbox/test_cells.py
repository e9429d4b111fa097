"""Which cells run when a notebook is graded."""

import ast

import pytest

from autograder.sandbox.cells import Cell, make_plan, plain_python


def names_run(*cells: Cell) -> list[str]:
    plan = make_plan(list(cells))
    return [name for name, _ in plan.cells]


def test_definitions_run_and_experiments_do_not():
    assert names_run(
        Cell("imports", "define", "import torch"),
        Cell("answer", "exercise", "def f(x):\n    return torch.abs(x)"),
        Cell("plot", "experiment", "f(1)"),
        Cell("visible check", "check", "assert f(1) == 1"),
    ) == ["imports", "answer"]


def test_of_added_cells_only_what_defines_runs():
    plan = make_plan([Cell("mine", "added", "def g():\n    return K\nK = 3\nheavy = g()\ng()")])
    assert [ast.unparse(tree) for _, tree in plan.cells] == ["def g():\n    return K\nK = 3"]


def test_an_answer_that_needs_an_experiment_runs_the_whole_notebook():
    plan = make_plan(
        [
            Cell("train", "experiment", "model = train()"),
            Cell("answer", "exercise", "def f():\n    return model"),
        ]
    )
    assert plan.mode == "whole notebook"
    assert plan.needed == ["model"]
    assert [name for name, _ in plan.cells] == ["train", "answer"]


def test_of_an_experiment_what_an_answer_uses_and_computes_nothing_runs():
    plan = make_plan(
        [
            Cell("plot", "experiment", "import numpy as np\ncurve = np.ones(3)\ncurve.sum()"),
            Cell("tools", "experiment", "def total(x):\n    return half(x) * 2\nrun()"),
            Cell("more", "check", "def half(x):\n    return np.sum(x) / 2\nassert half([2]) == 1"),
            Cell("answer", "exercise", "def f(x):\n    return total(x)"),
        ]
    )
    assert plan.mode == "definitions"
    assert [(name, ast.unparse(tree).splitlines()[0]) for name, tree in plan.cells] == [
        ("plot", "import numpy as np"),
        ("tools", "def total(x):"),
        ("more", "def half(x):"),
        ("answer", "def f(x):"),
    ]


def test_a_name_that_is_also_computed_needs_the_whole_notebook():
    plan = make_plan(
        [
            Cell("first", "experiment", "rate = 1"),
            Cell("second", "experiment", "rate = measure()"),
            Cell("answer", "exercise", "def f():\n    return rate"),
        ]
    )
    assert plan.mode == "whole notebook"
    assert plan.needed == ["rate"]


@pytest.mark.parametrize(
    "answer",
    [
        "def f(model):\n    return model",
        "def f():\n    model = 1\n    return model",
        "class F:\n    model = 1",
        "f = [model for model in ()]",
    ],
)
def test_a_local_of_the_same_name_does_not(answer):
    plan = make_plan(
        [Cell("train", "experiment", "model = train()"), Cell("answer", "exercise", answer)]
    )
    assert plan.mode == "definitions"


def test_a_syntax_error_costs_its_own_cell():
    plan = make_plan([Cell("bad", "exercise", "def f(:"), Cell("good", "exercise", "x = 1")])
    assert [name for name, _ in plan.cells] == ["good"]
    assert "SyntaxError" in plan.errors["bad"]


@pytest.mark.parametrize("source", ["(" * 5000, "-" * 200_000 + "1", "x = " + "1+" * 100_000 + "1"])
def test_text_that_is_too_deep_is_an_error_like_any_other(source):
    plan = make_plan([Cell("deep", "exercise", source), Cell("good", "exercise", "x = 1")])
    assert "good" in [name for name, _ in plan.cells]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%%time\nx = 1", "x = 1"),
        ("%%bash\nrm -rf .", ""),
        ("x = 5 % 3", "x = 5 % 3"),
    ],
)
def test_cell_magics(source, expected):
    assert plain_python(source) == expected


def test_line_magics_become_calls_that_do_nothing():
    ast.parse(plain_python("%matplotlib inline\n!ls\nx = 1"))
