"""Hidden checks: dense_to_csr, csr_matvec, storage_bytes and break_even_sparsity."""

from __future__ import annotations

import torch
from torch import Tensor

from autograder.judge.checking import check, describe, expect, fail
from autograder.judge.student import Student
from autograder.judge.toys import uniform

NAN = float("nan")
SPARSE = ("csr", "csc", "coo")
Csr = tuple[Tensor, Tensor, Tensor]


def sparse_matrix(
    rows: int, columns: int, density: float, rng: torch.Generator, empty: tuple[int, ...] = ()
) -> Tensor:
    """Return a random matrix (rows, columns) with these rows empty, and no others."""
    matrix = torch.randn(rows, columns, generator=rng)
    kept = torch.rand(rows, columns, generator=rng) < density
    kept[torch.arange(rows), torch.randint(columns, (rows,), generator=rng)] = True
    matrix *= kept
    matrix[list(empty)] = 0
    return matrix


def csr_of(matrix: Tensor) -> Csr:
    """Return the three CSR tensors of a matrix."""
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(matrix))
    return matrix[rows, columns], columns, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def expect_csr(got: object, matrix: Tensor, what: str) -> None:
    """Expect the CSR form of a matrix: row by row, from left to right."""
    if not isinstance(got, list | tuple) or len(got) != 3:
        fail(f"{what}: expected (values, column_indices, row_pointers), got {describe(got)}")
    values, columns, pointers = got
    right_values, right_columns, right_pointers = csr_of(matrix)
    expect.tensor(values, what=f"{what}: values")
    expect.tensor(columns, what=f"{what}: column_indices")
    if values.shape != right_values.shape or columns.shape != right_values.shape:
        fail(
            f"{what}: expected {len(right_values)} values and as many column indices, got shapes "
            f"{tuple(values.shape)} and {tuple(columns.shape)}; only exact zeros are left out"
        )
    message = f"{what}: row_pointers (rows + 1 of them; an empty row repeats the one before)"
    expect.tensor(pointers, right_pointers.shape, torch.int64, message)
    expect.equal(pointers, right_pointers, message)
    expect.tensor(columns, dtype=torch.int64, what=f"{what}: column_indices")
    expect.tensor(values, dtype=matrix.dtype, what=f"{what}: values keep the matrix's dtype")
    rebuilt = torch.zeros_like(matrix)
    inside = bool(((columns >= 0) & (columns < matrix.shape[1])).all())
    expect.true(inside, f"{what}: a column index is outside the matrix")
    rows = torch.arange(len(matrix)).repeat_interleave(pointers.diff())
    rebuilt[rows, columns] = values
    message = f"{what}: the matrix that these three tensors describe"
    expect.equal(rebuilt, matrix, message)
    message = f"{what}: column_indices (each row from left to right)"
    expect.equal(columns, right_columns, message)


# ---------------------------------------------------------------- dense_to_csr


@check("dense_to_csr", gate=True)
def test_csr_of_random_matrices(student: Student, rng: torch.Generator) -> None:
    for rows, columns, density in ((5, 9, 0.4), (8, 3, 0.5), (4, 4, 1.0), (12, 20, 0.1)):
        matrix = sparse_matrix(rows, columns, density, rng)
        expect_csr(student.dense_to_csr(matrix), matrix, f"a {rows} x {columns} matrix")


@check("dense_to_csr")
def test_csr_with_empty_rows(student: Student, rng: torch.Generator) -> None:
    for empty in ((0,), (0, 1), (3, 4), (6,), (5, 6), (0, 2, 6)):
        matrix = sparse_matrix(7, 4, 0.8, rng, empty)
        expect_csr(student.dense_to_csr(matrix), matrix, f"a matrix with the rows {empty} empty")


@check("dense_to_csr")
def test_csr_of_an_all_zero_matrix(student: Student) -> None:
    for rows, columns in ((1, 1), (3, 5), (6, 2)):
        for dtype in (torch.float32, torch.float64):
            matrix = torch.zeros(rows, columns, dtype=dtype)
            expect_csr(student.dense_to_csr(matrix), matrix, f"all zeros, {rows} x {columns}")


@check("dense_to_csr")
def test_csr_of_one_row_or_one_column(student: Student, rng: torch.Generator) -> None:
    for rows, columns in ((1, 1), (1, 8), (8, 1)):
        for density in (0.5, 1.0):
            matrix = sparse_matrix(rows, columns, density, rng)
            expect_csr(student.dense_to_csr(matrix), matrix, f"a {rows} x {columns} matrix")


@check("dense_to_csr")
def test_csr_keeps_dtype_and_every_nonzero(student: Student, rng: torch.Generator) -> None:
    whole = torch.randint(-3, 4, (6, 7), generator=rng)
    double = sparse_matrix(5, 6, 0.5, rng).double() / 3
    tiny = sparse_matrix(5, 6, 0.6, rng) * 1e-30
    large = sparse_matrix(5, 6, 0.6, rng) * 1e30
    negative = -sparse_matrix(6, 5, 0.5, rng).abs()
    for matrix in (whole, double, tiny, large, negative):
        expect_csr(student.dense_to_csr(matrix), matrix, f"values of dtype {matrix.dtype}")


@check("dense_to_csr")
def test_csr_leaves_the_matrix_alone(student: Student, rng: torch.Generator) -> None:
    matrix = sparse_matrix(6, 9, 0.4, rng)
    before = matrix.clone()
    got = student.dense_to_csr(matrix=matrix)
    expect.unchanged(before, matrix, "matrix")
    expect_csr(got, before, "a 6 x 9 matrix")


@check("dense_to_csr")
def test_csr_rejects_what_is_no_matrix(student: Student) -> None:
    for shape in ((4,), (2, 3, 4)):
        with expect.value_error(f"a tensor of shape {shape}"):
            student.dense_to_csr(torch.ones(shape))


@check("dense_to_csr")
def test_csr_rejects_nan(student: Student, rng: torch.Generator) -> None:
    for place in ((0, 0), (5, 8)):
        for dtype in (torch.float32, torch.float64):
            matrix = sparse_matrix(6, 9, 0.4, rng).to(dtype)
            matrix[place] = NAN
            with expect.value_error(f"a matrix with NaN at {place}"):
                student.dense_to_csr(matrix)


# ---------------------------------------------------------------- csr_matvec


def expect_product(student: Student, matrix: Tensor, x: Tensor, what: str) -> None:
    """Expect the product of a matrix, given as CSR, with a vector."""
    right = matrix @ x
    got = student.csr_matvec(*csr_of(matrix), x)
    expect.tensor(got, right.shape, right.dtype, what)
    tight = 1e-9 if right.dtype == torch.float64 else 1e-4
    expect.close(got, right, what, atol=tight, rtol=tight)


@check("csr_matvec", gate=True)
def test_product_of_random_matrices(student: Student, rng: torch.Generator) -> None:
    for rows, columns, density in ((5, 9, 0.4), (8, 3, 0.5), (4, 4, 1.0), (15, 25, 0.2)):
        matrix = sparse_matrix(rows, columns, density, rng)
        x = torch.randn(columns, generator=rng)
        expect_product(student, matrix, x, f"a {rows} x {columns} matrix times x")


@check("csr_matvec")
def test_product_with_empty_rows(student: Student, rng: torch.Generator) -> None:
    for empty in ((0,), (0, 1), (3, 4), (6,), (5, 6), (0, 2, 6)):
        matrix = sparse_matrix(7, 4, 0.8, rng, empty)
        x = torch.randn(4, generator=rng)
        expect_product(student, matrix, x, f"rows {empty} empty: the product")


@check("csr_matvec")
def test_product_of_an_all_zero_matrix(student: Student, rng: torch.Generator) -> None:
    for rows, columns in ((1, 1), (3, 5), (6, 2)):
        x = torch.randn(columns, generator=rng)
        expect_product(student, torch.zeros(rows, columns), x, "an all-zero matrix: the product")


@check("csr_matvec")
def test_product_of_one_row_or_one_column(student: Student, rng: torch.Generator) -> None:
    for rows, columns in ((1, 1), (1, 8), (8, 1)):
        x = torch.randn(columns, generator=rng)
        matrix = sparse_matrix(rows, columns, 0.7, rng)
        expect_product(student, matrix, x, f"a {rows} x {columns} matrix times x")


@check("csr_matvec")
def test_product_keeps_the_dtype(student: Student, rng: torch.Generator) -> None:
    double = sparse_matrix(9, 12, 0.4, rng, empty=(2, 8)).double() / 3
    x = torch.randn(12, generator=rng).double() / 7
    expect_product(student, double, x, "float64: the product")
    whole = torch.randint(-3, 4, (6, 5), generator=rng)
    expect_product(student, whole, torch.tensor([3, -1, 0, 7, 2**30]), "int64: the product")


@check("csr_matvec")
def test_product_leaves_its_arguments_alone(student: Student, rng: torch.Generator) -> None:
    matrix, x = sparse_matrix(6, 9, 0.4, rng), torch.randn(9, generator=rng)
    values, column_indices, row_pointers = csr_of(matrix)
    given = {
        "values": values,
        "column_indices": column_indices,
        "row_pointers": row_pointers,
        "x": x,
    }
    before = {name: tensor.clone() for name, tensor in given.items()}
    got = student.csr_matvec(**given)
    expect.unchanged(before, given, "an argument")
    expect.close(got, matrix @ x, "the product", atol=1e-4)


@check("csr_matvec")
def test_product_rejects_what_is_no_vector(student: Student, rng: torch.Generator) -> None:
    matrix = sparse_matrix(5, 4, 1.0, rng)
    for shape in ((4, 1), (4, 2), (1, 4)):
        with expect.value_error(f"x of shape {shape}: csr_matvec takes a vector"):
            student.csr_matvec(*csr_of(matrix), torch.ones(shape))
    with expect.value_error("x with 3 elements for a matrix with 4 columns"):
        student.csr_matvec(*csr_of(matrix), torch.ones(3))


@check("csr_matvec")
def test_product_rejects_nan(student: Student, rng: torch.Generator) -> None:
    matrix, x = sparse_matrix(6, 9, 0.4, rng), torch.randn(9, generator=rng)
    matrix[:, 0], matrix[1, 3] = 0, 1  # nothing meets the first element of x
    values, column_indices, row_pointers = csr_of(matrix)
    for place in (0, 3):
        broken = x.clone()
        broken[place] = NAN
        with expect.value_error(f"x with NaN in element {place}"):
            student.csr_matvec(values, column_indices, row_pointers, broken)
    broken = values.clone()
    broken[-1] = NAN
    with expect.value_error("values with NaN"):
        student.csr_matvec(broken, column_indices, row_pointers, x)


# ---------------------------------------------------------------- storage_bytes


def stored(rows: int, columns: int, nonzeros: int, layout: str, value: int, index: int) -> int:
    """Return the bytes of a layout, from the definition of its arrays."""
    if layout == "dense":
        return rows * columns * value
    indices = {
        "csr": nonzeros + rows + 1,
        "csc": nonzeros + columns + 1,
        "coo": nonzeros + nonzeros,
    }
    return nonzeros * value + indices[layout] * index


def expect_bytes(got: object, wanted: int, what: str) -> None:
    """Expect this number of bytes, as an int."""
    if expect.integer(got, what) != wanted:
        fail(
            f"{what}: expected {wanted} bytes, got {got}; csr has rows + 1 pointers, csc "
            "columns + 1, coo two indices a value, and each index takes index_bytes"
        )


@check("storage_bytes", gate=True)
def test_bytes_of_every_layout(student: Student, rng: torch.Generator) -> None:
    for rows, columns in ((uniform(rng, 3, 50), uniform(rng, 60, 90)), (500, 800), (90, 7)):
        nonzeros = uniform(rng, 1, rows * columns)
        for layout in ("dense", *SPARSE):
            got = student.storage_bytes(rows, columns, nonzeros, layout)
            what = f"storage_bytes({rows}, {columns}, {nonzeros}, {layout!r})"
            expect_bytes(got, stored(rows, columns, nonzeros, layout, 4, 4), what)


@check("storage_bytes")
def test_bytes_of_values_and_indices(student: Student, rng: torch.Generator) -> None:
    for value, index in ((1, 2), (8, 4), (4, 8), (2, 1)):
        rows, columns = uniform(rng, 2, 40), uniform(rng, 41, 80)
        nonzeros = uniform(rng, 1, rows * columns)
        for layout in ("dense", *SPARSE):
            arguments = (rows, columns, nonzeros, layout, value, index)
            what = f"storage_bytes{arguments}"
            expect_bytes(student.storage_bytes(*arguments), stored(*arguments), what)


@check("storage_bytes")
def test_bytes_at_the_edges(student: Student) -> None:
    for rows, columns, nonzeros in ((1, 1, 0), (1, 1, 1), (6, 9, 0), (6, 9, 54), (1, 7, 3)):
        for layout in ("dense", *SPARSE):
            got = student.storage_bytes(rows, columns, nonzeros, layout)
            what = f"storage_bytes({rows}, {columns}, {nonzeros}, {layout!r})"
            expect_bytes(got, stored(rows, columns, nonzeros, layout, 4, 4), what)


@check("storage_bytes")
def test_bytes_by_keyword(student: Student) -> None:
    got = student.storage_bytes(
        rows=30, columns=70, nonzeros=100, layout="csr", value_bytes=2, index_bytes=8
    )
    expect_bytes(got, stored(30, 70, 100, "csr", 2, 8), "storage_bytes by keyword")
    got = student.storage_bytes(30, 70, 100, "csc", index_bytes=2)
    expect_bytes(got, stored(30, 70, 100, "csc", 4, 2), "storage_bytes with index_bytes=2")


@check("storage_bytes")
def test_bytes_reject_impossible_arguments(student: Student) -> None:
    for layout in ("zip", "bsr", ""):
        with expect.value_error(f"the unknown layout {layout!r}"):
            student.storage_bytes(4, 5, 3, layout)
    for layout in ("dense", *SPARSE):
        for sizes in ((-4, 5, 0), (4, -5, 0), (4, 5, -1), (4, 5, 21), (-4, -5, 3)):
            with expect.value_error(f"storage_bytes{(*sizes, layout)}"):
                student.storage_bytes(*sizes, layout)
    for name in ("value_bytes", "index_bytes"):
        with expect.value_error(f"{name} = -4"):
            student.storage_bytes(4, 5, 3, "csr", **{name: -4})


# ---------------------------------------------------------------- break_even_sparsity


def even(rows: int, columns: int, layout: str, value: int, index: int) -> float:
    """Return the break-even sparsity; above 1 where there is none."""
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index
    each = value + index * (2 if layout == "coo" else 1)
    return 1 - (rows * columns * value - pointers) / each / (rows * columns)


def expect_even(student: Student, *arguments: object) -> None:
    """Expect the break-even sparsity of these arguments."""
    got = student.break_even_sparsity(*arguments)
    rows, columns, layout, value, index = (*arguments, 4, 4)[:5]
    what = f"break_even_sparsity{arguments}"
    number = expect.number(got, what, 0, 1)
    wanted = even(rows, columns, layout, value, index)
    if abs(number - wanted) > 1e-6:
        fail(
            f"{what}: expected {wanted:.6f}, got {number:.6f}; set the bytes of values, indices "
            "and pointers equal to the dense bytes and solve for the fraction of zeros, unrounded"
        )


@check("break_even_sparsity", gate=True)
def test_break_even_of_every_layout(student: Student, rng: torch.Generator) -> None:
    for rows, columns in ((500, 800), (uniform(rng, 20, 40), uniform(rng, 60, 90)), (90, 11)):
        for layout in SPARSE:
            expect_even(student, rows, columns, layout)


@check("break_even_sparsity")
def test_break_even_of_other_sizes(student: Student, rng: torch.Generator) -> None:
    for value, index in ((4, 8), (8, 4), (2, 2), (4, 2), (1, 4)):
        rows, columns = uniform(rng, 20, 50), uniform(rng, 51, 99)
        for layout in SPARSE:
            expect_even(student, rows, columns, layout, value, index)


@check("break_even_sparsity")
def test_break_even_is_not_rounded(student: Student) -> None:
    for arguments in ((2, 3, "csr"), (2, 3, "csc"), (3, 2, "csr"), (2, 3, "coo"), (3, 7, "csc")):
        expect_even(student, *arguments)
    expect_even(student, 1, 2, "csr")  # the pointers alone are as large: only sparsity 1 will do
    expect_even(student, 2, 1, "csc")
    expect_even(student, 1, 1, "coo")


@check("break_even_sparsity")
def test_break_even_by_keyword(student: Student) -> None:
    got = student.break_even_sparsity(
        rows=30, columns=70, layout="csc", value_bytes=2, index_bytes=1
    )
    expect.close(got, even(30, 70, "csc", 2, 1), "break_even_sparsity by keyword")


@check("break_even_sparsity")
def test_break_even_that_does_not_exist(student: Student) -> None:
    never = ((1, 1, "csr"), (1, 1, "csc"), (5, 1, "csr"), (1, 5, "csc"), (2, 3, "csr", 1, 4))
    for arguments in never:
        with expect.value_error(f"break_even_sparsity{arguments}: no sparsity in [0, 1] solves it"):
            student.break_even_sparsity(*arguments)


@check("break_even_sparsity")
def test_break_even_rejects_impossible_arguments(student: Student) -> None:
    for layout in ("dense", "zip", ""):
        with expect.value_error(f"the layout {layout!r}"):
            student.break_even_sparsity(40, 50, layout)
    for sizes in ((-40, 50), (40, -50), (-40, -50)):
        with expect.value_error(f"{sizes[0]} rows and {sizes[1]} columns"):
            student.break_even_sparsity(*sizes, "csr")
    for name in ("value_bytes", "index_bytes"):
        with expect.value_error(f"{name} = -8"):
            student.break_even_sparsity(40, 50, "csr", **{name: -8})
