# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   topic: tiny_topic
#   number: 9
#   title: A tiny topic
# ---

# %% [markdown]
# # A tiny topic
#
# $$\lVert v \rVert = \sqrt{\sum_i v_i^2}$$
#
# <details><summary>Hint</summary>Square first, then add.</details>

# %% define
import math


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


# %% exercise="norm" difficulty=1 minutes=5
def norm(values: list[float]) -> float:
    """Return the Euclidean norm."""
    # TODO: square, add, take the root
    ### BEGIN SOLUTION
    require(len(values) > 0, "values must not be empty")
    return math.sqrt(sum(value * value for value in values))
    ### END SOLUTION


# %% check="norm" points=3
assert norm([3.0, 4.0]) == 5.0, "norm([3, 4]) should be 5"

# %%
print(norm([1.0, 1.0]))


# %% exercise="Counter" difficulty=2 minutes=10
class Counter:
    """Counts up."""

    ### BEGIN SOLUTION
    def __init__(self) -> None:
        self.count_so_far = 0

    def step(self) -> int:
        self.count_so_far += 1
        return self.count_so_far

    ### END SOLUTION


# %% check="Counter" points=1.5
counter = Counter()
assert [counter.step(), counter.step()] == [1, 2], "step counts from 1"

# %% [markdown] written="why_root" points=2
# Why is there a root?
#
# ### BEGIN SOLUTION
# Because squares have been added up before.
# ### END SOLUTION

# %% [markdown]
# The end.
