"""The three products of a convolution by cuDNN, through nvidia-cudnn-frontend.

    fprop    data, weights → output        dgrad    error, weights → data's error      wgrad    data, error → grads

Arrays lie channels last. cuDNN counts their axes as samples, channels, y, x, and learns from the strides how they lie.

What is behind a product, biases and a ReLU, is in the graph of fprop, so that no pass over memory is needed for it. In
bf16, operands and results are rounded to it, for which cuDNN has many engines that were compiled before; there biases
and ReLU come with the pass that widens the result. Where an engine is lacking, it is done without.

Of the plans that cuDNN thinks best, the first product that is computed tries which one is the fastest, see plans.py.
They are tried as graphs, because a small product takes less time than Python needs to launch it. In fp32, those that
are tried must also make what cuBLAS makes of random numbers: on an H200, cuDNN 9.19 had a plan that rounded its
operands as tf32 does and did not say so.
"""

import os
from contextlib import suppress
from functools import cache
from math import prod
from typing import Any

import cupy
import numpy as np

from minidl.kernels.convolution import Geometry
from minidl.kernels.gpu import bias, libraries, plans, products
from minidl.kernels.gpu.im2col import Im2col

# The frontend would open a runtime of any CUDA, or find none, and it looks for cuDNN in one place alone.
os.environ.setdefault("CUDNN_FRONTEND_CUDART_LIB_NAME", libraries.for_cudnn())

import cudnn

Array = Any
Shape = tuple[int, ...]
Pair = tuple[int, int]

FIRST, SECOND, OUT, BIASES = 1, 2, 3, 4  # the numbers by which a graph knows its arrays
INPUTS = {"fprop": ("image", "weight"), "dgrad": ("loss", "filter"), "wgrad": ("image", "loss")}
WEIGHTS = {"fprop": SECOND, "dgrad": SECOND, "wgrad": OUT}
DATA = {"fprop": FIRST, "dgrad": OUT, "wgrad": FIRST}
BEHIND = ("", "biases", "biases and ReLU")
CANDIDATES = 24  # plans that are timed, at most
TIMES = 10  # that each is run for it, in a row
ROUNDS = 3  # of which the fastest counts, after one to warm up
EXACT = 1e-5  # of the largest number of a product: how far off a plan for fp32 may be; rounding to tf32 makes 3e-4


class Product:
    """One product, planned for arrays of given shapes, and what is ``behind`` it, one of BEHIND.

    half_out: the output is rounded to bfloat16; fused: what is behind the product is in its graph; each only where
    cuDNN has an engine for it.
    """

    def __init__(
        self,
        operation: str,
        first: Shape,
        second: Shape,
        out: Shape,
        stride: Pair,
        padding: Pair,
        precision: str,
        behind: str = "",
        fused: bool = False,
    ) -> None:
        """Plan; raises whatever cuDNN and its frontend raise, above all cudnnGraphNotSupportedError."""
        self.operation, self.stride, self.padding, self.precision = operation, stride, padding, precision
        self.narrow, self.behind = precision == "bf16", behind
        self.half_out, self.fused = self.narrow, fused
        settings = operation, (first, second, out), stride, padding, precision
        compared = ("compared",) if precision == "fp32" else ()  # what was kept before plans were, is chosen anew
        self.name = " ".join(map(str, (*settings, behind, *compared)))
        try:
            self.graph, self.candidates = self._build(*settings)
        except Exception:
            if not (self.half_out or self.fused):
                raise
            self.half_out = self.fused = False
            self.graph, self.candidates = self._build(*settings)
        self.plan: int | None = None

    def __call__(self, first: Array, second: Array, out: Array, biases: Array = None) -> None:
        """Write the product of the first and the second, and what is behind it, into ``out``.

        In bf16, the first and the second are what bf16.narrow makes.
        """
        result = cupy.empty(out.shape, np.uint16) if self.half_out else out
        arrays = {FIRST: first, SECOND: second, OUT: result} | ({BIASES: biases} if self.fused else {})
        pointers = {number: array.data.ptr for number, array in arrays.items()}
        if self.plan is None:
            self.plan = self._choose(arrays)
        self._execute(pointers, self.plan, self._workspace(self.plan))
        relu = self.behind == BEHIND[2]
        if self.half_out:
            bias.widen(result, biases if self.behind else None, out, relu)
        elif self.behind and not self.fused:
            bias.add(biases, out, relu)

    def _execute(self, pointers: dict[int, int], plan: int, workspace: Array) -> None:
        handle = _handle(cupy.cuda.get_current_stream().ptr)
        self.graph.execute_plan_at_index(pointers, workspace.data.ptr, plan, handle=handle)

    def _workspace(self, plan: int) -> Array:
        """Return memory of CuPy's pool, which has it again after the call, for the next product in the stream."""
        return cupy.empty(max(self.graph.get_workspace_size_plan_at_index(plan), 1), np.uint8)

    def _choose(self, arrays: dict[int, Array]) -> int:
        """Return the fastest plan, and keep its name; the first where nothing is to choose, or a stream records."""
        stream = cupy.cuda.get_current_stream()
        if len(self.candidates) > 1 and not stream.is_capturing():
            try:
                arrays, wanted = self._exercise(arrays) if self.precision == "fp32" else (arrays, None)
            except MemoryError as error:
                products.say_once(f"plans of cuDNN are taken without a trial, for which memory lacks: {error}")
                return next(iter(self.candidates.values()))
            stream.synchronize()  # what is tried runs beside it
            if times := self._times(arrays, wanted):
                best = min(times, key=times.__getitem__)
                kept = _plans().keep(self.name, best)
                return self.candidates.get(kept, self.candidates[best])
        return next(iter(self.candidates.values()))

    def _exercise(self, arrays: dict[int, Array]) -> tuple[dict[int, Array], Array]:
        """Return arrays of random numbers in place of these, and what cuBLAS makes of them.

        A run's own numbers may hide what a plan does: they may be zeros, or have a mean that rounding leaves as it is.
        """
        random = np.random.default_rng(0)
        made = {
            number: cupy.asarray(random.standard_normal(array.shape, np.float32)) for number, array in arrays.items()
        }
        return made, self._by_cublas(made)

    def _by_cublas(self, arrays: dict[int, Array]) -> Array:
        """Return what im2col and cuBLAS make of the same arrays."""
        filters, y, x, _ = arrays[WEIGHTS[self.operation]].shape
        geometry = Geometry(arrays[DATA[self.operation]].shape[1:], filters, (y, x), self.stride, self.padding)
        wanted, relu = cupy.empty_like(arrays[OUT]), self.behind == BEHIND[2]
        operands = arrays[FIRST], arrays[SECOND]
        Im2col(geometry).product(self.operation, *operands, wanted, arrays.get(BIASES), relu)
        return wanted

    def _times(self, arrays: dict[int, Array], wanted: Array = None) -> dict[str, float]:
        """Return the milliseconds that the candidates take TIMES in a row each, of those that run.

        wanted: what they are to make of the arrays, or None: then nobody looks at that. Where no candidate is as exact
        as it should be, the nearest is taken, and a warning says so. The device is waited for when all have run, as it
        makes others wait that have a share of it.
        """
        tried: dict[str, tuple[Any, list[tuple[Any, Any]]]] = {}
        errors: dict[str, Array] = {}
        pointers, out = {number: array.data.ptr for number, array in arrays.items()}, arrays[OUT]
        workspaces = [cupy.empty(1, np.uint8)]  # each larger than the one before, which graphs still use
        with _trials() as stream:
            for name, plan in self.candidates.items():
                with suppress(MemoryError, RuntimeError):  # its workspace does not fit, or it does not run after all
                    if self.graph.get_workspace_size_plan_at_index(plan) > workspaces[-1].size:
                        workspaces.append(self._workspace(plan))
                    if wanted is not None:
                        out.fill(np.nan)
                    graph = self._recorded(pointers, plan, workspaces[-1], stream)
                    if wanted is not None:
                        errors[name] = abs(out - wanted).max()
                    tried[name] = graph, []
            for graph, marks in tried.values():
                graph.launch()
                for _ in range(ROUNDS):
                    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
                    start.record()
                    graph.launch()
                    stop.record()
                    marks.append((start, stop))
            stream.synchronize()
        elapsed = cupy.cuda.get_elapsed_time
        times = {name: min(elapsed(*pair) for pair in marks) for name, (_, marks) in tried.items()}
        return times if wanted is None else self._exact(times, errors, float(abs(wanted).max()))

    def _exact(self, times: dict[str, float], errors: dict[str, Array], largest: float) -> dict[str, float]:
        """Return the times of the plans that are as exact as float32 is, or of the nearest."""
        found = {name: float(errors[name]) / (largest or 1) for name in times}
        off = {name: error for name, error in found.items() if error == error}  # the others left something unwritten
        least = min(off.values(), default=0.0)
        if least > EXACT:
            products.say_once(f"cuDNN's nearest plan for {self.name} is {least:.0e} off, as if it rounded its operands")
        return {name: times[name] for name, error in off.items() if error <= max(EXACT, least)}

    def _recorded(self, pointers: dict[int, int], plan: int, workspace: Array, stream: Any) -> Any:
        """Return a graph of TIMES products in a row."""
        self._execute(pointers, plan, workspace)  # what is loaded at the first time, is not recorded
        stream.begin_capture()
        try:
            for _ in range(TIMES):
                self._execute(pointers, plan, workspace)
        finally:
            graph = stream.end_capture()
        return graph

    def _build(
        self, operation: str, shapes: tuple[Shape, Shape, Shape], stride: Pair, padding: Pair, precision: str
    ) -> tuple[Any, dict[str, int]]:
        """Return a graph, and the indices of its candidates by their names."""
        types, notes = cudnn.data_type, cudnn.numerical_note
        kind = types.BFLOAT16 if self.narrow else types.FLOAT
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
        if self.fused:
            one = 1, 1, 1, shapes[2][-1]
            biases = graph.tensor(name="biases", dim=_dim(one), stride=_stride(one), data_type=kind, uid=BIASES)
            out = graph.bias(input=out, bias=biases, compute_data_type=types.FLOAT)
            if self.behind == BEHIND[2]:
                out = graph.relu(input=out, compute_data_type=types.FLOAT)
        out.set_output(True).set_data_type(types.BFLOAT16 if self.half_out else types.FLOAT).set_uid(OUT)
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
        chosen = _plans().get(self.name)
        candidates = _candidates(graph, chosen)
        if chosen and chosen not in candidates:
            _plans().forget(self.name, chosen)
        return graph, candidates


@cache  # a captured graph may still run the code of any plan
def product(
    operation: str,
    first: Shape,
    second: Shape,
    out: Shape,
    stride: Pair,
    padding: Pair,
    precision: str,
    behind: str = "",
) -> Product | None:
    """Return a product planned for these shapes, all (samples or filters, y, x, channels), or None, and say why.

    operation: "fprop", "dgrad" or "wgrad"; precision: one of products.PRECISIONS; behind: one of BEHIND.
    """
    try:
        fused = operation == "fprop" and behind != "" and precision != "bf16"
        fused = fused and (behind != BEHIND[2] or relu_keeps_nan(precision))
        return Product(operation, first, second, out, stride, padding, precision, behind, fused)
    except MemoryError:
        raise
    except Exception as error:  # of any kind: cuDNN, its frontend, and whatever that has imported
        shapes = f"{operation} of {first}, {second}, {out} in {precision}"
        products.say_once(f"cuDNN has no engine for {shapes}, and im2col computes it: {products.reason(error)}")
        return None


@cache
def relu_keeps_nan(precision: str) -> bool:
    """Say whether a ReLU in a graph leaves what is not a number, by which a run sees that it has diverged."""
    shape = 8, 1, 1, 8
    ones = cupy.ones(shape, np.float32)
    data, out = cupy.full_like(ones, np.nan), cupy.zeros_like(ones)
    product = Product("fprop", shape, shape, shape, (1, 1), (0, 0), precision, BEHIND[2], fused=True)
    product(data, ones, out, ones[0, 0, 0])
    return product.fused and bool(np.isnan(cupy.asnumpy(out)).all())


def _candidates(graph: Any, chosen: str | None) -> dict[str, int]:
    """Build the plan that was chosen before, or those that are worth a try, the best by cuDNN's own rules first.

    A plan that has to be compiled takes a second or more, and is left out where there is another one before it.
    """
    names = [graph.get_plan_name_at_index(index) for index in range(graph.get_execution_plan_count())]
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        compiled = cudnn.behavior_note.RUNTIME_COMPILATION in graph.get_behavior_notes_for_plan_at_index(index)
        if name == chosen if chosen in names else len(found) < CANDIDATES and not (compiled and found):
            with suppress(Exception):  # one that was ruled out, or that does not work after all
                graph.build_plan_at_index(index)
                found[name] = index
    if not found and chosen in names:
        return _candidates(graph, None)
    if not found:
        raise cudnn.cudnnGraphNotSupportedError("none of its plans can be built")
    return found


def _plans() -> plans.Plans:
    card = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode()
    return plans.plans(card, str(cudnn.backend_version()))


def _dim(shape: Shape) -> list[int]:
    samples, y, x, channels = shape
    return [samples, channels, y, x]


def _stride(shape: Shape) -> list[int]:
    _, _, x, channels = shape
    return [prod(shape[1:]), 1, x * channels, channels]


@cache
def _trials() -> Any:
    """Return the stream in which plans are tried; no thread's own, which may be one that cannot record."""
    return cupy.cuda.Stream(non_blocking=True)


@cache
def _handle(stream: int) -> int:
    """Return a handle of cuDNN for a stream."""
    handle = cudnn.create_handle()
    cudnn.set_stream(handle=handle, stream=stream)
    return handle
