"""The fast part: a driver killed in the middle, a damaged verdict, and what counts as changed."""

from __future__ import annotations

import time
from typing import Any

import nbformat
import pytest

from autograder import settings
from autograder.classroom import batch
from autograder.classroom.survey import survey_topic
from autograder.judge.identity import checks_hash
from tests.faults.conftest import NOTEBOOK, TOPIC


# Dask tries its usual port first; where another cluster has it, a socket is left to the collector.
@pytest.mark.filterwarnings("default")
def test_a_killed_grader_goes_on_where_it_was(
    new_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_class(students=("anna", "ben"))
    running = made.start(workers=1)
    while not made.verdicts():
        assert running.process.poll() is None, running.text()
        time.sleep(0.05)
    assert running.kill("driver")
    kept = made.verdicts()
    made.check_files()
    # Half of one, as a bad disk leaves it: it is judged once more.
    path = made.course / "verdicts" / sorted(kept)[0]
    path.write_bytes(path.read_bytes()[:100])
    made.grade(workers=1)
    made.check_files()
    books = made.books()
    assert books["anna"][0] > books["ben"][0]
    assert sum(made.judged_well().values()) <= 3

    monkeypatch.setattr(settings, "TOPICS", made.root / "topics")
    for module in (settings, batch):
        monkeypatch.setattr(module, "COURSE", made.course)
    checks_hash.cache_clear()
    try:
        assert changed() == set()
        place = made.course / "submitted" / "anna" / TOPIC
        notebook = nbformat.read(place / f"{NOTEBOOK}.ipynb", as_version=4)
        question = next(cell for cell in notebook.cells if cell.id == "why_half")
        question.source = "No verdict depends on this, but a person has to read it."
        nbformat.write(notebook, place / f"{NOTEBOOK}.ipynb")
        assert changed() == {"anna"}
        late = made.course / "submitted" / "ben" / TOPIC / "timestamp.txt"
        late.write_text("2026-03-02 09:00:00 UTC\n")
        assert changed() == {"anna", "ben"}
    finally:
        checks_hash.cache_clear()


def changed() -> set[str]:
    """Return the students whose marks and pages are not up to date."""
    return {item.job.student for item in survey_topic(TOPIC) if not item.in_books}
