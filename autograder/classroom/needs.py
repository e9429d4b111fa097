"""Which exercises an exercise's marks depend on: through its answer, and through its checks."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from autograder.settings import topic_folder

# Files of a topic's folder that hold no checks and no helpers of checks.
OTHER_FILES = {"notebook.py", "measurements.py"}
# Fixtures through which a check reaches the student's answers.
PROXIES = {"student", "elsewhere"}


def dependencies(
    sources: Mapping[str, str], calls: Mapping[str, Collection[str]] | None = None
) -> dict[str, set[str]]:
    """Return which other answers each exercise needs, directly or through others.

    Args:
        sources: exercise name -> source text of the answer.
        calls: exercise name -> answers that its checks call; see `check_calls`.
    """
    needs = {
        name: {
            node.id
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Name) and node.id in sources
        }
        | set((calls or {}).get(name, ()))
        for name, source in sources.items()
    }
    for _ in needs:
        for found in needs.values():
            found |= set().union(*(needs[name] for name in found))
    return {name: found - {name} for name, found in needs.items()}


def check_calls(topic: str, exercises: Collection[str]) -> dict[str, set[str]]:
    """Return which answers the checks of each exercise call, themselves or through helpers."""
    functions: dict[str, ast.FunctionDef] = {}
    for path in sorted(topic_folder(topic).glob("*.py")):
        if path.name not in OTHER_FILES:
            functions |= {function.name: function for function in _functions(path)}
    calls: dict[str, set[str]] = {name: set() for name in exercises}
    for function in functions.values():
        exercise = _checked(function)
        if exercise in calls:
            calls[exercise] |= _called(function, functions, set(exercises))
    return calls


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef))


def _checked(function: ast.FunctionDef) -> str | None:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.args:
            first = mark.args[0]
            if mark.func.id == "check" and isinstance(first, ast.Constant):
                return str(first.value)
    return None


def _called(
    start: ast.FunctionDef, functions: Mapping[str, ast.FunctionDef], exercises: set[str]
) -> set[str]:
    """Return the answers that `start` calls: `student.NAME`, or "NAME" as an argument."""
    called: set[str] = set()
    waiting, seen = [start], {start.name}
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Name) and node.id in functions and node.id not in seen:
                seen.add(node.id)
                waiting.append(functions[node.id])
            elif isinstance(node, ast.Attribute) and node.attr in exercises:
                if isinstance(node.value, ast.Name) and node.value.id in PROXIES:
                    called.add(node.attr)
            elif isinstance(node, ast.Call):
                called |= {
                    argument.value
                    for argument in node.args
                    if isinstance(argument, ast.Constant) and argument.value in exercises
                }
    return called
