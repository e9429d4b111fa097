import functools

from autograder.authoring.answers import alternative


@alternative("norm")
@functools.cache
def norm__hypot(values: tuple[float, ...]) -> float:
    return math.hypot(*values)  # noqa: F821 (imported by the notebook's define cell)
