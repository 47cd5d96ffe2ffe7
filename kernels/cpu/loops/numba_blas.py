"""SciPy's BLAS as the compiled interpreter calls it: matrix products by address, on the calling thread."""

from typing import Any

import numpy as np
from llvmlite import binding
from numba import types
from numba.extending import get_cython_function_address
from threadpoolctl import threadpool_info, threadpool_limits

for _name in ("sgemm", "dgemm"):
    binding.add_symbol(f"minidl_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
# transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc: all are addresses, as Fortran passes arguments
_signature = types.void(*[types.intp] * 13)
sgemm: Any = types.ExternalFunction("minidl_sgemm", _signature)
dgemm: Any = types.ExternalFunction("minidl_dgemm", _signature)
NORMAL_OR_TRANSPOSED = np.frombuffer(b"NT", np.uint8).copy()  # for transa and transb
_blas_limit = threadpool_limits(limits=1, user_api="blas")  # again, because SciPy's BLAS was loaded only now

# OpenBLAS's kernels for AVX-512 multiply matrices where they lie, if this takes at most a million multiplications; to
# multiply larger ones, or with a transposed right matrix, they first copy both into blocks. Without copies, products
# with few rows are 1.1 to 2 times as fast (measured on an Intel Xeon with AVX-512).
_IN_PLACE = {"SkylakeX", "Cooperlake", "SapphireRapids"}
_FOUND = {library.get("architecture") for library in threadpool_info()}
MOST_IN_PLACE = 10**6 if _FOUND & _IN_PLACE else None  # multiplications of a product
