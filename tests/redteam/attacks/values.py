"""Replies of the wrong type, size or shape."""

from __future__ import annotations

from tests.redteam.attack import family

values = family("odd values")


def returns(name: str, tries: str, expression: str, **more: object) -> object:
    """An answer that returns one expression."""
    return values(name, tries, f"import torch\ndef quarter(x):\n    return {expression}", **more)


ATTACKS = [
    returns("returns_none", "returns nothing", "None"),
    returns("returns_nan", "returns NaN everywhere", "x * float('nan')"),
    returns("returns_infinity", "returns infinity", "x * float('inf')"),
    returns("returns_points", "returns the points that it wants", "2.0"),
    returns("returns_wrong_shape", "right numbers in another shape", "(x / 4).reshape(1, 1, -1)"),
    returns("returns_wrong_type", "a tensor of text's bytes", "torch.tensor(list(b'x / 4'))"),
    returns("returns_complex", "complex numbers", "(x / 4) + 1j"),
    returns("returns_sparse", "a sparse tensor, which does not cross", "(x / 4).to_sparse()"),
    returns("returns_meta", "a tensor without data", "torch.empty_like(x, device='meta')"),
    returns("returns_large", "a tensor of half a gigabyte", "torch.zeros(2**27)", slow=True),
    returns("returns_endless", "a view of 10^13 elements", "torch.zeros(1).expand(10**13)"),
    returns("returns_long_integer", "a number of 4,000 digits", "10**4000"),
    returns("returns_text", "a text of 20 million characters", "'x / 4 ' * 4_000_000"),
    values(
        "returns_deep_list",
        "a list nested 50,000 deep",
        """
        def quarter(x):
            value = []
            for _ in range(50_000):
                value = [value]
            return value
        """,
    ),
    values(
        "returns_itself",
        "a list that holds itself",
        """
        def quarter(x):
            value = [x / 4]
            value.append(value)
            return value
        """,
    ),
    values(
        "returns_endless_iterator",
        "an iterator without end",
        """
        def quarter(x):
            while True:
                yield x / 4
        """,
    ),
]
