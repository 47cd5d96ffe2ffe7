"""Contract of a device: the signatures of the operations and services that ``load`` returns, the same on every device.

The files of the same names in kernels/ define what the operations compute. Arrays lie on the device. An operation with
an ``out`` writes its result there and returns nothing, unless its docstring says otherwise.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.running import Running

Array = Any  # numpy.ndarray or cupy.ndarray
Image = tuple[int, int, int]  # y, x, channels
Buffer = Callable[[str, tuple[int, ...], Any], Array]  # (name, shape, dtype): an array that is kept for the next call
Pair = tuple[int, int]


class Adam(Protocol):
    """Algorithm 3; MOMENTS: how many arrays of a parameter's shape it keeps."""

    MOMENTS: int

    def step(
        self,
        parameters: Sequence[ParameterState],
        learning_rate: Array,
        steps: Array,
        betas: tuple[float, float],
        epsilon: float,
        variant: str,
    ) -> None: ...


class Augment(Protocol):
    """Batches from images that are stored as bytes; each device has its own type for what ``store`` returns.

    crops: see ``Crops`` in augment.py.
    """

    def store(self, images: Any) -> Any: ...

    def crop(
        self, images: Any, classes: Array, crops: Any, mean: Any, divisor: float, out: Array, labels: Array
    ) -> None: ...

    def crop_with_masks(
        self, images: Any, masks: Any, crops: Any, mean: Any, divisor: float, out: Array, labels: Array
    ) -> None: ...


class AveragePool(Protocol):
    """The mean of each window, or of each plane."""

    def forward(self, data: Array, size: int, stride: int, out: Array) -> None: ...

    def backward(self, error: Array, size: int, stride: int, out: Array) -> None: ...

    def forward_global(self, data: Array, out: Array) -> None: ...

    def backward_global(self, error: Array, out: Array) -> None: ...


class Concat(Protocol):
    """Concatenation of the channels of two arrays."""

    def forward(self, first: Array, second: Array, out: Array) -> None: ...

    def backward(self, error: Array, first: Array, second: Array) -> None: ...


class Plan(Protocol):
    """A convolution, or a transposed one, of one geometry; name: that of its algorithm, in a word or two."""

    name: str
    output_shape: Image

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None: ...

    def backward(self, error: Array, weights: Array, out: Array) -> None: ...

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None: ...


class Convolution(Protocol):
    """Convolution; ``plan`` prepares it for a geometry, with ``algorithm`` or one that a rule chooses."""

    def Geometry(
        self,
        data_shape: tuple[int, ...],
        filters: int,
        kernel_size: Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dtype: DTypeLike = np.float32,
    ) -> Any: ...

    def plan(self, geometry: Any, algorithm: str | None = None) -> Plan: ...


class TransposedConvolution(Protocol):
    """Transposed convolution; its geometry is that of its data and filters."""

    def plan(self, geometry: Any) -> Plan: ...


class DataNorm(Protocol):
    """BN, LN, IN and GN with γ and β; each device has its own types for the statistics and the sums."""

    def forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        epsilon: float,
        out: Array,
        running: Running | None = None,
        relu: bool = False,
    ) -> Any: ...

    def inference(self, x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None: ...

    def comp_grads(self, error: Array, x: Array, statistics: Any, gamma_grads: Array, beta_grads: Array) -> Any: ...

    def backward(self, error: Array, x: Array, gamma: Array, statistics: Any, sums: Any, out: Array) -> None: ...


class Extents(Protocol):
    """Copies and sums of arrays of different extents."""

    def copy(self, source: Array, out: Array) -> None: ...

    def add(self, first: Array, second: Array, out: Array) -> None: ...


class FullyConnected(Protocol):
    """Fully connected layer."""

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None: ...

    def backward(self, error: Array, weights: Array, out: Array) -> None: ...

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None: ...


class MaxPool(Protocol):
    """The largest element of each window; what forward returns for backward, ``argmax``, differs between devices."""

    def forward(self, data: Array, size: int, stride: int, out: Array, buffer: Buffer) -> Any: ...

    def inference(self, data: Array, size: int, stride: int, out: Array) -> None: ...

    def backward(self, error: Array, size: int, stride: int, argmax: Any, out: Array) -> None: ...


class ReLU(Protocol):
    """max(x, 0)."""

    def forward(self, data: Array, out: Array) -> None: ...

    def backward(self, error: Array, output: Array, out: Array) -> None: ...


class Resize(Protocol):
    """Bilinear interpolation."""

    def forward(self, data: Array, out: Array) -> None: ...

    def backward(self, error: Array, out: Array) -> None: ...


class SGD(Protocol):
    """Algorithm 2; MOMENTS: how many arrays of a parameter's shape it keeps."""

    MOMENTS: int

    def step(
        self, parameters: Sequence[ParameterState], learning_rate: Array, steps: Array, momentum: float, variant: str
    ) -> None: ...


class SoftmaxLoss(Protocol):
    """Softmax and cross-entropy."""

    def forward(self, logits: Array, labels: Array, error: Array, totals: Array) -> None: ...


class Normalize(Protocol):
    """Center, standardize and rescale; each device has its own type for the scale."""

    def center(self, x: Array, out: Array) -> None: ...

    def center_adjoint(self, error: Array, output: Array, scale: Any, out: Array) -> None: ...

    def standardize(self, x: Array, out: Array, epsilon: float = 1e-5) -> Any: ...

    def standardize_adjoint(self, error: Array, output: Array, scale: Any, out: Array) -> None: ...

    def rescale(self, x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Any: ...

    def rescale_adjoint(self, error: Array, output: Array, scale: Any, out: Array, k: float = 1.0) -> None: ...


class Prefetching(Protocol):
    """A service: builds the next results, on a CPU in the background, in BUFFERS buffers that it fills in turn."""

    BUFFERS: int

    def Prefetcher(self, make: Callable[[int, Any], Any]) -> "Prefetcher": ...


class Prefetcher(Protocol):
    """Computes the requested results; see kernels/prefetch.py and kernels/cpu/prefetch.py."""

    def stop(self) -> None: ...

    def start(self, requests: Iterable[Any]) -> None: ...

    def next(self, request: Any) -> Any: ...


class MemoryPools(Protocol):
    """A service: arrays for a short use; see kernels/memory_pool.py and kernels/cpu/memory_pool.py."""

    def MemoryPool(self) -> "MemoryPool": ...


class MemoryPool(Protocol):
    """Gives out arrays; it may reuse the memory of an array when nothing refers to it any more."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array: ...


@dataclass(frozen=True)
class Operations:
    """The arithmetic of a device: for each name a module that keeps to the protocol."""

    adam: Adam
    augment: Augment
    average_pool: AveragePool
    concat: Concat
    convolution: Convolution
    data_norm: DataNorm
    extents: Extents
    fully_connected: FullyConnected
    max_pool: MaxPool
    normalize: Normalize
    relu: ReLU
    resize: Resize
    sgd: SGD
    softmax_loss: SoftmaxLoss
    transposed_convolution: TransposedConvolution


@dataclass(frozen=True)
class Services:
    """What a device offers besides its operations."""

    xp: ModuleType
    """Makes the device's arrays: NumPy or CuPy."""

    array: Callable[[Any, Any], Any]
    """array(values, dtype): real numbers of any type and layout as an array for operations; see arrays.py."""

    host: Callable[[Any], Any]
    """host(array): the array as a NumPy array."""

    read_later: Callable[[Any], Callable[[], Any]]
    """read_later(array): a function that returns the array as a NumPy array without waiting; on a GPU, with the values
    at the function's previous call."""

    constant: Callable[[Any], Any]
    """constant(array): a copy that will not change any more, so that an operation may keep what it computes from it."""

    lock: Callable[[], Any]
    """lock(): a reentrant lock that a thread holds while it runs a net; the same for all nets if they must take
    turns."""

    concurrently: Callable[[Callable[[], Any], Callable[[], Any]], Any]
    """concurrently(first, second): call two functions, at the same time if that is faster, and return what the second
    returns; neither writes to memory that the other one reads or writes."""

    choices: Callable[[], dict[str, str]]
    """choices(): which algorithm was found to be the fastest, for each product where algorithms can differ in the last
    bit of the result."""

    choose: Callable[[Mapping[str, str]], None]
    """choose(choices): use these algorithms from now on."""

    record: Callable[..., Callable[[], None]]
    """record(function, version, total): a function that does the same, but may record what it does once and replay it,
    for as long as version(), a number that grows, stays the same. What changes from call to call must lie on the
    device. total(n): the sum of n over the ranks, if several ranks share the function."""

    tape: Callable[[Callable[[], None]], Any]
    """tape(function): an object that replays the compiled calls of function(), see cpu/tape.py, or None."""

    describe: Callable[[], str]
    """describe(): a short description of the device."""

    prefetch: Prefetching
    """The module that builds the next batch; on a CPU, in a background thread."""

    memory_pool: MemoryPools
    """The module whose pools may reuse the memory of arrays that nothing refers to any more."""
