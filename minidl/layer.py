"""Layer: the contract of a layer, and Algorithm 1, written once.

Algorithm 1 of the paper places the normalizations in three functions, which every layer here has:

    Forward      Weights = Normalize(Weights);  Output = FWD(Weights, Data)
    Backward     ErrorOut = BWD(Weights, ErrorIn);  ErrorOut = Normalize(ErrorOut)
    CompGrads    Grad = GRAD(Data, ErrorIn);  Grad = Normalize(Grad)

Your own layer defines ``infer_shape``, ``compute_output``, ``compute_error`` and, if it learns, ``compute_grads``.
"""

from collections.abc import Iterator
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any, NoReturn

from minidl.context import Context
from minidl.fixed import Spelt, fixed, read_only
from minidl.functions import check_arguments
from minidl.hooks import HookPoint
from minidl.initialization import glorot
from minidl.kernels.arguments import check_kind, whole
from minidl.kernels.errors import MinidlError
from minidl.parameter import Parameter

Array = Any  # numpy.ndarray or cupy.ndarray
Shape = tuple[int, ...]
POINT = "is a hook point; set its hook, as in layer.{name}.hook = {value}"
LEARNED = "must be a Parameter, and stay the one that optimizers know; copy into it by layer.{name}.value = array"


class Layer(Spelt):
    """One layer of a net.

    Data, outputs and errors are arrays of (samples, …), channels last. Call ``setup`` first; then for each batch
    ``forward(data)``, ``comp_grads(error)`` and ``backward(error)``, where ``error`` is ∂L/∂output and the result of
    backward is ∂L/∂data. Real numbers of any type and layout are converted to the layer's own. An output is valid until
    the layer's next forward, an error for as long as something refers to it.

    comp_grads and backward may be called more than once for a batch. They raise MinidlError before a forward in
    training, after a forward in inference, and if the error has another number of samples than the data.
    """

    made_with = "output_shape"
    kind = "layer"
    data_axes: tuple[str, ...] = ()  # of one sample, if a layer needs certain axes: (y, x, channels)

    at_weights: Any = fixed(POINT, HookPoint)
    at_error: Any = fixed(POINT, HookPoint)
    at_grads: Any = fixed(POINT, HookPoint)
    at_output: Any = fixed(POINT, HookPoint)
    weights: Any = fixed(LEARNED, Parameter)
    biases: Any = fixed(LEARNED, Parameter)
    hook = hooks = read_only("has its hooks at three points; set one there, as in layer.at_grads.hook = {value}")

    def __init__(self) -> None:
        self.name = self.kind
        self.input_shape: Shape = ()  # of one sample, from setup on
        self.training = True
        self.weights = self.biases = None  # Parameters, if the layer learns
        self.at_weights, self.at_error, self.at_grads = HookPoint("weights"), HookPoint("error"), HookPoint("grads")
        self.at_output = HookPoint("output")  # for observers only
        self.at_output.refusal = "an output has no hook; normalize data by a layer, such as BatchNorm"
        self.context: Any = None  # shared by all layers of its net
        self.writes_over: Layer | None = None  # its output may overwrite that layer's, see fuse.py
        self.with_relu = False  # its operation writes max(output, 0), see fuse.py
        self.data: Array = None
        self.samples: int | None = None  # of the last forward, if it was in training and succeeded
        self.to_be_checked: set[str] = set()  # functions whose results are not checked yet

    if not TYPE_CHECKING:  # a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            """Explain what a layer lacks before its setup, or if its own ``__init__`` leaves out that of all layers."""
            if "context" not in vars(self) and not name.startswith("__"):
                kind = type(self).__name__
                raise MinidlError(
                    f"a layer {kind} has no {name}, because {kind}.__init__ does not begin with super().__init__(), "
                    "which makes what all layers have"
                )
            if name in ("kernels", "output_shape"):
                raise MinidlError(
                    f"{self.name} ({type(self).__name__}) is in no net yet and has no {name}; build a Net with it, or "
                    "call its setup"
                )
            return super().__getattribute__(name)

    def __copy__(self) -> NoReturn:
        raise MinidlError(
            f"a shallow copy of {self.name} ({self}) would have the same hook points, and so the same hooks; make "
            "another layer, or use copy.deepcopy"
        )

    # -- Algorithm 1 ------------------------------------------------------------------------------------------

    def forward(self, data: Array) -> Array:
        """Forward: Weights = Normalize(Weights); Output = FWD(Weights, Data)."""
        self.samples = None
        data = self.accept("data", data, self.input_shape)
        if self.training:
            self.data = data
            self.normalize_weights()
        output = self.computed("compute_output", self.compute_output(data), (len(data), *self.output_shape))
        if self.training:
            self.samples = len(data)
            self.at_output(output, self.name)
        return output

    def backward(self, error: Array) -> Array:
        """Backward: ErrorOut = BWD(Weights, ErrorIn); ErrorOut = Normalize(ErrorOut)."""
        error = self.accept_error(error)
        result = self.computed("compute_error", self.compute_error(error), (len(error), *self.input_shape))
        return self.normalize_error(result, error)

    def comp_grads(self, error: Array) -> None:
        """CompGrads: Grad = GRAD(Data, ErrorIn); Grad = Normalize(Grad), of the weights and not of the biases."""
        if self.parameters():
            self.compute_grads(self.accept_error(error))
        if self.weights is not None:
            self.at_weights.adjoint(self.weights.grads)
            self.at_grads(self.weights.grads, self.name)

    def normalize_error(self, result: Array, error: Array) -> Array:
        """ErrorOut = Normalize(ErrorOut), never in the memory of ``error``, which others may read."""
        if self.at_error.hook is not None:
            shared = self.kernels.xp.may_share_memory(result, error)
            result = result.copy() if shared else self.kernels.array(result, self.context.dtype)
        return self.at_error(result, self.name)

    def normalize_weights(self) -> None:
        """Weights = Normalize(Weights)."""
        if self.weights is not None:
            self.weights.in_use = self.at_weights(self.weights.value, self.name)
        elif self.at_weights.hook or self.at_grads.hook:
            raise MinidlError(
                f"{self.name} ({self}) has no weights, and the hook that hangs there would never be called; hang it at "
                "a layer that has, or at at_error"
            )

    def normalized_copy(self) -> Array:
        """Return a copy, Normalize(Weights); without a hook, return the weights themselves."""
        if self.at_weights.hook is None:
            return self.weights.value
        copy = self.weights.value.copy()
        copy[...] = self.at_weights.normalize(copy, self.name)  # the hook's own array in reparametrization
        return copy

    # -- what your own layer defines --------------------------------------------------------------------------

    def infer_shape(self, shape: Shape) -> Shape:
        """Return the output's shape for data of ``shape`` (both of one sample), and create the parameters."""
        raise self.lacks("infer_shape")

    def compute_output(self, data: Array) -> Array:
        """Return the layer's output, FWD."""
        raise self.lacks("compute_output")

    def compute_error(self, error: Array) -> Array:
        """Return the error with respect to the data, BWD."""
        raise self.lacks("compute_error")

    def compute_grads(self, error: Array) -> None:
        """Write the gradients of all parameters, GRAD."""
        raise self.lacks("compute_grads")

    def lacks(self, function: str) -> MinidlError:
        """Return the MinidlError for a layer that does not define this function."""
        return MinidlError(
            f"{self.name} ({self}) has no {function}; a layer needs infer_shape, compute_output and compute_error, and "
            "compute_grads where it learns"
        )

    def computed(self, function: str, result: Any, shape: Shape) -> Array:
        """Return a function's result in the net's number type.

        Raises MinidlError unless it is an array of ``shape``; each function is checked once after ``fit``.
        """
        if function in self.to_be_checked:
            found = getattr(result, "shape", None)
            if found != shape:
                got = type(result).__name__ if found is None else f"an array of shape {tuple(found)}"
                raise MinidlError(
                    f"{self.name} ({self}) returned {got} from {function}; let it return an array of shape {shape}, as "
                    "its infer_shape has it"
                )
            self.to_be_checked.discard(function)
        return result if result.dtype == self.context.dtype else self.kernels.array(result, self.context.dtype)

    # -- set-up, memory and input checks ----------------------------------------------------------------------

    def setup(self, shape: Shape, context: Context) -> Shape:
        """Fix the shape of one sample of the data, create the parameters and return the output's shape."""
        self.attach(context)
        return self.fit(shape)

    def attach(self, context: Context) -> None:
        """Join a net, and get a name in it. Raises MinidlError for a layer that is already in this net."""
        if self.context is context:
            raise MinidlError(
                f"{self.name} ({self}) is used twice in this net, but a layer can remember only one batch; make a "
                "layer for each place"
            )
        self._check_definition()
        self.context = context
        self.name = context.name(self.kind)
        self.kernels: Any = context.kernels_of(self)  # the operations with which it computes

    def _check_definition(self) -> None:
        """Raise MinidlError if a user-defined layer has methods with other arguments, or a kind that is no word."""
        name = type(self).__name__
        check_kind(f"kind of {name}", self.kind, str, "give a word")
        for method in ("infer_shape", "compute_output", "compute_error", "compute_grads"):
            arguments = {"infer_shape": "(shape)", "compute_output": "(data)"}.get(method, "(error)")
            check_arguments(f"a layer {name}", getattr(self, method), arguments)

    def fit(self, shape: Shape) -> Shape:
        """Prepare for data of ``shape`` (of one sample), the first time or again; existing parameters stay."""
        self.samples = None
        self.input_shape = tuple(shape)
        if not shape or (self.data_axes and len(shape) != len(self.data_axes)):
            expected = ", ".join(("samples", *(self.data_axes or ("…",))))
            remedy = "put a Flatten before it" if len(self.data_axes) == 1 else "give it images, channels last"
            raise MinidlError(
                f"{self.name} ({self}) expected data of shape ({expected}) and got {self.input_shape} for one sample; "
                f"{remedy if self.data_axes else 'give it at least one axis'}"
            )
        inferred = self.infer_shape(self.input_shape)
        try:
            self.output_shape = tuple(map(index, inferred))
        except TypeError:
            raise MinidlError(
                f"{self.name} ({self}) returned {inferred!r} from infer_shape; let it return the output's shape for "
                "one sample, such as (y, x, channels)"
            ) from None
        self.to_be_checked = {"compute_output", "compute_error"}
        for p in self.parameters():
            check_kind(f"each parameter of {self.name}", p, Parameter, "make it by create_parameters, or by Parameter")
        return self.output_shape

    def check_counts(self, least: int = 1, /, **counts: Any) -> tuple[int, ...]:
        """Return a constructor's counts as ints; raise MinidlError for one that is no whole number or below least."""
        return tuple(whole(f"{name} of {type(self).__name__}", count, least) for name, count in counts.items())

    def create_parameters(self, shape: Shape, fan_in: int, fan_out: int) -> None:
        """Create weights of ``shape`` by Glorot's formula 16, and zero biases, one for each output (axis 0).

        A layer that is fitted again, to images of another size, keeps its weights. Raises MinidlError if they have
        another shape.
        """
        if self.weights is not None:
            if self.weights.value.shape != shape:
                raise MinidlError(
                    f"{self.name} ({self}) has weights of shape {self.weights.value.shape}, which data of shape "
                    f"{self.input_shape} do not fit; give it data of the extents that it was made for"
                )
            return
        self.context.expect(f"{self.name}.weights", shape)
        xp, dtype = self.kernels.xp, self.context.dtype
        weights = xp.asarray(glorot(shape, fan_in, fan_out, self.context.random), dtype=dtype)
        self.weights = Parameter(f"{self.name}.weights", weights, xp.zeros_like(weights), decay=True)
        biases = xp.zeros(shape[0], dtype)
        self.biases = Parameter(f"{self.name}.biases", biases, xp.zeros_like(biases), decay=False)

    def buffer(self, name: str, shape: Shape, dtype: Any = None) -> Array:
        """Return the layer's own array of that name; it is allocated once, and again only for a larger batch."""
        size, buffers = prod(shape), self.buffers
        flat = buffers.get(name)
        if flat is None or flat.size < size:
            self.context.allocations += 1
            flat = buffers[name] = self.kernels.xp.empty(size, dtype or self.context.dtype)
        return flat[:size].reshape(shape)

    def new_output(self, samples: int) -> Array:
        """Return an uninitialized array for the output: the layer's own, or the one that it may overwrite."""
        owner = self
        while owner.writes_over is not None and owner.writes_over.output_shape == self.output_shape:
            owner = owner.writes_over
        return owner.buffer("output", (samples, *self.output_shape))

    def new_error(self, shape: Shape) -> Array:
        """Return an uninitialized array for an error; its memory is reused when nothing refers to it any more."""
        return self.context.error_memory.empty(shape, self.context.dtype)

    @property
    def has_filters(self) -> bool:
        """Whether it has weights of at least two axes, the outputs first; these are normalized and studied."""
        return self.weights is not None and self.weights.value.ndim > 1

    @property
    def points(self) -> dict[str, HookPoint]:
        """The three hook points of Algorithm 1 by their names."""
        return {point.point: point for point in (self.at_weights, self.at_error, self.at_grads)}

    @property
    def buffers(self) -> dict[str, Array]:
        """The layer's own arrays for the running thread, by name."""
        return self.context.buffers.of[self]

    def accept(self, what: str, array: Array, shape: Shape) -> Array:
        """Check an array of (samples, …) from outside, and return it in the net's number type and layout.

        what: a word for it, such as "data"; shape: of one sample. Raises MinidlError unless it is an array of real
        numbers with this shape and at least one sample.
        """
        try:
            array = self.kernels.array(array, self.context.dtype)
        except MinidlError as error:
            raise MinidlError(f"{self.name} ({self}) expected {what} made of numbers: {error}") from error
        if array.shape[1:] != shape or not array.shape or not len(array):
            expected = ", ".join(map(str, ("samples", *shape)))
            raise MinidlError(
                f"{self.name} ({self}) expected {what} of shape ({expected}) and got {tuple(array.shape)}"
                + ("; give it at least one sample" if array.shape[1:] == shape and array.shape else "")
            )
        return array

    def accept_error(self, error: Array) -> Array:
        """Check an error for the last forward in training, and return it as ``accept`` does.

        Raises MinidlError as ``accept`` does, and if there was no such forward or it had another number of samples.
        """
        if error is None:
            raise MinidlError(f"{self.name} ({self}) got None for an error; call the loss first, which computes it")
        error = self.accept("an error", error, self.output_shape)
        if self.samples is None:
            raise MinidlError(
                f"{self.name} ({self}) has no batch to go back through, as backward needs a forward in training before "
                "it; call train(), then forward(data)"
            )
        if len(error) != self.samples:
            raise MinidlError(
                f"{self.name} ({self}) got an error of {len(error)} samples after a forward of {self.samples}; call "
                "forward with the batch that the error belongs to"
            )
        return error

    # -- what a net calls -------------------------------------------------------------------------------------

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run comp_grads and backward; return ∂L/∂data, or None if not need_error (the net's first layer)."""
        self.comp_grads(error)
        return self.backward(error) if need_error else None

    def layers(self) -> Iterator["Layer"]:
        """Iterate over the layers that compute, in the order of the forward pass."""
        yield self

    def parts(self) -> Iterator["Layer"]:
        """Iterate over the layer and all its parts."""
        yield self

    def entrances(self) -> Iterator["Layer"]:
        """Iterate over the parts that get the layer's own data; those of a whole net pass no error back."""
        yield self

    def parameters(self) -> list[Parameter]:
        """Return what the layer learns."""
        return [p for p in (self.weights, self.biases) if p is not None]

    def own_parameters(self) -> list[Parameter]:
        """Return what the layer learns besides the layers that it is made of."""
        return self.parameters()

    def running(self) -> dict[str, Array]:
        """Return by name the arrays besides parameters that training changes and a saved net needs."""
        return {}

    def train(self) -> None:
        """Prepare for training: forward normalizes the weights and keeps its data."""
        self.training = True
        self._thaw()

    def eval(self) -> None:
        """Prepare for inference: normalize a copy of the weights once more; after that, no hook is called.

        The weights themselves do not change. The last batch is dropped, so backward needs a new forward in training.
        """
        if self.weights is not None:
            self.weights.in_use = self.normalized_copy()
        self.training, self.data, self.samples = False, None, None
        self._thaw()

    def freeze(self) -> None:
        """Keep a copy of the parameters for inference, so that algorithms transform the weights only once."""
        for parameter in self.parameters():
            if parameter is self.weights:
                parameter.in_use = self.kernels.constant(parameter.in_use)
            elif parameter.in_use is parameter.value:  # not frozen yet, or in the copy of a frozen net
                parameter.in_use = parameter.value.copy()

    def _thaw(self) -> None:
        for parameter in self.parameters():
            if parameter is not self.weights:
                parameter.in_use = parameter.value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self}>"

    def __str__(self) -> str:
        return self.kind
