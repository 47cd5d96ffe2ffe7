"""Parts: a compiled loop that calls a function for each part of the work, on Numba's threads.

Numba's own parallel loop (prange) rewrites the function that contains it, compiles the loop's body as a separate
function, and then compiles the whole again: two seconds for each loop and number type. Here the body is a function
already, and Numba's threads get a few instructions that call it. The threads are the same, and so is the part that each
of them gets.

Functions that are called here are compiled into the module of their caller. Numba itself makes a module of each
compiled function, and optimizes and translates it again in the module of every caller, and of their callers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler import compile_internal
from numba.core.targetconfig import ConfigStack
from numba.extending import intrinsic

_I8P, _INTP = ir.IntType(8).as_pointer(), ir.IntType(64)
# The function that a thread calls, with places, how many it has, the steps between them, and the data of all.
_TASK = ir.FunctionType(ir.VoidType(), [_I8P.as_pointer(), _INTP.as_pointer(), _INTP.as_pointer(), _I8P])
_PARALLEL_FOR = ir.FunctionType(ir.VoidType(), [_I8P] * 5 + [_INTP, _INTP, ir.IntType(32)])


def _compile_here(context: Any, function: Any, kinds: Sequence[Any]) -> Callable[[Any, Sequence[Any]], Any]:
    """Compile a function, for arguments of ``kinds``, into the module of its caller.

    Return a function that appends a call to it: ``append(builder, values)``.
    """
    flags = ConfigStack().top().copy()  # the caller's flags
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    module, signature = context.active_code_library, types.void(*kinds)
    function = function.dispatcher.py_func
    found = compile_internal(context.typing_context, context, module, function, signature.args, types.void, flags, {})
    return lambda builder, values: context.call_internal_no_propagate(builder, found.fndesc, signature, values)


def _typed_call(context: Any, function: Any, arguments: Any) -> Any:
    """Compile a call ``function(*arguments)``.

    The function returns nothing, does not call itself, and must not raise exceptions, because they would be lost.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        call_it = _compile_here(context, function, arguments.types)
        call_it(builder, cgutils.unpack_tuple(builder, values[1]))
        return context.get_dummy_value()

    return types.void(function, arguments), generate


call: Any = intrinsic(_typed_call)


def _typed_parts(context: Any, function: Any, arguments: Any, parts: Any) -> Any:
    """Compile calls ``function(*arguments, part, parts)`` for each part; both are int64, and ``parts`` is at least 1.

    If there is only one part, the calling thread does it. The function must not raise exceptions, because they would be
    lost.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, given, count = values
        call_it = _compile_here(context, function, [*arguments.types, types.int64, types.int64])

        def call_part(builder: Any, given: Any, part: Any, count: Any) -> None:
            call_it(builder, [*cgutils.unpack_tuple(builder, given), part, count])

        data = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, [given, count]))
        with builder.if_else(builder.icmp_signed("==", count, _INTP(1))) as (alone, together):
            with alone:
                call_part(builder, given, _INTP(0), count)
            with together:
                task = _task(builder, data.type, call_part)
                _share(builder, task, data, count)
        return context.get_dummy_value()

    return types.void(function, arguments, types.int64), generate


in_parts: Any = intrinsic(_typed_parts)


def _task(builder: Any, data_type: Any, call_part: Any) -> Any:
    """Return the function that a thread calls for its parts; the numbers of the parts are passed as pointers."""
    task = ir.Function(builder.module, _TASK, builder.module.get_unique_name("task"))
    task.linkage = "internal"
    own = ir.IRBuilder(task.append_basic_block())
    places, sizes, _, data = task.args
    given, count = (own.extract_value(own.load(own.bitcast(data, data_type)), i) for i in range(2))
    first = own.ptrtoint(own.load(places), _INTP)
    with cgutils.for_range(own, own.load(sizes)) as loop:
        call_part(own, given, own.add(first, loop.index), count)
    own.ret_void()
    return task


def _share(builder: Any, task: Any, data: Any, count: Any) -> None:
    """Append the call that lets Numba's threads run a task."""
    module = builder.module
    threads = cgutils.get_or_insert_function(module, ir.FunctionType(ir.IntType(32), []), "get_num_threads")
    parallel_for = cgutils.get_or_insert_function(module, _PARALLEL_FOR, "numba_parallel_for")
    places = cgutils.alloca_once_value(builder, ir.Constant(_I8P, None))
    sizes = cgutils.alloca_once_value(builder, count)
    steps = cgutils.alloca_once_value(builder, _INTP(1))
    arguments = [builder.bitcast(pointer, _I8P) for pointer in (task, places, sizes, steps, data)]
    # The only axis is that of the parts, and there is one array of places.
    builder.call(parallel_for, [*arguments, _INTP(0), _INTP(1), builder.call(threads, [])])
