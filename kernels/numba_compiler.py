"""How Numba compiles the innermost loops: without the interpreter's lock, kept beside their file for later.

Sums may be taken in any order, so that several elements are added at once; all else is computed as written.
"""

from functools import partial

from numba import njit

_compile = partial(njit, error_model="numpy", fastmath={"reassoc", "contract"})
compiled = _compile(nogil=True, cache=True)
inlined = _compile(inline="always")
