"""Where practice is kept."""

from __future__ import annotations

import os
from pathlib import Path

# A place of one's own in the home folder: it outlives a newer copy of the course.
FOLDER_VARIABLE = "EXAM_PRACTICE_FOLDER"
DEFAULT_FOLDER = "compression_exam_practice"


def practice_folder() -> Path:
    """Return the folder for history, cards and the mock exam under way."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path.home() / DEFAULT_FOLDER)
