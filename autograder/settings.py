"""Where things are, and how much a submission may use."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

MEBIBYTE = 2**20

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent
TOPICS = PACKAGE / "topics"
GRADING_DATA = PACKAGE / "grading_data"
NOTEBOOKS = REPOSITORY / "notebooks"
# What the notebooks' own checks say in other languages; students get it.
MESSAGES = REPOSITORY / "course_utils" / "messages"
PLAN = REPOSITORY / "course_utils" / "course_plan.json"
# A class may lie elsewhere: on another disk, or one folder for each term.
COURSE = (REPOSITORY / (os.environ.get("AUTOGRADER_COURSE") or "course")).resolve()

# Address of nbgrader's gradebook, such as postgresql+psycopg://USER@HOST/NAME; empty for the file
# course/gradebook.db.
GRADEBOOK = os.environ.get("AUTOGRADER_GRADEBOOK", "")


class Limits(BaseModel):
    """What one submission may use while it is judged.

    CPU time decides, not wall time, so a busy machine costs no student a point.
    Time on the clock counts only while code waits without computing.
    """

    model_config = ConfigDict(frozen=True)

    check_cpu_seconds: int = Field(10, description="CPU time of one check, in seconds")
    definitions_cpu_seconds: int = Field(
        30, description="CPU time for running the cells that define things, in seconds"
    )
    notebook_cpu_seconds: int = Field(
        300, description="CPU time for running the whole notebook where that is needed, in seconds"
    )
    idle_seconds: float = Field(10.0, description="wall time without any computing, in seconds")
    submission_wall_seconds: float = Field(
        900.0,
        description="time of one submission in all checks, in seconds: CPU time while it computes, "
        "wall time while it waits",
    )
    memory_bytes: int = Field(2048 * MEBIBYTE, description="memory of all processes together")
    processes: int = Field(64, description="processes and threads at the same time")
    file_bytes: int = Field(64 * MEBIBYTE, description="size of one file, and of the work folder")
    message_bytes: int = Field(256 * MEBIBYTE, description="size of one value sent back")


def topic_names() -> list[str]:
    """Return the topics that have a notebook source, sorted by name."""
    return sorted(path.parent.name for path in TOPICS.glob("*/notebook.py"))


def topic_folder(topic: str) -> Path:
    """Return the folder of `topic`.

    Raises:
        ValueError: there is no such topic.
    """
    folder = TOPICS / topic
    if topic not in topic_names():
        known = ", ".join(topic_names()) or "none yet"
        raise ValueError(f"unknown topic {topic!r}; the topics are: {known}")
    return folder
