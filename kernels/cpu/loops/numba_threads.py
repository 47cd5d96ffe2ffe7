"""What the threads of compiled loops need: a counter that all of them can add to, and a way to yield their core."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _typed(context: Any, address: Any, value: Any) -> Any:
    """Compile an atomic addition to the integer at an address, which returns its value before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.int64(types.intp, types.int64), generate


add_at: Any = intrinsic(_typed)

let_others_run: Any = types.ExternalFunction("sched_yield", types.int32())
