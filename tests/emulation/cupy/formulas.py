"""Kernels that CuPy generates from formulas: here, a CUDA source whose single thread goes through all elements.

Arguments are checked as CuPy does: how many there are, one number type for each letter, and outputs of the broadcast
shape. Raw parameters and the index ``i`` are missing, and arrays of the broadcast shape must be contiguous.
"""

from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cupy.arrays import call, empty, ndarray
from cupy.raw import TYPES, RawKernel, RawModule

NAMES = {np.dtype(code): name for name, code in TYPES.items()}


class Parameter(NamedTuple):
    """A parameter: its name, and its type, which is a NumPy type or a letter for the type of the arguments."""

    type: str
    name: str

    @property
    def declared(self) -> str:
        """The type in C."""
        return self.type if len(self.type) == 1 else NAMES[np.dtype(self.type)]


class Formula:
    """The common base of both kinds of kernels."""

    def __init__(self, in_params: str, out_params: str, name: str) -> None:
        self.inputs, self.outputs, self.name = _parameters(in_params), _parameters(out_params), name
        self.fixed = {p.type: np.dtype(p.type) for p in self.inputs + self.outputs if len(p.type) > 1}

    def dtypes(self, args: tuple[Any, ...]) -> dict[str, np.dtype]:
        """Return the number type for each declared type, from the arguments; raise TypeError if they do not agree."""
        if len(args) not in (len(self.inputs), len(self.inputs + self.outputs)):
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)}")
        found = self.fixed.copy()
        for parameter, arg in zip(self.inputs + self.outputs, args, strict=False):
            if isinstance(arg, ndarray) and found.setdefault(parameter.type, arg.dtype) != arg.dtype:
                raise TypeError(
                    f"Type is mismatched: {parameter.name} of {self.name!r} is {arg.dtype}, not {found[parameter.type]}"
                )
            if not isinstance(arg, ndarray if parameter in self.outputs else ndarray | int | float | np.generic):
                raise TypeError(f"Unsupported type {type(arg)} for {parameter.name} of {self.name!r}")
        return found

    def source(self, dtypes: dict[str, np.dtype], sizes: tuple[str, ...], body: str) -> str:
        """Return the CUDA source for these types; sizes: the last arguments, after an array for each parameter."""
        letters = [f"using {letter} = {NAMES[dtype]};" for letter, dtype in dtypes.items() if len(letter) == 1]
        arrays = [f"const {p.declared}* _raw_{p.name}" for p in self.inputs]
        arrays += [f"{p.declared}* _raw_{p.name}" for p in self.outputs]
        declared = ", ".join([*arrays, *(f"long long {size}" for size in sizes)])
        return "\n".join([*letters, f'extern "C" __global__ void {self.name}({declared}) {{', body, "}"])


class ElementwiseKernel(Formula):
    """A formula for each element of arrays that are broadcast."""

    def __init__(self, in_params: str, out_params: str, operation: str, name: str = "kernel") -> None:
        super().__init__(in_params, out_params, name)
        self.operation = operation
        if any(parameter.name == "i" for parameter in self.inputs + self.outputs):
            raise ValueError("Can not use 'i' as a parameter name")

    def code(self, dtypes: dict[str, np.dtype]) -> str:
        """Return the CUDA source for these types."""
        elements = _elements(self.inputs, "const ", "_i") + _elements(self.outputs, "", "_i")
        loop = f"for (long long _i = 0; _i < _size; _i++) {{ {elements} {self.operation}; }}"
        return self.source(dtypes, ("_size",), loop)

    def __call__(self, *args: Any) -> Any:
        """Write the formula's values into the last arguments, or into new arrays; return them."""
        dtypes, shape = self.dtypes(args), _shape(args)
        outs = args[len(self.inputs) :] or tuple(empty(shape, dtypes[p.type]) for p in self.outputs)
        if any(out.shape != shape for out in outs):
            raise ValueError(f"Out shape is mismatched: {self.name!r} writes an array of shape {shape}")
        spread = [_spread(arg, shape, dtypes[p.type]) for p, arg in zip(self.inputs, args, strict=False)]
        _compiled(self.code(dtypes), self.name)((1,), (1,), (*spread, *outs, np.int64(prod(shape))))
        return outs[0] if len(outs) == 1 else outs


class ReductionKernel(Formula):
    """A formula for each element, whose values are reduced along some axes."""

    def __init__(
        self,
        in_params: str,
        out_params: str,
        map_expr: str,
        reduce_expr: str,
        post_map_expr: str,
        identity: str,
        name: str = "reduce_kernel",
        reduce_type: str | None = None,
    ) -> None:
        super().__init__(in_params, out_params, name)
        self.map_expr, self.reduce_expr, self.post_map_expr = map_expr, reduce_expr, post_map_expr
        self.identity, self.reduce_type = identity, reduce_type or self.outputs[0].declared

    def code(self, dtypes: dict[str, np.dtype]) -> str:
        """Return the CUDA source for these types."""
        body = f"""
            for (long long _row = 0; _row < _rows; _row++) {{
                {self.reduce_type} _s = {self.reduce_type}({self.identity});
                for (long long _i = _row * _length; _i < (_row + 1) * _length; _i++) {{
                    {_elements(self.inputs, "const ", "_i")}
                    {self.reduce_type} _a = static_cast<{self.reduce_type}>({self.map_expr});
                    _s = REDUCE(_s, _a);
                }}
                {_elements(self.outputs, "", "_row")}
                POST_MAP(_s);
            }}"""
        macros = f"#define REDUCE(a, b) ({self.reduce_expr})\n#define POST_MAP(a) ({self.post_map_expr})\n"
        return macros + self.source(dtypes, ("_rows", "_length"), body)

    def __call__(self, *args: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return the values reduced along the axes, by default along all of them."""
        if len(args) != len(self.inputs):
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)}")
        dtypes, shape = self.dtypes(args), _shape(args)
        axes = np.lib.array_utils.normalize_axis_tuple(range(len(shape)) if axis is None else axis, len(shape))
        kept = [i for i in range(len(shape)) if i not in axes]
        last = shape if keepdims else [shape[i] for i in kept]
        out_shape = [1 if keepdims and i in axes else extent for i, extent in enumerate(last)]
        (out,) = (empty(out_shape, dtypes[p.type]) for p in self.outputs)
        rows = [
            call(lambda host: host.transpose(*kept, *axes).copy(), _spread(arg, shape, dtypes[p.type]))
            for p, arg in zip(self.inputs, args, strict=True)
        ]
        sizes = np.int64(out.size), np.int64(prod(shape[i] for i in axes))
        _compiled(self.code(dtypes), self.name)((1,), (1,), (*rows, out, *sizes))
        return out


def _parameters(text: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(*declaration.split()) for declaration in text.split(","))


def _elements(parameters: tuple[Parameter, ...], const: str, index: str) -> str:
    return " ".join(f"{const}{p.declared}& {p.name} = _raw_{p.name}[{index}];" for p in parameters)


def _shape(args: tuple[Any, ...]) -> tuple[int, ...]:
    shapes = [arg.shape for arg in args if isinstance(arg, ndarray)]
    if not shapes:
        raise ValueError("Loop size is undecided.")
    return np.broadcast_shapes(*shapes)


def _spread(value: Any, shape: tuple[int, ...], dtype: np.dtype) -> ndarray:
    """Return a number or an array as an array of this shape."""
    if isinstance(value, ndarray) and value.shape == shape:
        return value
    spread = empty(shape, dtype)
    spread[...] = value
    return spread


@cache
def _compiled(source: str, name: str) -> RawKernel:
    return RawModule(code=source).get_function(name)
