"""nbgrader's notebooks and pages are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nbgrader.converters import base

from autograder.gradebook.whole_files import WholeFilesWriter, use_whole_files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_write_that_is_cut_off_leaves_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = WholeFilesWriter(build_directory=str(tmp_path))
    resources = {"output_extension": ".html"}
    path = writer.write("<p>old</p>", resources, notebook_name="1_page")
    assert path == tmp_path / "1_page.html"
    assert names(tmp_path) == ["1_page.html"]

    seen: list[str] = []

    def cut_off(*_: object) -> None:
        seen.append(path.read_text())
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut_off)
        with pytest.raises(OSError, match="No space"):
            writer.write("<p>new</p>", resources, notebook_name="1_page")
    assert seen == ["<p>old</p>"]
    assert path.read_text() == "<p>old</p>"
    writer.write("<p>new</p>", resources, notebook_name="1_page")
    assert path.read_text() == "<p>new</p>"
    assert names(tmp_path) == ["1_page.html"]


def test_nbgrader_is_given_this_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "FilesWriter", base.FilesWriter)
    use_whole_files()
    assert base.FilesWriter is WholeFilesWriter
