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
#   topic: sample_topic
#   number: 8
#   title: A sample topic
# ---

# %% define
import torch


# %% exercise="halve" difficulty=1 minutes=5
def halve(x: torch.Tensor) -> torch.Tensor:
    """Return x / 2."""
    ### BEGIN SOLUTION
    if x.isnan().any():
        raise ValueError("x must not hold NaN")
    return x / 2
    ### END SOLUTION


# %% check="halve" points=3
assert halve(torch.ones(1)).item() == 0.5

# %%
helper_value = halve(torch.tensor([4.0])).item()


# %% exercise="quarter" difficulty=1 minutes=5
def quarter(x: torch.Tensor) -> torch.Tensor:
    """Return x / 4."""
    ### BEGIN SOLUTION
    return halve(halve(x))
    ### END SOLUTION


# %% check="quarter" points=2
assert quarter(torch.ones(1)).item() == 0.25
