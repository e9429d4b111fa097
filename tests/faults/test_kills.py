"""Processes killed at random moments: after a second run the gradebook is the undisturbed one."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.faults.conftest import KILLS, SEED, FaultClass, Undisturbed

pytestmark = [
    pytest.mark.suite,
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(3600),
]

DRIVER_KILLS = 8
KILLS_BELOW = 38
SCHEDULER_KILLS = 6
MOST_RUNS = 8


def check_end(made: FaultClass, undisturbed: Undisturbed) -> None:
    """Compare a class that was disturbed with the undisturbed one."""
    made.check_files()
    assert made.books() == undisturbed.books
    assert len(made.verdicts()) == undisturbed.verdicts
    # A kill may come between a verdict and its line in the log, but never makes a second judging.
    assert all(count <= 1 for count in made.judged_well().values())


def test_the_driver_is_killed(new_class: Any, undisturbed: Undisturbed) -> None:
    dice = random.Random(SEED)
    killed = 0
    while killed < DRIVER_KILLS:
        made = new_class()
        for _ in range(MOST_RUNS):
            before = made.verdicts()
            running = made.start()
            time.sleep(dice.uniform(0, undisturbed.seconds))
            killed += running.kill("driver")
            made.check_files()
            after = made.verdicts()
            assert before.items() <= after.items(), "a verdict that was kept was made again"
            if killed == DRIVER_KILLS:
                break
        # At once: what the killed one started may still be at work.
        kept = made.verdicts()
        made.grade()
        assert kept.items() <= made.verdicts().items()
        check_end(made, undisturbed)


def test_workers_judges_sandboxes_and_nbgrader_are_killed(
    new_class: Any, undisturbed: Undisturbed
) -> None:
    dice = random.Random(SEED + 1)
    killed = 0
    while killed < KILLS_BELOW:
        # Once all of a class is judged, only nbgrader is left to kill.
        made = new_class()
        code = None
        while code != 0:
            before = made.verdicts()
            running = made.start()
            # A kill while the cluster starts ends the run; later ones do not.
            time.sleep(dice.uniform(0, undisturbed.seconds / 4))
            while running.process.poll() is None and killed < KILLS_BELOW:
                time.sleep(undisturbed.seconds * dice.uniform(0.005, 0.04))
                killed += bool(running.kill_below(dice))
            code = running.wait()
            assert "Traceback" not in running.text(), running.text()
            made.check_files()
            assert before.items() <= made.verdicts().items()
        # Who could not be judged because of the kills is judged now.
        kept = made.verdicts()
        made.grade()
        assert kept.items() <= made.verdicts().items()
        check_end(made, undisturbed)


def test_the_scheduler_is_killed(new_class: Any, undisturbed: Undisturbed, dask: Any) -> None:
    dice = random.Random(SEED + 2)
    killed = 0
    while killed < SCHEDULER_KILLS:
        made = new_class()
        for _ in range(MOST_RUNS):
            address, scheduler = dask(made)
            running = made.start(scheduler=address)
            # Nobody needs it for the books, which take the second half.
            time.sleep(dice.uniform(0, undisturbed.seconds / 2))
            killed += scheduler.kill("scheduler")
            code = running.wait()
            said = running.text()
            # After the judging, nobody needs the scheduler any more.
            assert code == 0 or "same command again" in said, said
            assert "Traceback" not in said
            made.check_files()
            if killed == SCHEDULER_KILLS:
                break
        kept = made.verdicts()
        made.grade(scheduler=dask(made)[0])
        assert kept.items() <= made.verdicts().items()
        check_end(made, undisturbed)


def test_enough_was_killed() -> None:
    if not {"driver", "scheduler", "worker"} <= set(KILLS):
        pytest.skip("the other tests of this file did not run")
    print(f"\n{KILLS.total()} kills: {dict(KILLS)}")
    assert KILLS.total() >= 50
    kinds = {"driver", "scheduler", "worker", "judge", "sandbox", "template", "nbgrader"}
    assert kinds <= set(KILLS)
