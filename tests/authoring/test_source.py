from pathlib import Path

import pytest

from autograder.authoring.source import WRITTEN_STUB, SourceError, load_source, parse_source

TINY = "tiny_topic"
TEXT = (Path(__file__).parent / TINY / "notebook.py").read_text()


def test_every_kind_of_cell() -> None:
    source = load_source(TINY)
    assert source.notebook_name == "9_tiny_topic"
    assert [(cell.kind, cell.name) for cell in source.cells] == [
        ("prose", "prose-1"),
        ("define", "define-1"),
        ("exercise", "norm"),
        ("check", "norm-check"),
        ("experiment", "experiment-1"),
        ("exercise", "Counter"),
        ("check", "Counter-check"),
        ("written", "why_root"),
        ("prose", "prose-2"),
    ]
    norm, counter = source.exercises
    assert (norm.name, norm.points, norm.difficulty, norm.minutes) == ("norm", 3.0, 1, 5)
    assert counter.points == 1.5
    assert "BEGIN" not in norm.solution
    assert "math.sqrt" in norm.solution
    assert source.cell("why_root").stub == "Why is there a root?\n\n" + WRITTEN_STUB


def test_an_unchanged_file_is_read_once() -> None:
    assert load_source(TINY) is load_source(TINY)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('# %% check="norm" points=3', "# %%", "'norm' has no check"),
        ('exercise="Counter"', 'exercise="norm"', "name 'norm'; the first is in line"),
        ('check="Counter"', 'check="norm"', "second check of 'norm'"),
        ("    ### BEGIN SOLUTION\n    require", "    require", "exactly one solution region"),
        ("points=3", "points=0", "points=0 of 'norm' must be a number above 0"),
        ("points=3", "points=-1", "points=-1"),
        ("points=3", 'points="3"', "points='3'"),
        ("points=3", "", "check cell without points"),
        ("minutes=5", "minutes=5 colour=3", "unknown tag colour"),
        ("minutes=5", "minutes=0", "minutes=0"),
        ("# %% define", "# %% defien", "unknown tag 'defien'"),
        ("# %% define", '# %% define check="norm" points=1', "one thing only"),
        ('check="norm"', 'check="nrom"', "no such exercise is above it"),
        ("def norm(", "def mron(", "must define a function or class of this name"),
        ("topic: tiny_topic", "topic: other", "topic must be 'tiny_topic'"),
        ("number: 9", "number: nine", "number must be"),
        ('# %% [markdown] written="why_root"', '# %% written="why_root"', "[markdown]"),
        ("import math\n", "import math\n### BEGIN SOLUTION\n", "must not hold a solution region"),
        ("# TODO: square", "# BEGIN SOLUTION soon", "must stand alone"),
        ("# ---\n\n#", "# ---\n\nx = 1\n\n#", "before the first cell header"),
    ],
)
def test_errors_say_what_is_wrong(old: str, new: str, complaint: str) -> None:
    assert old in TEXT
    with pytest.raises(SourceError) as error:
        parse_source(TEXT.replace(old, new, 1), TINY)
    assert complaint in str(error.value)


def test_no_solution_region() -> None:
    text = TEXT.replace("    ### BEGIN SOLUTION\n    require", "    require", 1)
    text = text.replace("in values))\n    ### END SOLUTION", "in values))", 1)
    with pytest.raises(SourceError, match="'norm' has no solution region"):
        parse_source(text, TINY)


def test_two_solution_regions() -> None:
    line = '    """Return the Euclidean norm."""\n'
    second = "    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION\n"
    with pytest.raises(SourceError, match="exactly one solution region"):
        parse_source(TEXT.replace(line, line + second, 1), TINY)


def test_all_troubles_are_told_at_once() -> None:
    text = TEXT.replace("points=3", "points=0").replace("minutes=10", "minutes=x")
    with pytest.raises(SourceError) as error:
        parse_source(text, TINY)
    assert len(str(error.value).splitlines()) == 3
