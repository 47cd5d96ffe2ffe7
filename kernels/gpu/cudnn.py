"""The three products of a convolution by cuDNN, through nvidia-cudnn-frontend.

    fprop    data, weights → output        dgrad    error, weights → data's error      wgrad    data, error → grads

Arrays are channels last. cuDNN orders the axes samples, channels, y, x, and gets the order in memory from the strides.

Biases and a ReLU after fprop are in the same cuDNN graph, so they need no extra pass over memory. In bf16, operands and
results are rounded to bfloat16, for which cuDNN has many precompiled engines; there, the pass that converts the result
back to float32 adds the biases and computes the ReLU. If cuDNN has no engine for such a graph, the steps are done
separately.

The first call of a product tries the plans that cuDNN ranks best, and chooses the fastest correct one, see trial.py;
plans.py keeps the choice.
"""

import os
from contextlib import suppress
from functools import cache, lru_cache, partial
from math import prod
from typing import Any

import cupy
import numpy as np

from minidl.kernels.convolution import Geometry
from minidl.kernels.gpu import bf16, bias, libraries, plans, products, trial
from minidl.kernels.gpu.im2col import Im2col

# Alone, the frontend might open the runtime of another CUDA version, or none, and it looks for cuDNN in only one place.
os.environ.setdefault("CUDNN_FRONTEND_CUDART_LIB_NAME", libraries.for_cudnn())

import cudnn

Array = Any
Shape = tuple[int, ...]
Pair = tuple[int, int]

FIRST, SECOND, OUT, BIASES = 1, 2, 3, 4  # identifiers of the arrays in a graph
INPUTS = {"fprop": ("image", "weight"), "dgrad": ("loss", "filter"), "wgrad": ("image", "loss")}
WEIGHTS = {"fprop": SECOND, "dgrad": SECOND, "wgrad": OUT}
DATA = {"fprop": FIRST, "dgrad": OUT, "wgrad": FIRST}
BEHIND = ("", "biases", "biases and ReLU")  # what can follow a product
CANDIDATES = 24  # plans that are tried, at most
SHAPES_TRIED = 4  # shapes of data for which plans are tried, for each shape of filters; others take cuDNN's first plan
KEPT = 2048  # planned products that are kept, at most
EPSILON = 2.0**-24  # the relative rounding error of each addition in float32
BOUNDS = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 5e-2}  # the largest error of a correct plan, per largest result


class Product:
    """One product, planned for arrays of given shapes, and the operation after it: ``behind``, one of BEHIND.

    half_out: the output is rounded to bfloat16; fused: the operation after the product is in the same graph. Both
    become False if cuDNN has no engine for such a graph.
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
        self.shapes = {FIRST: first, SECOND: second, OUT: out}
        weights, pixels = self.shapes[WEIGHTS[operation]], {"fprop": out, "dgrad": first, "wgrad": second}[operation]
        self.multiplications = prod(weights) * prod(pixels[:3])
        self.terms = self.multiplications // prod(out)  # the terms of each sum
        filters = operation, weights, stride, padding, precision, behind
        tried, data = _tried.setdefault(filters, set()), self.shapes[DATA[operation]]
        if len(tried) < SHAPES_TRIED:
            tried.add(data)
        self.most = CANDIDATES if data in tried else 1
        self.settings = operation, (first, second, out), stride, padding, precision
        # The word "compared" tells these choices from those of earlier versions, which did not compare all plans.
        self.name = " ".join(map(str, (*self.settings, behind, "compared")))
        try:
            self.graph, self.candidates = self._build(*self.settings)
        except Exception:
            if not (self.half_out or self.fused):
                raise
            self.half_out = self.fused = False
            self.graph, self.candidates = self._build(*self.settings)
        self.plan: int | None = None
        self.refusal = ""

    def has_plan(self) -> bool:
        """Return whether there is a plan. The first call chooses it, or logs why there is none."""
        if self.plan is None and not self.refusal:
            try:
                self.plan = self._choose()
            except MemoryError as error:
                products.say_once(f"plans of cuDNN are taken without a trial, for which memory lacks: {error}")
                self.plan = next(iter(self.candidates.values()))
            except Exception as error:  # including cuDNN's own types
                self.refusal = products.reason(error)
                _say_refused(*self.settings[:2], self.precision, self.refusal)
        return self.plan is not None

    def __call__(self, first: Array, second: Array, out: Array, biases: Array = None) -> None:
        """Write the product of ``first`` and ``second``, and the operation after it, into ``out``.

        In bf16, ``first`` and ``second`` are results of bf16.narrow. Raises RuntimeError if there is no plan.
        """
        if not self.has_plan() or self.plan is None:
            raise RuntimeError(self.refusal)
        result = cupy.empty(out.shape, np.uint16) if self.half_out else out
        arrays = {FIRST: first, SECOND: second, OUT: result} | ({BIASES: biases} if self.fused else {})
        workspace = cupy.empty(max(self.workspace(self.plan), 1), np.uint8)  # returns to CuPy's pool after the call
        self.execute(arrays, self.plan, workspace)
        if cupy.cuda.get_current_stream().is_capturing():
            _recorded.add(self)
        relu = self.behind == BEHIND[2]
        if self.half_out:
            bias.widen(result, biases if self.behind else None, out, relu)
        elif self.behind and not self.fused:
            bias.add(biases, out, relu)

    def execute(self, arrays: dict[int, Array], plan: int, workspace: Array) -> None:
        """Execute the graph with a plan, on arrays given by their identifiers in the graph."""
        pointers = {number: array.data.ptr for number, array in arrays.items()}
        handle = _handle(cupy.cuda.get_current_stream().ptr)
        self.graph.execute_plan_at_index(pointers, workspace.data.ptr, plan, handle=handle)

    def workspace(self, plan: int) -> int:
        """Return how many bytes of memory a plan needs besides its arrays."""
        return int(self.graph.get_workspace_size_plan_at_index(plan))

    def _choose(self) -> int:
        """Return the fastest correct plan, and keep its name.

        While a stream records, plans cannot be tried; then return the plan that was kept, or the one that cuDNN ranks
        first.
        """
        if cupy.cuda.get_current_stream().is_capturing():
            return next(iter(self.candidates.values()))
        arrays, wanted = self._exercise()
        try:
            best = self._fastest(arrays, wanted)
        except RuntimeError:  # the plan that was kept, or the only one, is not correct here
            if len(self.candidates) > 1:
                raise
            for known in self.candidates:
                _plans().forget(self.name, known)
            self.most = CANDIDATES
            self.graph, self.candidates = self._build(*self.settings)
            best = self._fastest(arrays, wanted)
        kept = _plans().keep(self.name, best) if len(self.candidates) > 1 else best
        return self.candidates.get(kept, self.candidates[best])

    def _fastest(self, arrays: dict[int, Array], wanted: Array) -> str:
        """Return the name of the fastest correct candidate."""
        ways = {}
        for name, plan in self.candidates.items():
            with suppress(Exception):  # of types that cuDNN defines: the plan cannot even report its workspace
                ways[name] = partial(self.execute, arrays, plan), self.workspace(plan)
        bound = max(BOUNDS[self.precision], EPSILON * self.terms**0.5)
        return trial.fastest(ways, arrays[OUT], wanted, bound, self.multiplications)

    def _exercise(self) -> tuple[dict[int, Array], Array]:
        """Return arrays of random numbers for the graph, and the result of im2col and cuBLAS for them."""
        arrays = {number: trial.random(shape, number) for number, shape in self.shapes.items()}
        if self.fused:
            arrays[BIASES] = trial.random(self.shapes[OUT][-1:], BIASES)
        filters, y, x, _ = self.shapes[WEIGHTS[self.operation]]
        geometry = Geometry(self.shapes[DATA[self.operation]][1:], filters, (y, x), self.stride, self.padding)
        wanted, relu = cupy.empty(self.shapes[OUT], np.float32), self.behind == BEHIND[2]
        operands = arrays[FIRST], arrays[SECOND]
        Im2col(geometry).product(self.operation, *operands, wanted, arrays.get(BIASES), relu)
        if self.narrow:
            arrays |= {number: bf16.narrow(arrays[number]) for number in (FIRST, SECOND)}
        if self.half_out:
            arrays[OUT] = cupy.empty(self.shapes[OUT], np.uint16)
        return arrays, wanted

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
        # Runs must be repeatable to the last bit, and float32 must not be rounded further without notice.
        graph.deselect_numeric_notes([notes.NONDETERMINISTIC, notes.REDUCED_PRECISION_REDUCTION])
        if not self.narrow:
            graph.deselect_numeric_notes([notes.DOWN_CONVERT_INPUTS])
        if precision == "fp32":
            graph.deselect_numeric_notes([notes.TENSOR_CORE])
        graph.check_support()
        chosen = _plans().get(self.name)
        candidates = _candidates(graph, chosen, self.most)
        if chosen and chosen not in candidates:
            _plans().forget(self.name, chosen)
        return graph, candidates


@lru_cache(KEPT)
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
    """Return a product planned for these shapes, all (samples or filters, y, x, channels); if none, log why.

    operation: "fprop", "dgrad" or "wgrad"; precision: one of products.PRECISIONS; behind: one of BEHIND.
    """
    try:
        fused = operation == "fprop" and behind != "" and precision != "bf16"
        fused = fused and (behind != BEHIND[2] or relu_keeps_nan(precision))
        return Product(operation, first, second, out, stride, padding, precision, behind, fused)
    except Exception as error:  # any type: from cuDNN, its frontend, or its imports
        trial.check_memory(error)
        _say_refused(operation, (first, second, out), precision, products.reason(error))
        return None


def _say_refused(operation: str, shapes: tuple[Shape, ...], precision: str, why: str) -> None:
    what = f"{operation} of {', '.join(map(str, shapes))} in {precision}"
    products.say_once(f"cuDNN has no engine for {what}, and im2col computes it: {why}")


_tried: dict[Any, set[Shape]] = {}  # shapes of data for which plans were tried, by filters and other arguments
_recorded: set[Product] = set()  # kept alive, because recorded graphs run their code


@cache
def relu_keeps_nan(precision: str) -> bool:
    """Return whether a ReLU in a graph keeps nan, by which a run detects that it has diverged."""
    shape = 8, 1, 1, 8
    ones = cupy.ones(shape, np.float32)
    data, out = cupy.full_like(ones, np.nan), cupy.zeros_like(ones)
    product = Product("fprop", shape, shape, shape, (1, 1), (0, 0), precision, BEHIND[2], fused=True)
    product(data, ones, out, ones[0, 0, 0])
    return product.fused and bool(np.isnan(cupy.asnumpy(out)).all())


def _candidates(graph: Any, chosen: str | None, most: int) -> dict[str, int]:
    """Build the plan that was chosen before, or at most ``most`` candidates, in the order of cuDNN's ranking.

    To build a plan that has to be compiled takes a second or more; it is skipped if there is another one before it.
    """
    names = [graph.get_plan_name_at_index(index) for index in range(graph.get_execution_plan_count())]
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        compiled = cudnn.behavior_note.RUNTIME_COMPILATION in graph.get_behavior_notes_for_plan_at_index(index)
        if name == chosen if chosen in names else len(found) < most and not (compiled and found):
            with suppress(Exception):  # a plan that was ruled out, or does not work
                graph.build_plan_at_index(index)
                found[name] = index
    if not found and chosen in names:
        return _candidates(graph, None, most)
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
def _handle(stream: int) -> int:
    """Return a handle of cuDNN for a stream."""
    handle = cudnn.create_handle()
    cudnn.set_stream(handle=handle, stream=stream)
    return handle
