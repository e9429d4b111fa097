"""Names of a notebook: an explorer still works when every cell below it has been run."""

from __future__ import annotations

import symtable
from collections.abc import Iterator

import pytest

from autograder.authoring.build import complete_notebook
from autograder.authoring.source import topics_in_order


def assigned(code: str) -> set[str]:
    """Return the global names that a cell gives a value, its functions and imports included."""
    table = symtable.symtable(code, "cell", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}


def used_by_functions(code: str) -> set[str]:
    """Return the global names that the functions of a cell look up when they are called."""

    def within(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if symbol.is_global():
                yield symbol.get_name()
        for child in table.get_children():
            yield from within(child)

    module = symtable.symtable(code, "cell", "exec")
    return {name for child in module.get_children() for name in within(child)}


@pytest.mark.parametrize("topic", topics_in_order())
def test_no_cell_takes_a_name_from_an_explorer(topic: str) -> None:
    cells = [cell for cell in complete_notebook(topic).cells if cell.cell_type == "code"]
    taken = {}
    for place, cell in enumerate(cells):
        if "explorer(" not in cell.source:
            continue
        needed = used_by_functions(cell.source)
        for other in cells[place + 1 :]:
            if lost := needed & assigned(other.source):
                taken[cell.id, other.id] = lost
    assert taken == {}
