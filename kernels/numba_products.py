"""Matrix products in a row in one compiled call, see products.py.

NumPy takes the interpreter's lock back after each product, and two threads spend much of their time waiting for each
other. Here the list of products becomes a table of addresses, and a compiled loop gives its rows to BLAS, SciPy's copy
of it, without a look at the interpreter.
"""

from typing import Any

import numpy as np
from llvmlite import binding
from numba import njit, types
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from minidl.kernels.products import Product, Products

Array = NDArray[Any]

for _name in ("sgemm", "dgemm"):
    binding.add_symbol(f"minidl_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
# transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc: addresses all of them, as Fortran wants it
_signature = types.void(*[types.intp] * 13)
_sgemm: Any = types.ExternalFunction("minidl_sgemm", _signature)
_dgemm: Any = types.ExternalFunction("minidl_dgemm", _signature)
_blas_limit = threadpool_limits(limits=1, user_api="blas")  # SciPy's BLAS has come just now
_PLAIN_OR_TURNED = np.frombuffer(b"NT", np.uint8).copy()
_BATCH = 4  # axes of a batch of matrices, filled up with ones


def table(products: Products) -> tuple[Array, Array, Array]:
    """Return what ``run_table`` needs to know of a list of products, without a reference to its arrays."""
    rows = np.array([_row(step, products.samples) for step in products.steps], np.int64)
    return rows, np.array(products.starts, np.int64), np.array([1, 0], products.steps[0].out.dtype)


def run_table(rows: Array, starts: Array, one_and_zero: Array) -> None:
    """Compute a list of products for all its chunks."""
    _run(rows, starts, one_and_zero, _PLAIN_OR_TURNED)


def _row(step: Product, samples: int) -> list[int]:
    """Return addresses, bytes from a sample to the next, the matrices' extents and layouts, and the batch's."""
    operands = step[:3]
    moves = [array.strides[0] if moving else 0 for array, moving in zip(operands, step.moving, strict=True)]
    batch = (samples, *step.out.shape[1:-2]) if step.moving[2] else step.out.shape[:-2]
    layouts = [_layout(array) for array in operands]
    extents = (step.out.shape[-2], step.out.shape[-1], step.left.shape[-1])
    spare = (1,) * (_BATCH - len(batch))
    strides = [stride for array in operands for stride in _strides(array, len(batch))]
    return [
        *(array.__array_interface__["data"][0] for array in operands),
        *moves,
        *extents,
        *(number for layout in layouts for number in layout),
        not step.accumulate,
        *spare,
        *batch,
        *strides,
    ]


def _layout(array: Array) -> tuple[int, int]:
    """Return whether a matrix lies turned in memory, and the distance of its rows, or columns."""
    rows, columns = array.shape[-2:]
    of_rows, of_columns = array.strides[-2] // array.itemsize, array.strides[-1] // array.itemsize
    if of_columns == 1 or columns <= 1 or rows == 0:
        return 0, max(of_rows, columns, 1) if rows > 1 else max(columns, 1)
    assert of_rows == 1 or rows == 1
    return 1, max(of_columns, rows)


def _strides(array: Array, axes: int) -> list[int]:
    """Return the bytes between the matrices of a batch; 0 where all share one."""
    own = [stride if extent > 1 else 0 for extent, stride in zip(array.shape[:-2], array.strides[:-2], strict=True)]
    return [0] * (_BATCH - len(own)) + own


@njit(nogil=True, cache=True, error_model="numpy")
def _run(rows: Any, starts: Any, one_and_zero: Any, letters: Any) -> None:
    size = one_and_zero.itemsize
    numbers = np.empty(6, np.int32)
    n, scalar, letter = numbers.ctypes.data, one_and_zero.ctypes.data, letters.ctypes.data
    for start in starts:
        for t in rows:
            left, right, out = t[0] + start * t[3], t[1] + start * t[4], t[2] + start * t[5]
            # To BLAS, which counts down the columns, all matrices are turned: outᵀ = rightᵀ · leftᵀ.
            numbers[0], numbers[1], numbers[2] = t[7], t[6], t[8]
            numbers[3], numbers[4], numbers[5] = t[12], t[10], t[14]
            turn_b, turn_a, beta = letter + t[11], letter + t[9], scalar + size * t[15]
            for i in range(t[16]):
                for j in range(t[17]):
                    for k in range(t[18]):
                        for l in range(t[19]):  # noqa: E741
                            a = left + i * t[20] + j * t[21] + k * t[22] + l * t[23]
                            b = right + i * t[24] + j * t[25] + k * t[26] + l * t[27]
                            c = out + i * t[28] + j * t[29] + k * t[30] + l * t[31]
                            if size == 4:
                                _sgemm(turn_b, turn_a, n, n + 4, n + 8, scalar, b, n + 12, a, n + 16, beta, c, n + 20)
                            else:
                                _dgemm(turn_b, turn_a, n, n + 4, n + 8, scalar, b, n + 12, a, n + 16, beta, c, n + 20)
