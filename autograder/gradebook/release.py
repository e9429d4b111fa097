"""How the instructor's notebook becomes the students' copy: nbgrader's own steps, in order.

Both `nbgrader generate_assignment` and the in-process build use this list, so they agree.
"""

from __future__ import annotations

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearSolutions

from autograder.authoring.source import WRITTEN_STUB, code_stub

# nbgrader's list, without the steps for its own kind of hidden tests: ours never are in a notebook.
CLEARING = [
    "nbgrader.preprocessors.LockCells",
    "autograder.gradebook.release.ClearSolutionsByName",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
]
RELEASE_PREPROCESSORS = [
    *CLEARING,
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]


class ClearSolutionsByName(ClearSolutions):
    """Puts a stub that names its exercise in place of each solution."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, cell_index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Clear one cell; the stub's text depends on the cell's grade id."""
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        self.code_stub = {"python": code_stub(name, cell.source)}
        self.text_stub = WRITTEN_STUB
        return super().preprocess_cell(cell, resources, cell_index)
