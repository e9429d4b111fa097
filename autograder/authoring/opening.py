"""The cells that every built notebook opens with, below its title. They are no part of a source.

The first finds or installs the course, where it is not installed yet, as on Colab. The second
gives a notebook another language than English.
"""

from __future__ import annotations

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.authoring.source import ENGLISH, TopicSource

SETUP_CELL = "setup"
LANGUAGE_CELL = "language"
SETUP = """\
# Where the course is not installed yet, as on Colab, this installs it from its wheel file.
import importlib.util

if importlib.util.find_spec("course_utils") is None:
    import glob
    import os
    import subprocess
    import sys

    places = ("", "../", "/content/", "/content/drive/MyDrive/")
    found = [path for place in places for path in glob.glob(place + "network_compression_*.whl")]
    wheel = os.environ.get("COURSE_WHEEL") or (found and max(found, key=os.path.getmtime))
    if not wheel:
        raise ModuleNotFoundError(
            "the course is not installed. Put its file network_compression_course-….whl beside "
            "this notebook (on Colab: folder symbol on the left, then upload), and run this again"
        )
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Without what it needs: Colab has its own PyTorch, and another one takes gigabytes.
    subprocess.run([*pip, "--no-deps", "--force-reinstall", wheel], check=True)
    importlib.invalidate_caches()
    from course_utils.fresh_machine import missing_packages

    if missing := missing_packages():
        subprocess.run([*pip, *missing], check=True)"""


def opening_texts(source: TopicSource) -> dict[str, str]:
    """Return the opening cells of a notebook: cell id -> text, in order."""
    texts = {SETUP_CELL: SETUP}
    if source.language != ENGLISH:
        texts[LANGUAGE_CELL] = (
            "from course_utils.language import use_language\n\n"
            f'use_language("{source.language}", "{source.topic}")'
        )
    return texts


def opening_cells(texts: dict[str, str]) -> list[NotebookNode]:
    """Return the cells for a notebook; readers see the first one folded."""
    cells = [new_code_cell(text, id=name) for name, text in texts.items()]
    # JupyterLab and Colab each have their own word for it.
    cells[0].metadata = NotebookNode(
        jupyter=NotebookNode(source_hidden=True), cellView="form", tags=[SETUP_CELL]
    )
    return cells
