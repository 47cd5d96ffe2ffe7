"""Parts: a compiled loop that calls a function for each part of the work, on the threads that Numba has.

Numba's own parallel loop (prange) rewrites the function that has it, compiles its body as a function of its own, and
the whole once more around that: two seconds for each loop and number type. Here the body is a function already, and
what Numba's threads are handed is a few instructions that call it. The threads are the same, and which thread gets
which part is, too.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I8P, _INTP = ir.IntType(8).as_pointer(), ir.IntType(64)
# What a thread calls: with places, how many of them it has, the steps from one to the next, and the data of all.
_TASK = ir.FunctionType(ir.VoidType(), [_I8P.as_pointer(), _INTP.as_pointer(), _INTP.as_pointer(), _I8P])
_PARALLEL_FOR = ir.FunctionType(ir.VoidType(), [_I8P] * 5 + [_INTP, _INTP, ir.IntType(32)])


def _typed(context: Any, function: Any, arguments: Any, parts: Any) -> Any:
    """Compile what calls ``function(*arguments, part, parts)`` for each part: int64 both, and ``parts`` at least 1.

    One part is left to the calling thread. The function must not raise anything, as nobody would hear of it.
    """
    called = function.get_call_type(context, (*arguments.types, types.int64, types.int64), {})
    compiled = function.dispatcher.overloads[called.args]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, given, count = values
        context.active_code_library.add_linking_library(compiled.library)

        def call(builder: Any, given: Any, part: Any, count: Any) -> None:
            values = [*cgutils.unpack_tuple(builder, given), part, count]
            context.call_internal_no_propagate(builder, compiled.fndesc, called, values)

        data = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, [given, count]))
        with builder.if_else(builder.icmp_signed("==", count, _INTP(1))) as (alone, together):
            with alone:
                call(builder, given, _INTP(0), count)
            with together:
                task = _task(builder, f"{compiled.fndesc.llvm_func_name}.part", data.type, call)
                _share(builder, task, data, count)
        return context.get_dummy_value()

    return types.void(function, arguments, types.int64), generate


in_parts: Any = intrinsic(_typed)


def _task(builder: Any, name: str, data_type: Any, call: Any) -> Any:
    """Return the function that a thread calls for its parts. The place of a part is its number."""
    task = ir.Function(builder.module, _TASK, builder.module.get_unique_name(name))
    task.linkage = "internal"
    own = ir.IRBuilder(task.append_basic_block())
    places, sizes, _, data = task.args
    given, count = (own.extract_value(own.load(own.bitcast(data, data_type)), i) for i in range(2))
    first = own.ptrtoint(own.load(places), _INTP)
    with cgutils.for_range(own, own.load(sizes)) as loop:
        call(own, given, own.add(first, loop.index), count)
    own.ret_void()
    return task


def _share(builder: Any, task: Any, data: Any, count: Any) -> None:
    """Append what has Numba's threads run a task."""
    module = builder.module
    threads = cgutils.get_or_insert_function(module, ir.FunctionType(ir.IntType(32), []), "get_num_threads")
    parallel_for = cgutils.get_or_insert_function(module, _PARALLEL_FOR, "numba_parallel_for")
    places = cgutils.alloca_once_value(builder, ir.Constant(_I8P, None))
    sizes = cgutils.alloca_once_value(builder, count)
    steps = cgutils.alloca_once_value(builder, _INTP(1))
    arguments = [builder.bitcast(pointer, _I8P) for pointer in (task, places, sizes, steps, data)]
    # No axes but that of the parts, and one array of places.
    builder.call(parallel_for, [*arguments, _INTP(0), _INTP(1), builder.call(threads, [])])
