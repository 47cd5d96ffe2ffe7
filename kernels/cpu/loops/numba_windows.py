"""Windows times weights, the innermost loop of a direct convolution, whose sums stay in the processor's registers.

BLAS is slow for few rows, and needs the windows copied side by side in memory; vectors that the compiler makes of a
loop by itself would not stay in registers. So the loop is written in LLVM's instructions, once for each number of
windows from 1 to AT_A_TIME: for each tap and channel, one cache line of weights is multiplied by that element of every
window. AT_A_TIME cache lines of sums, the weights and one element fill the 16 registers of AVX2.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minidl.kernels.cpu.loops.numba_vectors import CONTRACT, I1, I32, I64, LINE, Vectors, number, unpacked

AT_A_TIME = 6  # windows


def _typed(
    context: Any,
    count: Any,
    places: Any,
    line: Any,
    weights: Any,
    biases: Any,
    taps: Any,
    filters: Any,
    relu: Any,
    like: Any,
) -> Any:
    """Compile a function that multiplies ``count`` windows by a line of weights, adds biases and writes the sums.

    places: the address of AT_A_TIME addresses of windows, followed by as many addresses of outputs; line: the distance
    of the line's outputs from these addresses, in bytes; weights: the address of (pieces, rows, run) lines; biases: the
    address of the filters' biases; taps: the number of pieces, which follow one another, the rows of a piece, the
    elements of a row (run), and the bytes from a row to the next; filters: the number of filters, at most a line; relu:
    whether to write the maximum of that and 0; like: an array of the type.
    """
    return types.void(*[types.intp] * 5, taps, types.intp, types.intp, like), _generate


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> Any:
    count, places, line, weights, biases, taps, filters, relu, _ = arguments
    loop = _Loop(builder, context.get_value_type(signature.args[-1].dtype), filters)
    pieces, rows, run, step = unpacked(builder, taps)
    end = builder.append_basic_block()
    switch = builder.switch(count, end)
    for windows in range(1, AT_A_TIME + 1):
        case = builder.append_basic_block()
        switch.add_case(number(windows), case)
        builder.position_at_end(case)
        sources, targets = (
            [loop.load(builder.add(places, number(8 * (first + i))), I64) for i in range(windows)]
            for first in (0, AT_A_TIME)
        )
        start = [loop.load_some(biases)] * windows
        for total, target in zip(loop.products(sources, weights, pieces, rows, run, step, start), targets, strict=True):
            loop.store_some(loop.limited(total, relu), builder.add(target, line))
        builder.branch(end)
    builder.position_at_end(end)
    return context.get_dummy_value()


multiply_windows: Any = intrinsic(_typed)


class _Loop(Vectors):
    """Instructions for a line of filters."""

    def __init__(self, builder: ir.IRBuilder, scalar: Any, filters: Any) -> None:
        super().__init__(builder, scalar)
        lane = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        self.mask = builder.icmp_signed("<", lane, self.splat(filters, I64))
        self.whole = builder.icmp_signed("==", filters, number(self.lanes))

    def masked(self, name: str, result: Any, *arguments: Any) -> Any:
        """Append a masked load or store, of as many elements as there are filters."""
        name = f"llvm.masked.{name}.v{self.lanes}f{8 * self.size}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def load_some(self, address: Any) -> Any:
        pointer = self.builder.inttoptr(address, self.vector.as_pointer())
        zeros = ir.Constant(self.vector, [0.0] * self.lanes)
        return self.masked("load", self.vector, pointer, ir.Constant(I32, self.size), self.mask, zeros)

    def store_some(self, value: Any, address: Any) -> None:
        """Store a whole line without a mask, which is faster, if there are enough filters."""
        with self.builder.if_else(self.whole) as (whole, some):
            with whole:
                self.store(value, address)
            with some:
                pointer = self.builder.inttoptr(address, self.vector.as_pointer())
                self.masked("store", ir.VoidType(), value, pointer, ir.Constant(I32, self.size), self.mask)

    def limited(self, value: Any, relu: Any) -> Any:
        """Return the value or, if ``relu``, the maximum of it and 0; nan stays nan."""
        zeros = ir.Constant(self.vector, [0.0] * self.lanes)
        asked = self.splat(self.builder.trunc(relu, I1), I1)
        negative = self.builder.and_(self.builder.fcmp_ordered("<", value, zeros), asked)
        return self.builder.select(negative, zeros, value)

    def products(
        self, sources: list[Any], weights: Any, pieces: Any, rows: Any, run: Any, step: Any, start: list[Any]
    ) -> list[Any]:
        """Return the sums over the pieces, rows and elements of the windows, which begin with ``start``.

        Each piece is summed separately, because rounding errors grow with the number of consecutive additions.
        """
        add = self.builder.add

        def of_element(values: list[Any]) -> list[Any]:
            weights, shift, *totals = values
            line, sums = self.load(weights, self.vector, LINE), []
            for source, total in zip(sources, totals, strict=True):
                element = self.load(add(source, shift), self.scalar, self.size)
                product = self.builder.fmul(self.splat(element, self.scalar), line, flags=CONTRACT)
                sums.append(self.builder.fadd(total, product, flags=CONTRACT))
            return [add(weights, number(LINE)), add(shift, number(self.size)), *sums]

        def of_row(values: list[Any]) -> list[Any]:
            weights, _, *totals = self.repeat(run, values, of_element)
            return [weights, add(values[1], step), *totals]

        def of_piece(values: list[Any]) -> list[Any]:
            weights, shift, *so_far = values
            zeros = [ir.Constant(self.vector, [0.0] * self.lanes)] * len(sources)
            weights, _, *totals = self.repeat(rows, [weights, shift, *zeros], of_row)
            sums = [self.builder.fadd(total, own) for total, own in zip(so_far, totals, strict=True)]
            return [weights, add(shift, self.builder.mul(run, number(self.size))), *sums]

        _, _, *sums = self.repeat(pieces, [weights, number(0), *start], of_piece)
        return sums
