import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder import settings
from autograder.authoring.build import complete_notebook
from autograder.authoring.source import load_source
from autograder.judge import notebook_file
from autograder.judge import submission as module
from autograder.judge.submission import (
    Submission,
    code_cells,
    read_submission,
    reference_submission,
)

TINY = "tiny_topic"
RIGHT = "def norm(values):\n    return math.hypot(*values)"
NOT_GRADED = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}


@pytest.fixture(autouse=True)
def _tiny_course(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TOPICS", Path(__file__).parents[1] / "authoring")


@pytest.fixture
def notebook() -> Any:
    """A notebook with one answer of its own and the stub of `Counter`."""
    return complete_notebook(TINY, {"norm": RIGHT, "Counter": None})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "9_tiny_topic.ipynb"


def read(notebook: Any, path: Path) -> Submission:
    path.write_text(json.dumps(notebook))
    return read_submission(path, TINY)


def cell(notebook: Any, name: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == name)


def place(notebook: Any, name: str) -> int:
    return [cell.id for cell in notebook.cells].index(name)


def insert(notebook: Any, position: int, text: str, kind: str = "code") -> None:
    notebook.cells.insert(position, NOT_GRADED[kind](text))


def names(submission: Submission) -> list[tuple[str, str]]:
    return [(c.name, c.origin) for c in code_cells(submission, load_source(TINY))]


GIVEN = [
    ("define-1", "define"),
    ("norm", "exercise"),
    ("norm-check", "check"),
    ("experiment-1", "experiment"),
    ("Counter", "exercise"),
    ("Counter-check", "check"),
]


def test_an_ordinary_submission(notebook: Any, path: Path) -> None:
    got = read(notebook, path)
    assert got.answers["norm"] == RIGHT
    assert "NotImplementedError" in got.answers["Counter"]
    assert got.written["why_root"].startswith("Why is there")
    assert (got.added, got.problems, got.unreadable) == ([], [], False)
    assert names(got) == GIVEN


def test_the_reference_is_a_submission() -> None:
    source = load_source(TINY)
    got = reference_submission(source)
    assert set(got.answers) == {"norm", "Counter"}
    assert names(got) == GIVEN


def test_added_cells_keep_their_places(notebook: Any, path: Path) -> None:
    insert(notebook, 0, "import numpy")
    insert(notebook, place(notebook, "norm"), "def helper(): ...")
    insert(notebook, len(notebook.cells), "print(1)")
    insert(notebook, len(notebook.cells), "My notes", "markdown")
    insert(notebook, len(notebook.cells), "   ")
    got = read(notebook, path)
    assert [(a.after, a.kind) for a in got.added] == [
        ("", "code"),
        ("define-1", "code"),
        ("prose-2", "code"),
        ("prose-2", "markdown"),
    ]
    order = [name for name, _ in names(got)]
    assert order[:4] == ["added-1", "define-1", "added-2", "norm"]
    assert order[-1] == "added-3"
    assert got.problems == []


def test_edited_and_deleted_check_cells(notebook: Any, path: Path) -> None:
    cell(notebook, "norm-check").source = "pass"
    del notebook.cells[place(notebook, "Counter-check")]
    got = read(notebook, path)
    assert got.problems == [
        "The check cell of 'Counter' was deleted. It was put back.",
        "The check cell of 'norm' was changed. The original was used.",
    ]
    checks = [c.source for c in code_cells(got, load_source(TINY)) if c.origin == "check"]
    assert "pass" not in checks
    assert names(got) == GIVEN


def test_own_imports_in_a_given_cell_are_kept(notebook: Any, path: Path) -> None:
    cell(
        notebook, "define-1"
    ).source += "\nimport numpy as np\nMY = np.ones(2)\nprint(MY)\n\ndef require(a, b): pass\n"
    got = read(notebook, path)
    (added,) = got.added
    assert added.after == "define-1"
    assert added.source == "import numpy as np\nMY = np.ones(2)"
    assert "'define-1' was changed" in got.problems[0]
    given = code_cells(got, load_source(TINY))[0]
    assert "raise ValueError(message)" in given.source


def test_a_given_cell_that_is_too_deep_costs_nothing_else(notebook: Any, path: Path) -> None:
    cell(notebook, "define-1").source += "\nx = " + " + ".join(["1"] * 600)
    submission = read(notebook, path)
    assert submission.answers["norm"] == RIGHT
    assert any("was changed" in problem for problem in submission.problems)


def test_an_edited_experiment_is_the_students_own(notebook: Any, path: Path) -> None:
    cell(notebook, "experiment-1").source = "def helper(): ..."
    got = read(notebook, path)
    assert got.problems == []
    assert names(got)[3] == ("added-1", "added")
    assert "experiment-1" not in dict(names(got))


def test_missing_answer_cells(notebook: Any, path: Path) -> None:
    for name in ("norm", "why_root"):
        del notebook.cells[place(notebook, name)]
    got = read(notebook, path)
    assert "norm" not in got.answers
    assert got.problems == ["The cell 'norm' is missing.", "The cell 'why_root' is missing."]
    assert ("norm", "exercise") not in names(got)


def test_the_last_of_two_answers_counts(notebook: Any, path: Path) -> None:
    second = nbformat.from_dict(cell(notebook, "norm"))
    second.source, second.id = "def norm(values):\n    return 2", "pasted"
    notebook.cells.insert(place(notebook, "norm") + 1, second)
    got = read(notebook, path)
    assert got.answers["norm"] == second.source
    assert [a.source for a in got.added] == [RIGHT]
    assert names(got)[1:3] == [("added-1", "added"), ("norm", "exercise")]
    assert got.problems == ["The cell 'norm' is there 2 times. The last one counts."]


@pytest.mark.parametrize("leftover", ["", "stub", "x = 1", "same"])
def test_a_copy_without_an_answer_never_counts(notebook: Any, path: Path, leftover: str) -> None:
    second = nbformat.from_dict(cell(notebook, "norm"))
    stub = load_source(TINY).cell("norm").stub
    second.source = {"stub": stub, "same": RIGHT}.get(leftover, leftover)
    notebook.cells.append(second)
    got = read(notebook, path)
    assert got.answers["norm"] == RIGHT
    assert [a.source for a in got.added] == ([leftover] if leftover == "x = 1" else [])


def test_every_cell_twice(notebook: Any, path: Path) -> None:
    notebook.cells = [cell for cell in notebook.cells for _ in range(2)]
    got = read(notebook, path)
    assert (got.answers["norm"], got.added, got.problems) == (RIGHT, [], [])


def test_answers_are_found_without_any_metadata(notebook: Any, path: Path) -> None:
    plain = [
        {"cell_type": cell.cell_type, "source": cell.source.split("\n")} for cell in notebook.cells
    ]
    for cell_ in plain:
        cell_["source"] = [f"{line}\n" for line in cell_["source"]]
    got = read({"cells": plain, "nbformat": 4}, path)
    assert got.answers["norm"].strip() == RIGHT
    assert got.written["why_root"].startswith("Why is there")
    assert got.problems == []
    assert names(got) == GIVEN


def test_an_answer_beside_its_empty_cell(notebook: Any, path: Path) -> None:
    stub = load_source(TINY).cell("norm").stub
    cell(notebook, "norm").source = stub
    insert(notebook, place(notebook, "norm"), RIGHT)
    got = read(notebook, path)
    assert got.answers["norm"] == RIGHT


def test_all_answers_in_one_cell(notebook: Any, path: Path) -> None:
    del notebook.cells[place(notebook, "Counter")]
    cell(notebook, "norm").source += "\n\nclass Counter:\n    pass\n"
    got = read(notebook, path)
    assert got.answers["Counter"] == ""
    assert got.problems == ["The answer of 'Counter' stands in the cell 'norm'."]


def test_changed_cell_types(notebook: Any, path: Path) -> None:
    answer = cell(notebook, "norm")
    answer.cell_type = "markdown"
    cell(notebook, "why_root").cell_type = "code"
    got = read(notebook, path)
    assert got.answers["norm"] == RIGHT
    assert "why_root" in got.written
    assert [p.partition(" was")[0] for p in got.problems] == [
        "The type of the cell 'norm'",
        "The type of the cell 'why_root'",
    ]


def test_flags_tags_outputs_and_kernel_mean_nothing(notebook: Any, path: Path) -> None:
    plain = read(notebook, path)
    for item in notebook.cells:
        item.metadata["tags"] = ["skip-execution"]
        item.metadata.setdefault("nbgrader", {}).update(
            grade=False, solution=False, locked=False, points=1000
        )
        if item.cell_type == "code":
            item.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "100"})]
    notebook.metadata = {"kernelspec": {"name": "julia"}}
    got = read(notebook, path)
    assert got == plain
    assert got.content_hash == plain.content_hash


def test_the_hash_covers_answers_and_added_cells(notebook: Any, path: Path) -> None:
    hashes = {read(notebook, path).content_hash}
    insert(notebook, 3, "x = 1")
    hashes.add(read(notebook, path).content_hash)
    insert(notebook, 0, notebook.cells.pop(3).source)
    hashes.add(read(notebook, path).content_hash)
    cell(notebook, "norm").source += "\n"
    hashes.add(read(notebook, path).content_hash)
    path.write_text("")
    hashes.add(read_submission(path, TINY).content_hash)
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not valid JSON"),
        (b'{"cells": [', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[]", "no list of cells"),
        (b'{"worksheets": []}', "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b'{"cells": [' + b"{}," * 3000 + b"{}]}", "more than 2000 cells"),
        (b"9" * 5000, "not valid JSON"),
        (b'{"cells": []}', "No cell of the file belongs to this notebook"),
        (b'{"cells": [{"cell_type": "code", "source": "x = 1"}]}', "No cell of the file"),
    ],
)
def test_files_that_are_no_notebook(path: Path, content: bytes, complaint: str) -> None:
    path.write_bytes(content)
    got = read_submission(path, TINY)
    assert got.unreadable
    assert complaint in got.problems[0]
    assert got.answers == {}
    assert [origin for _, origin in names(got)].count("exercise") == 0


@pytest.mark.parametrize(
    "odd",
    [
        3,
        {"cell_type": 3, "source": 5, "metadata": []},
        {"cell_type": "code", "source": [1, "def norm(v): ...", None], "metadata": None},
        {"cell_type": "code", "source": "x", "metadata": {"nbgrader": {"grade_id": ["norm"]}}},
        {"cell_type": "code", "source": "\ud800", "id": {"a": 1}},
        {"cell_type": "code", "source": "x\x00y", "metadata": {"nbgrader": "norm"}},
    ],
)
def test_odd_cells_do_no_harm(notebook: Any, path: Path, odd: Any) -> None:
    notebook.cells.append(odd)
    got = read(notebook, path)
    assert not got.unreadable
    assert got.answers["norm"] == RIGHT
    assert got.content_hash
    for item in code_cells(got, load_source(TINY)):
        item.source.encode()


def test_missing_files_folders_and_pipes(tmp_path: Path, path: Path) -> None:
    assert "no notebook called 9_tiny" in read_submission(path, TINY).problems[0]
    path.mkdir()
    assert "not an ordinary file" in read_submission(path, TINY).problems[0]
    pipe = tmp_path / "pipe.ipynb"
    os.mkfifo(pipe)
    assert "not an ordinary file" in read_submission(pipe, TINY).problems[0]


def test_links_are_not_followed(notebook: Any, tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    read(notebook, other / path.name)
    path.symlink_to(other / path.name)
    assert "symbolic link" in read_submission(path, TINY).problems[0]
    (tmp_path / "linked").symlink_to(other)
    assert "symbolic link" in read_submission(tmp_path / "linked" / path.name, TINY).problems[0]


def test_too_large(notebook: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(notebook, 0, "#" * (module.SOURCE_BYTES + 1))
    assert "more than 5 MiB of text" in read(notebook, path).problems[0]
    monkeypatch.setattr(notebook_file, "FILE_BYTES", 1000)
    assert "file is larger" in read(notebook, path).problems[0]


def test_large_outputs_are_no_trouble(notebook: Any, path: Path) -> None:
    text = "x" * (module.SOURCE_BYTES + 1)
    cell(notebook, "norm").outputs = [nbformat.v4.new_output("stream", text=text)]
    assert read(notebook, path).answers["norm"] == RIGHT
