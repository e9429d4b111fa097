import json
from pathlib import Path

import pytest

from course_utils import language, progress
from course_utils.progress import passed, rows


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_COURSE_FOLDER", str(tmp_path / "mine"))
    monkeypatch.setattr(language, "_spoken", ["en"])
    return tmp_path / "mine"


def test_nothing_done_yet() -> None:
    found = rows()
    assert [row.title[0] for row in found] == list("1234567")
    assert all(row.done == 0 and row.points == 0 for row in found)
    assert found[0].next_exercise == "magnitude_mask"
    assert sum(row.minutes_left for row in found) > 600


def test_a_passed_check_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = rows()[0]
    passed("magnitude_mask")
    passed("magnitude_mask")
    assert capsys.readouterr().out == "magnitude_mask: good\n" * 2
    after = rows()[0]
    assert (after.done, after.next_exercise) == (1, "prune_weights")
    assert 0 < after.points < after.most_points
    assert after.minutes_left < before.minutes_left


def test_a_finished_notebook() -> None:
    for exercise in progress._plan()[1]["exercises"]:
        passed(exercise["name"])
    row = rows()[1]
    assert (row.done, row.minutes_left, row.next_exercise) == (row.exercises, 0, "")
    assert "done" in repr(progress.progress()).splitlines()[1]


def test_the_panel_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    passed("apoz")
    page = progress.progress()._repr_html_()
    assert page.count("<progress") == 8
    assert "1 Network pruning" in page
    assert "all notebooks" in page
    monkeypatch.setattr(language, "_spoken", ["zh-TW"])
    page = progress.progress()._repr_html_()
    assert "1 網路剪枝" in page
    assert "剩餘時間" in page
    assert "notebook" not in page


def test_texts_are_the_same_in_all_languages() -> None:
    first, *others = progress.TEXTS.values()
    assert all(texts.keys() == first.keys() for texts in others)


def test_no_two_exercises_share_a_name() -> None:
    names = [e["name"] for notebook in progress._plan() for e in notebook["exercises"]]
    assert len(names) == len(set(names))


def test_a_note_that_cannot_be_written_stops_nothing(folder: Path) -> None:
    folder.write_text("no folder")
    with pytest.warns(UserWarning, match="could not be noted"):
        passed("apoz")


def test_a_damaged_note_is_none(folder: Path) -> None:
    passed("apoz")
    (folder / "progress" / "apoz.json").write_text("{")
    assert rows()[0].done == 0


def test_notes_are_plain_data(folder: Path) -> None:
    passed("apoz")
    assert "passed" in json.loads((folder / "progress" / "apoz.json").read_text())
