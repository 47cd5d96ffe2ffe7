"""A stand-in for the library cuBLAS, called as through ctypes, which computes with NumPy."""

from typing import Any

import numpy as np
from cupy import capture
from cupy.arrays import memory_of
from operands import BF16, TF32, behind, rounded

TYPES = {0: np.float32, 1: np.float64}
BITS = {77: TF32, 75: BF16}  # bits of the operands' mantissas, by the compute type
WITH = {68: 0, 75: 0, 77: 0, 70: 1}  # the number type of each compute type


workspaces: dict[int, int] = {}  # their sizes, by handles; 0 stands for the library's own workspace


class Library:
    """The functions that minidl calls."""

    def cublasCreate_v2(self, handle: Any) -> int:
        """Make a handle."""
        handle._obj.value = 1 + len(workspaces)
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:
        """Choose the stream; this also selects the library's own workspace."""
        workspaces[handle.value] = 0
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, workspace: int, size: int) -> int:
        """Give a workspace."""
        workspaces[handle.value] = size
        return 0

    def cublasGemmEx(
        self, handle: Any, transpose_a: int, transpose_b: int, m: int, n: int, k: int, alpha: Any,
        a: int, a_type: int, a_step: int, b: int, b_type: int, b_step: int, beta: Any,
        c: int, c_type: int, c_step: int, compute: int, algorithm: int,
    ) -> int:  # fmt: skip
        """Write α·a·b + β·c into c; matrices are stored column by column."""
        if not workspaces[handle.value]:
            raise RuntimeError("a capture would allocate a workspace for cuBLAS")
        if not a_type == b_type == c_type == WITH[compute]:
            return 15  # not supported
        for rows, step in ((k if transpose_a else m, a_step), (n if transpose_b else k, b_step), (m, c_step)):
            if step < max(1, rows):
                return 7  # invalid value
        dtype = TYPES[a_type]

        def operand(pointer: int, transposed: int, rows: int, columns: int, step: int) -> np.ndarray:
            # A matrix that is stored column by column is, read row by row, its transpose.
            values = behind(pointer, (rows, columns) if transposed else (columns, rows), (step, 1), dtype)
            values = rounded(values, BITS[compute]) if compute in BITS else values
            return values if transposed else values.T

        factors = alpha._obj.value, beta._obj.value

        def product() -> None:
            out = behind(c, (n, m), (c_step, 1), dtype)
            result = factors[0] * (operand(a, transpose_a, m, k, a_step) @ operand(b, transpose_b, k, n, b_step)).T
            out[...] = result + factors[1] * out if factors[1] else result

        if capture.recording():
            for pointer in (a, b, c):
                capture.watch(memory_of(pointer))
        capture.run(product)
        return 0
