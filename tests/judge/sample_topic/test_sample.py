import torch

from autograder.judge.checking import check, expect


@check("halve")
def test_refuses_nan(student):
    with expect.value_error("NaN"):
        student.halve(torch.tensor([float("nan")]))


@check("halve", weight=0.5)
def test_leaves_x_alone(student, rng):
    x = torch.randn(3, generator=rng)
    before = x.clone()
    student.halve(x)
    expect.unchanged(before, x, "x", mistake="in_place")


@check("halve", gate=True, weight=1.5)
def test_halves(student, reference, rng):
    x = torch.randn(3, generator=rng)
    wanted = reference.halve(x)
    expect.close(student.halve(x), wanted, "halve(x)")


@check("quarter", gate=True)
def test_quarters(student, rng):
    x = torch.randn(3, generator=rng)
    wanted = x / 4
    expect.close(student.quarter(x), wanted, "quarter(x)")


@check("quarter")
def test_quarters_elsewhere(student, elsewhere, code_bytes, board, rng):
    x = torch.randn(3, generator=rng)
    wanted = student.quarter(x)
    expect.close(elsewhere.quarter(x), wanted, "quarter(x) in another sandbox")
    board("code bytes", code_bytes)
