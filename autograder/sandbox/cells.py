"""Which cells of a notebook are run for grading, and how. Runs inside the sandbox.

Given cells marked `define` and the student's answers run whole. Of cells the student added, what
defines things runs: imports, functions, classes, and assignments that call nothing. Of all other
cells (experiments, plots, visible checks), so much of that as an answer uses. Only where an answer
uses what an experiment computes, the whole notebook runs.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from dataclasses import dataclass, field

DEFINING_ORIGINS = ("define", "exercise")
TRANSPARENT_MAGICS = ("%%time", "%%timeit", "%%capture")
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
STUB_SHELL = "get_ipython"


@dataclass(frozen=True)
class Cell:
    """A code cell: its name, where it comes from, and its text."""

    name: str
    origin: str
    source: str


@dataclass
class Plan:
    """The cells to run, as compiled syntax trees, and why."""

    mode: str = "definitions"
    cells: list[tuple[str, ast.Module]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)


def make_plan(cells: list[Cell]) -> Plan:
    """Decide what runs."""
    plan = Plan()
    parsed: list[tuple[Cell, ast.Module]] = []
    for cell in cells:
        try:
            parsed.append((cell, ast.parse(plain_python(cell.source), filename=f"<{cell.name}>")))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            plan.errors[cell.name] = f"{type(error).__name__}: {error}"
    kept = {cell.name: _definitions(cell, tree) for cell, tree in parsed}
    plan.needed = _add_needed(kept, parsed)
    if plan.needed:
        plan.mode = "whole notebook"
        plan.cells = [(cell.name, tree) for cell, tree in parsed]
    else:
        plan.cells = [(name, tree) for name, tree in kept.items() if tree.body]
    return plan


def plain_python(source: str) -> str:
    """Turn a cell's text into plain Python: magics become calls that do nothing here."""
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        return rest if first.split()[0] in TRANSPARENT_MAGICS else ""
    if not any(line.lstrip().startswith(("%", "!", "?")) for line in source.splitlines()):
        return source
    # Imported here because it takes a while, and most cells have no magic.
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


def _definitions(cell: Cell, tree: ast.Module) -> ast.Module:
    if cell.origin in DEFINING_ORIGINS:
        return tree
    if cell.origin != "added":
        return ast.Module(body=[], type_ignores=[])
    return ast.Module(body=[part for part in tree.body if _defines(part)], type_ignores=[])


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, DEFINITIONS):
        return True
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    return not any(isinstance(node, ast.Call) for node in ast.walk(statement))


def _add_needed(kept: dict[str, ast.Module], parsed: list[tuple[Cell, ast.Module]]) -> list[str]:
    """Add to `kept` the skipped definitions that it uses; return the names that need more.

    Those names are bound by skipped statements that compute something.
    """
    while True:
        merged = ast.Module([part for tree in kept.values() for part in tree.body], [])
        bound = _top_level_names(merged)
        wanted = _global_reads(merged) - bound - set(dir(builtins)) - {STUB_SHELL}
        missing: set[str] = set()
        found = False
        for cell, tree in parsed:
            body = kept[cell.name].body
            for part in tree.body:
                names = _top_level_names(ast.Module([part], [])) & wanted
                if not names or part in body:
                    continue
                if _defines(part):
                    found = True
                    body.append(part)
                    body.sort(key=lambda statement: statement.lineno)
                else:
                    missing |= names
        if missing or not found:
            return sorted(missing)


def _global_reads(tree: ast.Module) -> set[str]:
    try:
        table = symtable.symtable(ast.unparse(tree), "<cells>", "exec")
    except (SyntaxError, RecursionError, MemoryError):
        return set()
    reads: set[str] = set()
    pending = [table]
    while pending:
        scope = pending.pop()
        pending += scope.get_children()
        top = scope is table
        reads |= {
            symbol.get_name()
            for symbol in scope.get_symbols()
            if symbol.is_referenced() and (top or symbol.is_global())
        }
    return reads


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {(item.asname or item.name).partition(".")[0] for item in statement.names}
        else:
            names |= {
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
    return names
