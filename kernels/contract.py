"""Contract of a device: the signatures of the operations and services that ``load`` returns, the same on every device.

The files of the same names in kernels/ define what the operations compute. Arrays lie on the device. An operation with
an ``out`` writes its result there and returns nothing, unless its docstring says otherwise. ``arrays`` declares which
shapes and types fit, a Literal type the words that an argument may be; checked.py refuses all others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import DTypeLike

from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.running import Running

Array = Any  # numpy.ndarray or cupy.ndarray
Image = tuple[int, int, int]  # y, x, channels
Buffer = Callable[[str, tuple[int, ...], Any], Array]  # (name, shape, dtype): an array that is kept for the next call
Pair = tuple[int, int]
Known = dict[str, Any]  # extents by the names of their axes
Signature = TypeVar("Signature", bound=Callable[..., Any])
declarations: dict[str, dict[str, dict[str, Any]]] = {}  # by protocol and operation


def arrays(
    writes: str = "",
    over: str = "",
    counts: str = "",
    takes: str = "",
    stores: str = "",
    stored: str = "",
    returns: str = "",
    vectors: bool = False,
    where: Mapping[str, Callable[[Known], Any]] | None = None,
    below: Mapping[str, Callable[[Known], int]] | None = None,
    **axes: str | dict[str, str],
) -> Callable[[Signature], Signature]:
    """Declare the arrays of an operation by the names of their axes; checked.py refuses all that do not fit.

    Axes of one name have one extent; where: extents that follow from others; *name: any axes, equally many in each
    argument. Before a colon stands the type of the elements; without one, all are float32, or all float64. A record has
    the axes of each of its arrays.

    writes: the arrays that are written; no other array may share their memory, except that those in ``over`` may be the
    written array itself. counts: numbers of at least 1. stores: images or masks that can be stored; stored: what
    ``store`` has returned for images, and for masks of the same extents; how many there are is the extent "images".
    returns: a name for the result, which differs between devices; takes: arguments that must be like such a result, for
    arrays of one shape. vectors: whether cuDNN reads the arrays on a GPU, so that they must begin at multiples of 16
    bytes. below: bounds of the numbers in arrays of indices, which are at least 0 and below the bound.
    """

    def declare(signature: Signature) -> Signature:
        protocol, operation = signature.__qualname__.split(".")
        kinds = signature.__annotations__.items()
        lists = {"writes": writes, "over": over, "counts": counts, "takes": takes, "stores": stores, "stored": stored}
        declarations.setdefault(protocol, {})[operation] = {name: text.split() for name, text in lists.items()} | {
            "axes": axes,
            "choices": {name: get_args(kind) for name, kind in kinds if get_origin(kind) is Literal},
            "returns": returns,
            "vectors": vectors,
            "where": where or {},
            "below": below or {},
        }
        return signature

    return declare


VIEW = "outer rows inner lanes"  # see areas.py
DATA, IMAGES, ROWS = "samples y x channels", "samples Y X channels", "samples channels"


def _windows(axis: str) -> Callable[[Known], int]:
    """Return a function for the number of windows of a pooling along an axis."""
    return lambda extents: (extents[axis] - extents["size"]) // extents["stride"] + 1


POOLED = {"Y": _windows("y"), "X": _windows("x")}
BOTH = {"both": lambda extents: extents["one"] + extents["other"]}
LARGER = {"*larger": lambda extents: tuple(map(max, extents["*one"], extents["*other"]))}
CHANNELS = {"channels": lambda extents: extents["inner"] * extents["lanes"]}
IN_EPOCH = {
    "crops.order": lambda extents: extents["images"],
    "crops.position": lambda extents: extents["epoch"] - extents["samples"] + 1,  # a whole batch is left
}


class Adam(Protocol):
    """Algorithm 3; MOMENTS: how many arrays of a parameter's shape it keeps."""

    MOMENTS: int

    @arrays(writes="steps", learning_rate="float64: 1", steps="int64: 1")
    def step(
        self,
        parameters: Sequence[ParameterState],
        learning_rate: Array,
        steps: Array,
        betas: tuple[float, float],
        epsilon: float,
        variant: Literal["standard", "as_printed"],
    ) -> None: ...


class Augment(Protocol):
    """Batches from images that are stored as bytes; each device has its own type for what ``store`` returns.

    crops: see ``Crops`` in augment.py.
    """

    @arrays(stores="images")
    def store(self, images: Any) -> Any: ...

    @arrays(
        writes="out labels crops.position",
        below=IN_EPOCH,
        stored="images",
        classes="int64: images",
        crops={"position": "int64: 1", "order": "int64: epoch", "corners": "int64: epoch 2"},
        mean="host: 3",
        out="samples y x 3",
        labels="int64: samples",
    )
    def crop(
        self, images: Any, classes: Array, crops: Any, mean: Any, divisor: float, out: Array, labels: Array
    ) -> None: ...

    @arrays(
        writes="out labels crops.position",
        below=IN_EPOCH,
        stored="images masks",
        crops={
            "position": "int64: 1",
            "order": "int64: epoch",
            "corners": "int64: epoch 2",
            "colours": "float64: epoch 3",
            "mirrored": "bool: epoch",
        },
        mean="host: 3",
        out="samples y x 3",
        labels="int8: samples y x",
    )
    def crop_with_masks(
        self, images: Any, masks: Any, crops: Any, mean: Any, divisor: float, out: Array, labels: Array
    ) -> None: ...


class AveragePool(Protocol):
    """The mean of each window, or of each plane."""

    @arrays(writes="out", counts="size stride", where=POOLED, data=DATA, out=IMAGES)
    def forward(self, data: Array, size: int, stride: int, out: Array) -> None: ...

    @arrays(writes="out", counts="size stride", where=POOLED, out=DATA, error=IMAGES)
    def backward(self, error: Array, size: int, stride: int, out: Array) -> None: ...

    @arrays(writes="out", data=DATA, out=ROWS)
    def forward_global(self, data: Array, out: Array) -> None: ...

    @arrays(writes="out", error=ROWS, out=DATA)
    def backward_global(self, error: Array, out: Array) -> None: ...


class Concat(Protocol):
    """Concatenation of the channels of two arrays."""

    @arrays(writes="out", where=BOTH, first="samples y x one", second="samples y x other", out="samples y x both")
    def forward(self, first: Array, second: Array, out: Array) -> None: ...

    @arrays(
        writes="first second", where=BOTH, first="samples y x one", second="samples y x other", error="samples y x both"
    )
    def backward(self, error: Array, first: Array, second: Array) -> None: ...


class Plan(Protocol):
    """A convolution, or a transposed one, of one geometry; name: that of its algorithm, in a word or two."""

    name: str
    output_shape: Image

    @arrays(
        writes="out",
        vectors=True,
        data="samples y x in",
        weights="out height width in",
        biases="out",
        out="samples Y X out",
    )
    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None: ...

    @arrays(writes="out", vectors=True, error="samples Y X out", weights="out height width in", out="samples y x in")
    def backward(self, error: Array, weights: Array, out: Array) -> None: ...

    @arrays(
        writes="weights_grads biases_grads",
        vectors=True,
        error="samples Y X out",
        data="samples y x in",
        weights_grads="out height width in",
        biases_grads="out",
    )
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

    @arrays(
        writes="out running.mean running.variance running.updates",
        returns="statistics",
        where=CHANNELS,
        x=VIEW,
        gamma="channels",
        beta="channels",
        out=VIEW,
        running={"mean": "channels", "variance": "channels", "updates": "int64: 1"},
    )
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

    @arrays(writes="out", over="x", where=CHANNELS, x=VIEW, factor="channels", offset="channels", out=VIEW)
    def inference(self, x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None: ...

    @arrays(
        writes="gamma_grads beta_grads",
        returns="sums",
        takes="statistics",
        where=CHANNELS,
        error=VIEW,
        x=VIEW,
        gamma_grads="channels",
        beta_grads="channels",
    )
    def comp_grads(self, error: Array, x: Array, statistics: Any, gamma_grads: Array, beta_grads: Array) -> Any: ...

    @arrays(
        writes="out",
        over="error",
        takes="statistics sums",
        where=CHANNELS,
        error=VIEW,
        x=VIEW,
        gamma="channels",
        out=VIEW,
    )
    def backward(self, error: Array, x: Array, gamma: Array, statistics: Any, sums: Any, out: Array) -> None: ...


class Extents(Protocol):
    """Copies and sums of arrays of different extents."""

    @arrays(writes="out", source="samples *extents", out="samples *others")
    def copy(self, source: Array, out: Array) -> None: ...

    @arrays(
        writes="out", over="first", where=LARGER, first="samples *one", second="samples *other", out="samples *larger"
    )
    def add(self, first: Array, second: Array, out: Array) -> None: ...


class FullyConnected(Protocol):
    """Fully connected layer."""

    @arrays(writes="out", vectors=True, data="samples in", weights="out in", biases="out", out="samples out")
    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None: ...

    @arrays(writes="out", vectors=True, error="samples out", weights="out in", out="samples in")
    def backward(self, error: Array, weights: Array, out: Array) -> None: ...

    @arrays(
        writes="weights_grads biases_grads",
        vectors=True,
        error="samples out",
        data="samples in",
        weights_grads="out in",
        biases_grads="out",
    )
    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None: ...


class MaxPool(Protocol):
    """The largest element of each window; what forward returns for backward, ``argmax``, differs between devices."""

    @arrays(writes="out", counts="size stride", returns="argmax", where=POOLED, data=DATA, out=IMAGES)
    def forward(self, data: Array, size: int, stride: int, out: Array, buffer: Buffer) -> Any: ...

    @arrays(writes="out", counts="size stride", where=POOLED, data=DATA, out=IMAGES)
    def inference(self, data: Array, size: int, stride: int, out: Array) -> None: ...

    @arrays(writes="out", counts="size stride", takes="argmax", where=POOLED, out=DATA, error=IMAGES)
    def backward(self, error: Array, size: int, stride: int, argmax: Any, out: Array) -> None: ...


class ReLU(Protocol):
    """max(x, 0)."""

    @arrays(writes="out", over="data", data="*axes", out="*axes")
    def forward(self, data: Array, out: Array) -> None: ...

    @arrays(writes="out", over="error", error="*axes", output="*axes", out="*axes")
    def backward(self, error: Array, output: Array, out: Array) -> None: ...


class Resize(Protocol):
    """Bilinear interpolation."""

    @arrays(writes="out", data=DATA, out=IMAGES)
    def forward(self, data: Array, out: Array) -> None: ...

    @arrays(writes="out", error=IMAGES, out=DATA)
    def backward(self, error: Array, out: Array) -> None: ...


class SGD(Protocol):
    """Algorithm 2; MOMENTS: how many arrays of a parameter's shape it keeps."""

    MOMENTS: int

    @arrays(writes="steps", learning_rate="float64: 1", steps="int64: 1", momentum="float64: 1")
    def step(
        self,
        parameters: Sequence[ParameterState],
        learning_rate: Array,
        steps: Array,
        momentum: Array,
        variant: Literal["paper", "dlib"],
    ) -> None: ...


class SoftmaxLoss(Protocol):
    """Softmax and cross-entropy."""

    @arrays(
        writes="error totals",
        logits="*rows classes",
        labels="integer: *rows",
        error="*rows classes",
        totals="float64: 4",
    )
    def forward(self, logits: Array, labels: Array, error: Array, totals: Array) -> None: ...


class Normalize(Protocol):
    """Center, standardize and rescale; each device has its own type for the scale."""

    @arrays(writes="out", over="x", x=VIEW, out=VIEW)
    def center(self, x: Array, out: Array) -> None: ...

    @arrays(writes="out", over="error", error=VIEW, out=VIEW)  # it reads no more
    def center_adjoint(self, error: Array, output: Array, scale: Any, out: Array) -> None: ...

    @arrays(writes="out", over="x", returns="scale", x=VIEW, out=VIEW)
    def standardize(self, x: Array, out: Array, epsilon: float = 1e-5) -> Any: ...

    @arrays(writes="out", over="error", takes="scale", error=VIEW, output=VIEW, out=VIEW)
    def standardize_adjoint(self, error: Array, output: Array, scale: Any, out: Array) -> None: ...

    @arrays(writes="out", over="x", returns="scale", x=VIEW, out=VIEW)
    def rescale(self, x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Any: ...

    @arrays(writes="out", over="error", takes="scale", error=VIEW, output=VIEW, out=VIEW)
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
