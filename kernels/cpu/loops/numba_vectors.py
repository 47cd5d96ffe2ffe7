"""Vectors: what the loops that are written in LLVM's instructions have in common; numba_windows.py is one of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LINE = 64  # bytes: a cache line
I1, I32, I64 = (ir.IntType(bits) for bits in (1, 32, 64))
CONTRACT = ("contract",)  # a product and a sum may become one instruction


def number(value: int) -> Any:
    """Return an integer as a constant."""
    return ir.Constant(I64, value)


def unpacked(builder: ir.IRBuilder, values: Any) -> list[Any]:
    """Return the elements of a tuple."""
    return [builder.extract_value(values, i) for i in range(len(values.type.elements))]


class Vectors:
    """Instructions on vectors of ``lanes`` numbers side by side; 0 stands for as many as fill a cache line."""

    def __init__(self, builder: ir.IRBuilder, scalar: Any, lanes: int = 0) -> None:
        self.builder, self.scalar = builder, scalar
        self.size = 4 if isinstance(scalar, ir.FloatType) else 8
        self.lanes = lanes or LINE // self.size
        self.vector = ir.VectorType(scalar, self.lanes)

    def load(self, address: Any, kind: Any, align: int = 8) -> Any:
        """Load a value of type ``kind`` from an address."""
        loaded = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        loaded.align = align
        return loaded

    def store(self, value: Any, address: Any) -> None:
        """Store a vector at an address, which need not be aligned to a vector."""
        self.builder.store(value, self.builder.inttoptr(address, self.vector.as_pointer())).align = self.size

    def splat(self, value: Any, scalar: Any) -> Any:
        """Return a vector of equal elements."""
        vector = ir.Constant(ir.VectorType(scalar, self.lanes), ir.Undefined)
        first = self.builder.insert_element(vector, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, vector, zeros)

    def repeat(self, count: Any, begun: list[Any], body: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """Append a loop values = body(values), which runs ``count`` times and at least once; return the last values."""
        builder, before = self.builder, self.builder.block
        block, after = (builder.append_basic_block() for _ in range(2))
        builder.branch(block)
        builder.position_at_end(block)
        begun = [number(0), *begun]
        phis = [builder.phi(value.type) for value in begun]
        values = [builder.add(phis[0], number(1)), *body(phis[1:])]
        for phi, first, following in zip(phis, begun, values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", values[0], count), block, after)
        builder.position_at_end(after)
        return values[1:]

    def loop(self, count: Any, *steps: Sequence[Any]) -> Iterator[list[Any]]:
        """Append a loop that runs ``count`` times; steps: pairs of a first address and the step to the next one.

        It yields exactly once, with the current addresses, where the caller appends the body of the loop.
        """
        builder, before = self.builder, self.builder.block
        begun, steps_on = [number(0), *(begin for begin, _ in steps)], [number(1), *(step for _, step in steps)]
        head, body, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        now = [builder.phi(I64) for _ in begun]
        builder.cbranch(builder.icmp_signed("<", now[0], count), body, after)
        builder.position_at_end(body)
        yield now[1:]
        for phi, begin, step in zip(now, begun, steps_on, strict=True):
            phi.add_incoming(begin, before)
            phi.add_incoming(builder.add(phi, step), builder.block)
        builder.branch(head)
        builder.position_at_end(after)


def _typed(context: Any, address: Any, like: Any) -> Any:
    """Compile a conversion of an address to a pointer to elements of the type of ``like``."""
    kind = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(address, like), generate


pointer: Any = intrinsic(_typed)
