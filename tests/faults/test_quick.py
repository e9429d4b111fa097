"""The fast part: one driver killed in the middle, and damaged verdicts."""

from __future__ import annotations

import time
from typing import Any

from tests.faults.conftest import KILLS, TOPIC


def test_a_killed_grader_goes_on_where_it_was(new_class: Any) -> None:
    made = new_class()
    running = made.start(workers=1)
    while not made.verdicts():
        assert running.process.poll() is None, running.text()
        time.sleep(0.05)
    assert running.kill("driver")
    kept = made.verdicts()
    made.check_files()
    # Half of one, nothing of another: as a bad disk leaves them.
    damaged = sorted(kept)[0]
    path = made.course / "verdicts" / damaged
    path.write_bytes(path.read_bytes()[:100])
    said = made.grade("--only-changed")
    assert damaged in made.verdicts()
    books = made.books()
    assert books["anna"][0] == books["dora"][0] > books["ben"][0]
    counts = made.judged_well()
    assert sum(counts.values()) <= len(books) + 1
    assert "unchanged" not in said

    before = made.verdicts()
    pages = {path: path.stat().st_mtime_ns for path in made.course.rglob("*.html")}
    assert f"{len(books)} unchanged, left alone" in made.grade("--only-changed")
    assert made.verdicts() == before
    assert {path: path.stat().st_mtime_ns for path in pages} == pages
    assert KILLS["driver"] >= 1
    assert not (made.course / "logs" / TOPIC / "nobody.log").exists()
