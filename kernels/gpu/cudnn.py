"""The three products of a convolution by cuDNN, through nvidia-cudnn-frontend: graphs of one operation.

    fprop    data, weights → output        dgrad    error, weights → data's error      wgrad    data, error → grads

Arrays lie channels last. cuDNN counts their axes as samples, channels, y, x, and learns from the strides how they lie.
"""

import os
from functools import cache
from math import prod
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import bf16

# Where two runtimes of CUDA lie about, cuDNN's frontend is to take the one that CuPy has.
os.environ.setdefault("CUDNN_FRONTEND_CUDART_LIB_NAME", f"libcudart.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}")

import cudnn

Array = Any
Shape = tuple[int, ...]
Pair = tuple[int, int]

FIRST, SECOND, OUT = 1, 2, 3  # the numbers by which a graph knows its arrays
INPUTS = {"fprop": ("image", "weight"), "dgrad": ("loss", "filter"), "wgrad": ("image", "loss")}


class Product:
    """One product, planned for arrays of given shapes; ``half_out``: the output is rounded to bfloat16."""

    def __init__(
        self, operation: str, first: Shape, second: Shape, out: Shape, stride: Pair, padding: Pair, precision: str
    ) -> None:
        """Plan; raises cudnnGraphNotSupportedError where cuDNN has no engine for it."""
        self.narrow = precision == "bf16"
        self.half_out = False
        settings = operation, (first, second, out), stride, padding, precision
        try:
            self.graph = self._build(*settings)
        except cudnn.cudnnGraphNotSupportedError:
            if not self.narrow:
                raise
            self.half_out = True
            self.graph = self._build(*settings)
        self.workspace = self.graph.get_workspace_size()

    def __call__(self, first: Array, second: Array, out: Array) -> None:
        """Write the product of the first and the second into ``out``."""
        inputs = (bf16.narrow(first), bf16.narrow(second)) if self.narrow else (first, second)
        result = cupy.empty(out.shape, np.uint16) if self.half_out else out
        # All of it is taken from CuPy's pool and given back at once: the next product in the stream may have it.
        workspace = cupy.empty(max(self.workspace, 1), np.uint8)
        pointers = {
            number: array.data.ptr for number, array in zip((FIRST, SECOND, OUT), (*inputs, result), strict=True)
        }
        self.graph.execute(pointers, workspace.data.ptr, handle=_handle(cupy.cuda.get_current_stream().ptr))
        if self.half_out:
            bf16.widen(result, out)

    def _build(
        self, operation: str, shapes: tuple[Shape, Shape, Shape], stride: Pair, padding: Pair, precision: str
    ) -> Any:
        types, notes = cudnn.data_type, cudnn.numerical_note
        kind = types.BFLOAT16 if self.narrow else types.FLOAT
        out_kind = types.BFLOAT16 if self.half_out else types.FLOAT
        graph = cudnn.pygraph(
            io_data_type=kind,
            intermediate_data_type=types.FLOAT,
            compute_data_type=types.FLOAT,
            handle=_handle(cupy.cuda.get_current_stream().ptr),
        )
        inputs = {
            name: graph.tensor(name=name, dim=_dim(shape), stride=_stride(shape), data_type=kind, uid=number)
            for name, shape, number in zip(INPUTS[operation], shapes, (FIRST, SECOND), strict=False)
        }
        out = getattr(graph, f"conv_{operation}")(
            **inputs, padding=list(padding), stride=list(stride), dilation=[1, 1], compute_data_type=types.FLOAT
        )
        out.set_output(True).set_data_type(out_kind).set_uid(OUT)
        out.set_dim(_dim(shapes[2])).set_stride(_stride(shapes[2]))
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        # A run is to repeat to the last bit, and float32 is not to become less behind our back.
        graph.deselect_numeric_notes([notes.NONDETERMINISTIC])
        if not self.narrow:
            graph.deselect_numeric_notes([notes.DOWN_CONVERT_INPUTS])
        if precision == "fp32":
            graph.deselect_numeric_notes([notes.TENSOR_CORE])
        graph.check_support()
        graph.build_plans()
        return graph


@cache  # a captured graph may still run the code of any plan
def product(
    operation: str, first: Shape, second: Shape, out: Shape, stride: Pair, padding: Pair, precision: str
) -> Product | None:
    """Return a product planned for these shapes, all (samples or filters, y, x, channels), or None.

    operation: "fprop", "dgrad" or "wgrad"; precision: one of products.PRECISIONS. None: cuDNN has no engine for it.
    """
    try:
        return Product(operation, first, second, out, stride, padding, precision)
    except cudnn.cudnnGraphNotSupportedError:
        return None


def _dim(shape: Shape) -> list[int]:
    samples, y, x, channels = shape
    return [samples, channels, y, x]


def _stride(shape: Shape) -> list[int]:
    _, _, x, channels = shape
    return [prod(shape[1:]), 1, x * channels, channels]


@cache
def _handle(stream: int) -> int:
    """Return a handle of cuDNN for a stream."""
    handle = cudnn.create_handle()
    cudnn.set_stream(handle=handle, stream=stream)
    return handle
