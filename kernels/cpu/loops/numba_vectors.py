"""Vectors: what the loops that are written in LLVM's instructions have in common, see numba_windows.py."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LINE = 64  # bytes: a cache line
I1, I32, I64 = (ir.IntType(bits) for bits in (1, 32, 64))
CONTRACT = ("contract",)  # a product and a sum are one instruction


def number(value: int) -> Any:
    """Return an integer as a constant."""
    return ir.Constant(I64, value)


def unpacked(builder: ir.IRBuilder, values: Any) -> list[Any]:
    """Return the elements of a tuple."""
    return [builder.extract_value(values, i) for i in range(len(values.type.elements))]


class Vectors:
    """Instructions on vectors of some numbers side by side: as many as fill a line or, as told, ``lanes``."""

    def __init__(self, builder: ir.IRBuilder, scalar: Any, lanes: int = 0) -> None:
        self.builder, self.scalar = builder, scalar
        self.size = 4 if isinstance(scalar, ir.FloatType) else 8
        self.lanes = lanes or LINE // self.size
        self.vector = ir.VectorType(scalar, self.lanes)

    def load(self, address: Any, kind: Any, align: int = 8) -> Any:
        """Load what lies at an address."""
        loaded = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        loaded.align = align
        return loaded

    def store(self, value: Any, address: Any) -> None:
        """Store a vector, wherever its first number may lie."""
        self.builder.store(value, self.builder.inttoptr(address, self.vector.as_pointer())).align = self.size

    def splat(self, value: Any, scalar: Any) -> Any:
        """Return a vector of equal elements."""
        vector = ir.Constant(ir.VectorType(scalar, self.lanes), ir.Undefined)
        first = self.builder.insert_element(vector, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, vector, zeros)

    def repeat(self, count: Any, begun: list[Any], body: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """Append what passes values through ``body``, ``count`` times and at least once; return what comes out."""
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
        """Yield once, where the body is to be appended, addresses that begin somewhere and go on by a step each."""
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
    """Compile what returns an address as a pointer to elements such as ``like`` has."""
    kind = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(address, like), generate


pointer: Any = intrinsic(_typed)
