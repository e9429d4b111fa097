"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- dense_to_csr


@alternative("dense_to_csr")
def dense_to_csr__loops(matrix):
    if matrix.dim() != 2 or (matrix != matrix).any():
        raise ValueError("matrix")
    values, columns, pointers = [], [], [0]
    for row in range(matrix.shape[0]):
        for column in range(matrix.shape[1]):
            if matrix[row, column] != 0:
                values.append(matrix[row, column].item())
                columns.append(column)
        pointers.append(len(values))
    kinds = (matrix.dtype, torch.int64, torch.int64)
    parts = (values, columns, pointers)
    return tuple(torch.tensor(part, dtype=kind) for part, kind in zip(parts, kinds, strict=True))


@alternative("dense_to_csr")
def dense_to_csr__by_torch(matrix):
    if matrix.ndim != 2 or matrix.isnan().any():
        raise ValueError("matrix")
    csr = matrix.to_sparse_csr()
    return csr.values(), csr.col_indices(), csr.crow_indices()


@alternative("dense_to_csr")
def dense_to_csr__by_search(matrix):
    if len(matrix.shape) != 2 or torch.isnan(matrix).any():
        raise ValueError("matrix")
    places = matrix.flatten().nonzero().squeeze(1)
    row_starts = torch.arange(matrix.shape[0] + 1) * matrix.shape[1]
    pointers = torch.searchsorted(places, row_starts)
    return [matrix.flatten()[places], places % matrix.shape[1], pointers]


# ---------------------------------------------------------------- csr_matvec


@alternative("csr_matvec")
def csr_matvec__loops(values, column_indices, row_pointers, x):
    if x.dim() != 1 or (len(column_indices) and int(column_indices.max()) >= len(x)):
        raise ValueError("x")
    if any(number != number for number in [*values.tolist(), *x.tolist()]):
        raise ValueError("NaN")
    out = torch.zeros(len(row_pointers) - 1, dtype=values.dtype)
    for row in range(len(out)):
        for place in range(row_pointers[row], row_pointers[row + 1]):
            out[row] += values[place] * x[column_indices[place]]
    return out


@alternative("csr_matvec")
def csr_matvec__through_dense(values, column_indices, row_pointers, x):
    if x.ndim != 1 or torch.isnan(x).any() or torch.isnan(values).any():
        raise ValueError("x")
    dense = values.new_zeros(len(row_pointers) - 1, len(x))
    rows = torch.repeat_interleave(torch.arange(len(dense)), row_pointers[1:] - row_pointers[:-1])
    if (column_indices >= len(x)).any():
        raise ValueError("x")
    dense[rows, column_indices] = values
    return dense @ x


@alternative("csr_matvec")
def csr_matvec__running_sum(values, column_indices, row_pointers, x):
    if x.ndim != 1 or torch.cat([values, x]).isnan().any():
        raise ValueError("x")
    if len(column_indices) > 0 and column_indices.max() >= x.shape[0]:
        raise ValueError("x")
    sums = torch.cat([values.new_zeros(1), (values * x[column_indices]).cumsum(0)])
    return sums[row_pointers[1:]] - sums[row_pointers[:-1]]


# ---------------------------------------------------------------- storage_bytes


@alternative("storage_bytes")
def storage_bytes__branches(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if min(rows, columns, value_bytes, index_bytes) <= 0:
        raise ValueError("sizes must be positive")
    if nonzeros < 0 or nonzeros > rows * columns:
        raise ValueError("nonzeros")
    if layout == "dense":
        return rows * columns * value_bytes
    size = nonzeros * (value_bytes + index_bytes)
    if layout == "csr":
        return size + index_bytes * (rows + 1)
    if layout == "csc":
        return size + index_bytes * (columns + 1)
    if layout == "coo":
        return size + index_bytes * nonzeros
    raise ValueError("layout")


@alternative("storage_bytes")
def storage_bytes__by_numpy(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    import numpy as np

    sizes = (rows, columns, nonzeros, value_bytes, index_bytes)
    if any(size < 0 for size in sizes) or nonzeros > rows * columns:
        raise ValueError(f"impossible sizes {sizes}")
    try:
        table = np.array(
            {"dense": [0, 0, 0, 0], "csr": [1, 1, 1, 0], "csc": [1, 1, 0, 1], "coo": [1, 2, 0, 0]}[
                layout
            ]
        )
    except KeyError:
        raise ValueError(f"layout {layout}") from None
    if layout == "dense":
        return np.int64(rows * columns * value_bytes)
    each = np.array(
        [
            nonzeros * value_bytes,
            nonzeros * index_bytes,
            (rows + 1) * index_bytes,
            (columns + 1) * index_bytes,
        ]
    )
    return (table * each).sum()


# ---------------------------------------------------------------- break_even_sparsity


@alternative("break_even_sparsity")
def break_even_sparsity__bisection(rows, columns, layout, value_bytes=4, index_bytes=4):
    if layout not in ("csr", "csc", "coo") or min(rows, columns) < 1:
        raise ValueError("layout, rows or columns")
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    indices = 2 if layout == "coo" else 1

    def surplus(sparsity):
        nonzeros = (1 - sparsity) * rows * columns
        return nonzeros * (value_bytes + indices * index_bytes) + pointers - dense

    dense = rows * columns * value_bytes
    if surplus(1.0) > 0 or surplus(0.0) < 0:
        raise ValueError("never")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if surplus(middle) > 0 else (low, middle)
    return high


@alternative("break_even_sparsity")
def break_even_sparsity__density(rows, columns, layout, value_bytes=4, index_bytes=4):
    if rows <= 0 or columns <= 0 or value_bytes <= 0 or index_bytes <= 0:
        raise ValueError("sizes")
    density = {
        "csr": (value_bytes - index_bytes * (rows + 1) / (rows * columns)),
        "csc": (value_bytes - index_bytes * (columns + 1) / (rows * columns)),
        "coo": value_bytes,
    }.get(layout)
    if density is None or density < 0:
        raise ValueError("layout has no break-even point")
    density /= value_bytes + index_bytes * (1 + (layout == "coo"))
    return torch.tensor(1 - density, dtype=torch.float64)
