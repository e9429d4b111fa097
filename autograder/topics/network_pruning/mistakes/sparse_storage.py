"""Wrong answers that students really give, each with the check that must reject it."""

from __future__ import annotations

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- dense_to_csr


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="the last row pointer is missing: there are rows + 1 of them",
)
def dense_to_csr__no_last_pointer(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    return matrix[rows, columns], columns, counts.cumsum(0) - counts


@mistake(
    "dense_to_csr",
    caught_by="test_csr_with_empty_rows",
    hint="empty rows have no pointer: an empty row repeats the pointer before it",
)
def dense_to_csr__skips_empty_rows(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = rows.unique_consecutive(return_counts=True)[1]
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="counts of the rows in place of pointers: add them up (cumsum)",
)
def dense_to_csr__counts(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="row indices in place of row pointers: that is COO",
)
def dense_to_csr__coo(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    return matrix[rows, columns], columns, rows


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="the matrix is read column by column: that is CSC",
)
def dense_to_csr__csc(matrix):
    columns, rows = matrix.T.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=0)
    return matrix[rows, columns], rows, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="negative values are left out: everything that is not 0 is stored",
)
def dense_to_csr__positive_only(matrix):
    rows, columns = (matrix > 0).nonzero(as_tuple=True)
    counts = (matrix > 0).sum(dim=1)
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_an_all_zero_matrix",
    hint="an all-zero matrix gives float indices: an empty list has no integer dtype of its own",
)
def dense_to_csr__empty_lists(matrix):
    values, columns, pointers = [], [], [0]
    for row in matrix.tolist():
        for column, value in enumerate(row):
            if value != 0:
                values.append(value)
                columns.append(column)
        pointers.append(len(values))
    values = torch.tensor(values, dtype=matrix.dtype)
    return values, torch.tensor(columns), torch.tensor(pointers)


@mistake(
    "dense_to_csr",
    caught_by="test_csr_keeps_dtype_and_every_nonzero",
    hint="the values lose the matrix's dtype",
)
def dense_to_csr__float_values(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    pointers = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return matrix[rows, columns].float(), columns, pointers


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="int32 indices: index tensors are int64",
)
def dense_to_csr__int32(matrix):
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = (matrix != 0).sum(dim=1)
    pointers = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return matrix[rows, columns], columns.int(), pointers.int()


@mistake(
    "dense_to_csr",
    caught_by="test_csr_of_random_matrices",
    hint="the values of a row go from right to left: they go from left to right",
)
def dense_to_csr__right_to_left(matrix):
    flipped = matrix.flip(1)
    rows, columns = flipped.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(matrix))
    pointers = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return flipped[rows, columns], matrix.shape[1] - 1 - columns, pointers


# ---------------------------------------------------------------- csr_matvec


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="values meet the elements of x in their order: each needs x[column_indices]",
)
def csr_matvec__ignores_columns(values, column_indices, row_pointers, x):
    out = values.new_zeros(len(row_pointers) - 1)
    for row in range(len(out)):
        for place in range(int(row_pointers[row]), int(row_pointers[row + 1])):
            out[row] += values[place] * x[place % len(x)]
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_with_empty_rows",
    hint="empty rows are left out: they give a 0",
)
def csr_matvec__drops_empty_rows(values, column_indices, row_pointers, x):
    products = (values * x[column_indices]).split(row_pointers.diff().tolist())
    return torch.stack([part.sum() for part in products if len(part)])


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="the result has the length of x: it has one element for each row",
)
def csr_matvec__length_of_x(values, column_indices, row_pointers, x):
    out = torch.zeros_like(x)
    for row in range(min(len(row_pointers) - 1, len(x))):
        part = slice(int(row_pointers[row]), int(row_pointers[row + 1]))
        out[row] = (values[part] * x[column_indices[part]]).sum()
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="the last row is left out: there are len(row_pointers) - 1 rows",
)
def csr_matvec__misses_last_row(values, column_indices, row_pointers, x):
    out = values.new_zeros(len(row_pointers) - 1)
    for row in range(len(row_pointers) - 2):
        part = slice(int(row_pointers[row]), int(row_pointers[row + 1]))
        out[row] = (values[part] * x[column_indices[part]]).sum()
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_of_random_matrices",
    hint="an element of each row is missing or counted twice: row r ends before pointer r + 1",
)
def csr_matvec__ends_too_early(values, column_indices, row_pointers, x):
    out = values.new_zeros(len(row_pointers) - 1)
    for row in range(len(out)):
        part = slice(int(row_pointers[row]), max(int(row_pointers[row + 1]) - 1, 0))
        out[row] = (values[part] * x[column_indices[part]]).sum()
    return out


@mistake(
    "csr_matvec",
    caught_by="test_product_keeps_the_dtype",
    hint="the result is always float32: torch.zeros needs the dtype of the values",
)
def csr_matvec__float32(values, column_indices, row_pointers, x):
    rows = torch.arange(len(row_pointers) - 1).repeat_interleave(row_pointers.diff())
    products = (values * x[column_indices]).float()
    return torch.zeros(len(row_pointers) - 1).index_add(0, rows, products)


@mistake(
    "csr_matvec",
    caught_by="test_product_rejects_what_is_no_vector",
    hint="x with two dimensions is not rejected: csr_matvec takes a vector",
)
def csr_matvec__takes_anything(values, column_indices, row_pointers, x):
    x = x.flatten()
    rows = torch.arange(len(row_pointers) - 1).repeat_interleave(row_pointers.diff())
    products = values * x[column_indices]
    return products.new_zeros(len(row_pointers) - 1).index_add(0, rows, products)


# ---------------------------------------------------------------- storage_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="the pointers of csr and csc are forgotten",
)
def storage_bytes__no_pointers(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    indices = {"dense": 0, "csr": nonzeros, "csc": nonzeros, "coo": 2 * nonzeros}[layout]
    return (rows * columns if layout == "dense" else nonzeros) * value_bytes + indices * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="csr and csc are swapped: csr has a pointer for each row",
)
def storage_bytes__swapped(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": columns + 1, "csc": rows + 1, "coo": nonzeros}[layout]
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="one pointer is missing: there are rows + 1 (csr) or columns + 1 (csc)",
)
def storage_bytes__one_pointer_short(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows, "csc": columns, "coo": nonzeros}[layout]
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="coo stores a row and a column index for each value, not one",
)
def storage_bytes__coo_one_index(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout]
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_values_and_indices",
    hint="value_bytes and index_bytes are not used, or one in place of the other",
)
def storage_bytes__four_bytes_each(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": nonzeros}[layout]
    return (2 * nonzeros + pointers) * value_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_of_every_layout",
    hint="the dense layout stores the zeros, too",
)
def storage_bytes__dense_nonzeros(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    indices = {"csr": nonzeros + rows + 1, "csc": nonzeros + columns + 1, "coo": 2 * nonzeros}
    return nonzeros * value_bytes + indices.get(layout, 0) * index_bytes


@mistake(
    "storage_bytes",
    caught_by="test_bytes_reject_impossible_arguments",
    hint="impossible sizes are not rejected: unknown layouts, negative sizes, too many nonzeros",
)
def storage_bytes__rejects_nothing(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if layout == "dense":
        return rows * columns * value_bytes
    pointers = {"csr": rows + 1, "csc": columns + 1}.get(layout, nonzeros)
    return nonzeros * value_bytes + (nonzeros + pointers) * index_bytes


# ---------------------------------------------------------------- break_even_sparsity


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_of_every_layout",
    hint="the density is returned, not the sparsity: sparsity = 1 - density",
)
def break_even_sparsity__density(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    return (rows * columns * value_bytes - pointers) / each / (rows * columns)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_of_every_layout",
    hint="the pointers are forgotten",
)
def break_even_sparsity__no_pointers(rows, columns, layout, value_bytes=4, index_bytes=4):
    return 1 - value_bytes / (value_bytes + index_bytes * (2 if layout == "coo" else 1))


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_of_every_layout",
    hint="csr and csc are swapped on a matrix that is not square",
)
def break_even_sparsity__swapped(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csc": rows + 1, "csr": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    return 1 - (rows * columns * value_bytes - pointers) / each / (rows * columns)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_is_not_rounded",
    hint="the number of nonzeros is rounded: the solution is real-valued",
)
def break_even_sparsity__whole_nonzeros(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    return 1 - (rows * columns * value_bytes - pointers) // each / (rows * columns)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_that_does_not_exist",
    hint="where no sparsity in [0, 1] is a solution: a ValueError, not a clamped number",
)
def break_even_sparsity__clamped(rows, columns, layout, value_bytes=4, index_bytes=4):
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    sparsity = 1 - (rows * columns * value_bytes - pointers) / each / (rows * columns)
    return min(max(sparsity, 0.0), 1.0)


@mistake(
    "break_even_sparsity",
    caught_by="test_break_even_rejects_impossible_arguments",
    hint='"dense" has no break-even point with itself: ValueError',
)
def break_even_sparsity__takes_dense(rows, columns, layout, value_bytes=4, index_bytes=4):
    require(layout in ("dense", "csr", "csc", "coo") and rows > 0 and columns > 0, "arguments")
    if layout == "dense":
        return 0.0
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    each = value_bytes + index_bytes * (2 if layout == "coo" else 1)
    sparsity = 1 - (rows * columns * value_bytes - pointers) / each / (rows * columns)
    require(0 <= sparsity <= 1, "no break-even point")
    return sparsity
