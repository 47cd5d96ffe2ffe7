"""A stand-in for nvidia-cudnn-frontend: convolutions with fused biases and ReLU in NumPy, as strict as the library.

The names and the order of calls are those of version 1.26. The same calls have passed its own checks, up to the point
where a GPU is needed.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from cupy import capture, cuda
from cupy.arrays import memory_of
from operands import BF16, TF32, behind, rounded

from minidl.kernels.convolution import Convolution, Geometry

data_type = Enum("data_type", "NOT_SET FLOAT BFLOAT16 DOUBLE")
heur_mode = Enum("heur_mode", "A B FALLBACK")
numerical_note = Enum("numerical_note", "TENSOR_CORE DOWN_CONVERT_INPUTS NONDETERMINISTIC REDUCED_PRECISION_REDUCTION")

WORKSPACE = 100  # bytes
behavior_note = Enum("behavior_note", "RUNTIME_COMPILATION")
STEPS = ("validate", "build_operation_graph", "create_execution_plans", "check_support", "build_plan_at_index")
# The plans of each graph: the first has been ruled out, the last is compiled when it is built; a test sets their times.
PLANS = ("eng0", "eng1_a", "eng1_b", "eng2_compiled")
seconds = dict.fromkeys(PLANS, 0.0)
inexact: set[str] = set()  # plans that round their operands to tf32 although this is not allowed
# A test puts here a function that returns the error, or None, of a graph at one of the steps.
FAILS: list[Callable[["pygraph", str], Exception | None]] = []
loses_nan = False  # whether a ReLU turns nan into zero, as some engines might
built: list["pygraph"] = []  # all graphs so far
executed: list[str] = []  # the plans that were executed, one after another
streams: dict[int, int] = {}  # of the handles


class cudnnGraphNotSupportedError(Exception):
    """No engine computes this."""


def backend_version() -> int:
    """Return the version of cuDNN."""
    return 92800


def create_handle() -> int:
    """Return a new handle."""
    streams[len(streams) + 1] = -1
    return len(streams)


def set_stream(handle: int, stream: int) -> None:
    """Choose the stream of a handle."""
    streams[handle] = stream


class Tensor:
    """What a graph knows about an array: its extents, in the order samples, channels, y, x, and its strides."""

    def __init__(self, dim: list[int], stride: list[int], data_type: data_type, uid: int) -> None:
        self.dim, self.stride, self.data_type, self.uid, self.output = dim, stride, data_type, uid, False

    def set_output(self, output: bool) -> "Tensor":
        """Say that it is an output of the graph."""
        self.output = output
        return self

    def set_data_type(self, data_type: data_type) -> "Tensor":
        """Set the number type."""
        self.data_type = data_type
        return self

    def set_uid(self, uid: int) -> "Tensor":
        """Set its identifier for ``execute``."""
        self.uid = uid
        return self

    def set_dim(self, dim: list[int]) -> "Tensor":
        """Set the extents."""
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> "Tensor":
        """Set the strides."""
        self.stride = stride
        return self

    def check(self) -> None:
        """Raise an exception unless it is a whole array with its channels last."""
        _, c, y, x = self.dim
        if self.stride != [y * x * c, 1, x * c, c] or min(self.dim) < 1:
            raise RuntimeError(f"{self.dim} with strides {self.stride} is no contiguous array of channels last")
        if self.data_type is data_type.NOT_SET or self.uid < 0:
            raise RuntimeError("a tensor has no number type or no number")

    def at(self, pointer: int) -> np.ndarray:
        """Return the array (samples, y, x, channels) at a pointer, of float32 or of the bits of bfloat16."""
        if pointer % 16:
            raise RuntimeError("an array is not aligned to 16 bytes")
        n, c, y, x = self.dim
        strides = [self.stride[i] for i in (0, 2, 3, 1)]
        dtype = np.uint16 if self.data_type is data_type.BFLOAT16 else np.float32
        return behind(pointer, (n, y, x, c), strides, dtype)


class pygraph:
    """A graph of one convolution."""

    def __init__(self, *, handle: int, io_data_type: Any, intermediate_data_type: Any, compute_data_type: Any) -> None:
        if streams[handle] < 0:
            raise RuntimeError("the handle has no stream")
        self.tensors: list[Tensor] = []
        self.done: list[str] = []
        self.plans: list[int] = []  # that were built
        self.barred: set[numerical_note] = set()
        self.biases: Tensor | None = None
        self.with_relu = False
        self.io_data_type = io_data_type
        built.append(self)

    def tensor(self, *, dim: list[int], stride: list[int], data_type: data_type, uid: int, name: str = "") -> Tensor:
        """Return an input."""
        self.tensors.append(Tensor(dim, stride, data_type, uid))
        return self.tensors[-1]

    def conv_fprop(self, *, image: Tensor, weight: Tensor, **options: Any) -> Tensor:
        """Return the output."""
        return self._operation("fprop", image, weight, **options)

    def conv_dgrad(self, *, loss: Tensor, filter: Tensor, **options: Any) -> Tensor:
        """Return the data's error."""
        return self._operation("dgrad", loss, filter, **options)

    def conv_wgrad(self, *, image: Tensor, loss: Tensor, **options: Any) -> Tensor:
        """Return the gradients of the weights."""
        return self._operation("wgrad", image, loss, **options)

    def bias(self, *, input: Tensor, bias: Tensor, compute_data_type: Any) -> Tensor:
        """Return the output of a convolution plus biases, one for each channel."""
        assert (input, compute_data_type) == (self.out, data_type.FLOAT)
        self.biases = bias
        self.out = Tensor([], [], data_type.NOT_SET, -1)
        return self.out

    def relu(self, *, input: Tensor, compute_data_type: Any) -> Tensor:
        """Return the maximum of these and 0."""
        assert (input, compute_data_type) == (self.out, data_type.FLOAT)
        self.with_relu = True
        self.out = Tensor([], [], data_type.NOT_SET, -1)
        return self.out

    def _operation(
        self, name: str, *inputs: Tensor, padding: list[int], stride: list[int], dilation: list[int], **options: Any
    ) -> Tensor:
        assert dilation == [1, 1]
        assert options == {"compute_data_type": data_type.FLOAT}
        self.name, self.inputs, self.padding, self.stride = name, inputs, tuple(padding), tuple(stride)
        self.out = Tensor([], [], data_type.NOT_SET, -1)
        return self.out

    def validate(self) -> None:
        """Check every tensor, and that their extents fit."""
        self._step("validate")
        if not self.out.output:
            raise RuntimeError("the graph has no output")
        for tensor in (*self.inputs, self.out):
            tensor.check()
        data, weights, output = self.roles()
        convolution = self.convolution(data.dim, weights.dim)
        y, x, filters = convolution.output_shape
        if data.dim[1] != weights.dim[1] or output.dim != [data.dim[0], filters, y, x]:
            raise RuntimeError(f"{data.dim} and {weights.dim} do not make {output.dim}")
        if self.biases is not None:
            self.biases.check()
            if self.biases.dim != [1, self.out.dim[1], 1, 1]:
                raise RuntimeError(f"{self.biases.dim} are no biases of {self.out.dim}")

    def roles(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tensors that play data, weights and output in the convolution."""
        first, second = self.inputs
        return {
            "fprop": (first, second, self.out),
            "dgrad": (self.out, second, first),
            "wgrad": (first, self.out, second),
        }[self.name]

    def convolution(self, data: list[int], weights: list[int]) -> Convolution:
        """Return NumPy's convolution for these extents."""
        return Convolution(
            Geometry((data[2], data[3], data[1]), weights[0], (weights[2], weights[3]), self.stride, self.padding)
        )

    def build_operation_graph(self) -> None:
        """Accept the graph."""
        self._step("build_operation_graph")

    def create_execution_plans(self, modes: list[heur_mode]) -> None:
        """Find engines."""
        self._step("create_execution_plans")

    def deselect_numeric_notes(self, notes: list[numerical_note]) -> None:
        """Exclude engines of these kinds."""
        if self.done[-1] != "create_execution_plans":
            raise RuntimeError("there are no plans to choose among")
        self.barred.update(notes)

    def check_support(self) -> None:
        """Raise an exception if no engine is left."""
        self._step("check_support")
        if not self._has_engine():
            raise cudnnGraphNotSupportedError("No execution plans support the graph.\nand more")

    def _has_engine(self) -> bool:
        """Return whether an H100 has an engine: few mix float32 and bfloat16, and none of these with biases."""
        kinds = {tensor.data_type for tensor in (*self.inputs, self.out, *([self.biases] if self.biases else []))}
        if kinds == {data_type.FLOAT} or kinds == {data_type.BFLOAT16}:
            return self.biases is None or self.name == "fprop"
        channels_fit = all(tensor.dim[1] % 8 == 0 for tensor in (*self.inputs, self.out))
        return self.name == "fprop" and self.biases is None and channels_fit

    def get_execution_plan_count(self) -> int:
        """Return how many plans there are, of which some cannot be built."""
        return len(PLANS)

    def get_plan_name_at_index(self, index: int) -> str:
        """Return the name of a plan."""
        return PLANS[index]

    def get_behavior_notes_for_plan_at_index(self, index: int) -> list[behavior_note]:
        """Return the behavior notes of a plan."""
        return [behavior_note.RUNTIME_COMPILATION] if PLANS[index].endswith("compiled") else []

    def build_plan_at_index(self, index: int) -> None:
        """Prepare a plan."""
        if self.done[-1] != "build_plan_at_index":
            self._step("build_plan_at_index")
        if index == 0:
            raise cudnnGraphNotSupportedError("Deselecting execution plan")
        self.plans.append(index)

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        """Return how many bytes a plan needs."""
        if index not in self.plans:
            raise RuntimeError(f"plan {index} was not built")
        return WORKSPACE

    def execute_plan_at_index(self, arrays: dict[int, int], workspace: int, index: int, handle: int) -> None:
        """Compute by a plan, on arrays given by their numbers and pointers."""
        if index not in self.plans:
            raise RuntimeError(f"plan {index} was not built")
        assert streams[handle] >= 0
        assert all(type(pointer) is int for pointer in (*arrays.values(), workspace))
        used = (*self.inputs, self.out, *([self.biases] if self.biases else []))
        assert arrays.keys() == {tensor.uid for tensor in used}
        if capture.recording():
            for pointer in (*arrays.values(), workspace):
                capture.watch(memory_of(pointer))
        capture.run(lambda: self._compute(arrays, workspace, PLANS[index]))

    def _compute(self, arrays: dict[int, int], workspace: int, plan: str) -> None:
        executed.append(plan)
        cuda.ahead += seconds[plan]
        behind(workspace, (WORKSPACE,), (1,), np.uint8)[...] = 0xAB
        first, second = (self._operand(tensor, arrays, plan) for tensor in self.inputs)
        data, weights, _ = self.roles()
        n, c, y, x = self.out.dim
        result = np.full((n, y, x, c), np.nan, np.float32)
        convolution = self.convolution(data.dim, weights.dim)
        if self.name == "fprop":
            biases = self._values(self.biases, arrays).ravel() if self.biases else np.zeros(c, np.float32)
            convolution.forward(first, second, biases, result)
        elif self.name == "dgrad":
            convolution.backward(first, second, result)
        else:
            convolution.comp_grads(second, first, result, np.zeros(n, np.float32))
        if self.with_relu:
            with np.errstate(invalid="ignore"):
                result = np.where(result > 0, result, 0) if loses_nan else np.maximum(result, 0)
        out = self.out.at(arrays[self.out.uid])
        half = self.out.data_type is data_type.BFLOAT16
        out[...] = (rounded(result, BF16).view(np.uint32) >> 16) if half else result

    def _operand(self, tensor: Tensor, arrays: dict[int, int], plan: str) -> np.ndarray:
        values = self._values(tensor, arrays)
        exact = tensor.data_type is data_type.BFLOAT16 or numerical_note.TENSOR_CORE in self.barred
        exact = exact and plan not in inexact
        return values if exact else rounded(values, TF32)

    def _values(self, tensor: Tensor, arrays: dict[int, int]) -> np.ndarray:
        values = tensor.at(arrays[tensor.uid])
        half = tensor.data_type is data_type.BFLOAT16
        return (values.astype(np.uint32) << 16).view(np.float32) if half else values

    def _step(self, name: str) -> None:
        if STEPS[len(self.done)] != name:
            raise RuntimeError(f"{name} comes after {STEPS[len(self.done)]}")
        self._fail(name)
        self.done.append(name)

    def _fail(self, step: str) -> None:
        for fails in FAILS:
            if error := fails(self, step):
                raise error
