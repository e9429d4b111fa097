"""The hostile members of the demo class."""

from __future__ import annotations

from nbformat import NotebookNode

from autograder.classroom import hostile
from tests.redteam.attack import NOTHING, cell, family

demo = family("the demo's own")


def breaking(name: str, tries: str, source: str, slow: bool = True) -> object:
    """Attack the second exercise."""
    return demo(name, tries, hostile.attack(source, "quarter"), slow=slow)


def stealing(name: str, tries: str, source: str) -> object:
    """Attack both exercises; nothing is answered."""
    answers = {exercise: hostile.attack(source, exercise) for exercise in ("halve", "quarter")}
    return demo(name, tries, answers=answers, deserves=NOTHING)


def edited_checks(notebook: NotebookNode) -> None:
    """Rewrite the cells of the checks."""
    for exercise in ("halve", "quarter"):
        cell(notebook, exercise).source = "pass"
        cell(notebook, f"{exercise}-check").source = hostile.EDITED_CHECK


ATTACKS = [
    breaking("demo_infinite_loop", "an endless loop", hostile.INFINITE_LOOP),
    breaking("demo_endless_sleep", "sleeps for a day", hostile.ENDLESS_SLEEP),
    breaking("demo_memory_hog", "takes 8 GiB of memory", hostile.MEMORY_HOG),
    breaking("demo_early_exit", "ends the process", hostile.EARLY_EXIT, slow=False),
    breaking("demo_fork_storm", "starts 300 processes", hostile.FORK_STORM),
    breaking("demo_output_flood", "prints without end", hostile.OUTPUT_FLOOD),
    breaking("demo_ends_the_grader", "kills every process it can", hostile.ENDS_THE_GRADER),
    breaking("demo_opens_a_socket", "asks the network for the answer", hostile.OPENS_A_SOCKET),
    breaking("demo_writes_everywhere", "writes into every folder", hostile.WRITES_EVERYWHERE),
    stealing("demo_prints_score", "prints its own score everywhere", hostile.PRINTS_OWN_SCORE),
    stealing("demo_patches_tools", "patches torch, numpy, pytest", hostile.PATCHES_THE_TOOLS),
    stealing("demo_equals_all", "returns an object equal to anything", hostile.EQUALS_EVERYTHING),
    stealing("demo_reads_answers", "searches the disk for answers", hostile.READS_THE_ANSWERS),
    demo("demo_edited_checks", "rewrites the check cells", edit=edited_checks, deserves=NOTHING),
]
