"""Net: layers that are set up for one shape of data on one device."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from math import prod
from operator import index
from threading import get_ident
from typing import Any, NoReturn

import numpy as np

from minidl import method as methods
from minidl.context import Context, NotSaved, check_saved
from minidl.fixed import Spelt, fixed, read_only
from minidl.fuse import fuse, unfuse
from minidl.kernels import Kernels, load
from minidl.kernels.arguments import check_kind, number_type, whole
from minidl.kernels.arrays import numbers
from minidl.kernels.errors import MinidlError
from minidl.layer import Array, Layer, Shape
from minidl.parameter import Parameter, repeated
from minidl.predict import outputs_of
from minidl.preprocessing import Preprocessing
from minidl.replay import Replay, is_small

REPLAYS = 8  # at most so many shapes of small batches are recorded
BUILT = "is fixed when it is built; build another one, as in Net(..., {name}=…), and copy the weights by its load"


class Net(Spelt):
    """A net: a root layer, set up for data of ``shape`` (of one sample: y, x, channels).

    kernels: the operations of a device, or its name; method: a text as in the paper's tables, such as "WC, GC, fully";
    mode: "projection" or "reparametrization"; place: where WC and GC are applied, at the hook points of the layers
    ("hooks"), or inside the update of any Optimizer that gets the net's parameters ("optimizer"). The training is
    the same. saved: the shapes of the parameters that will be loaded into the net, by name; a net that needs others
    is refused before memory is allocated for them.

    Only one thread uses a net at a time; the others wait. Any thread may run inference, but the forward and the
    backpropagate of a training step must run in the same thread. Numbers that are too small for their type become 0,
    also in a loss and an optimizer, whatever ``np.seterr`` says.
    """

    made_with = "output_points"
    root: Layer = fixed(BUILT)
    shape: Shape = fixed(BUILT)
    kernels: Kernels = fixed(BUILT)
    name: str = fixed(BUILT)
    method: methods.Method = fixed(BUILT)
    mode: str = fixed(BUILT)
    place: str = fixed(BUILT)
    dtype: np.dtype[Any] = fixed(BUILT)
    output_shape: Shape = fixed(BUILT)
    training: bool = read_only("is prepared for training by train(), for inference by eval(); call these", "_training")
    hook = hooks = read_only("has its hooks at its layers; set one there, as in net.layers[1].at_grads.hook = {value}")

    def __init__(
        self,
        root: Layer,
        shape: Shape,
        kernels: Kernels | str,
        *,
        name: str = "",
        method: str = "Baseline",
        mode: str = "projection",
        place: str = "hooks",
        dtype: Any = np.float32,
        seed: int = 0,
        saved: Mapping[str, Shape] | None = None,
    ) -> None:
        try:
            sizes = tuple(map(index, shape))
        except TypeError:
            sizes = ()
        if not sizes or min(sizes) < 1:
            raise MinidlError(
                f"a net needs the shape of one sample, such as (32, 32, 3) for (y, x, channels), not {shape}"
            )
        check_kind("root of Net", root, Layer, "make one layer of them all, such as Sequential(*layers)")
        check_kind("name of Net", name, str, "give a text, or leave it out")
        kernels, seed = load(kernels), whole("seed of Net", seed, 0)
        self.root, self.kernels, self.name, self.mode, self.place = root, kernels, name, mode, place
        self.shape = sizes
        self.method = methods.parse(method)
        self.dtype = number_type(dtype)
        self._training, self._trained_by = True, 0  # by which thread
        self.frozen: object = None  # a new object at each freeze, None while the net is not frozen
        self.fused = False
        self.folded: list[str] = []  # names of the BN that are folded into the layer before, see fold.py
        self.exchange: Callable[[], None] = _alone  # sums gradients over the ranks that share a batch
        self.preprocessing: Preprocessing | None = None  # how images become its data, if known
        used = next((layer for layer in root.layers() if layer.context is not None), None)
        if used is not None:
            raise MinidlError(f"{used.name} ({used}) was set up for a net already; make new layers for another one")
        try:
            self.context = Context(kernels, self.dtype, np.random.default_rng([seed, 0]), saved=saved)
            self.output_shape = root.setup(self.shape, self.context)
        except NotSaved:
            raise
        except MinidlError as error:
            extents = "×".join(map(str, self.shape[:-1]))
            what = (
                f"images of {extents} pixels" if len(self.shape) == 3 else f"data of shape {self.shape} for one sample"
            )
            raise MinidlError(f"{' '.join(['the net', *name.split()])} cannot take {what}: {error}") from error
        self._check_shared()
        self._check_names()
        self.fuse()
        methods.attach(self.method, root, mode, kernels, place)
        self._close_first_errors()
        self.hook_points = [point for layer in self.layers for point in (*layer.points.values(), layer.at_output)]
        self.output_points = [layer.at_output for layer in self.layers]

    def _check_shared(self) -> None:
        """Raise MinidlError if layers share a parameter: each overwrites its gradients instead of adding to them."""
        if twice := repeated(self.parameters):
            names = [layer.name for layer in self.layers for p in layer.own_parameters() if p is twice]
            raise MinidlError(
                f"{' and '.join(names)} have the same parameter {twice.name}, whose gradients would be those of one of "
                "them alone; give each layer a parameter of its own"
            )

    def _close_first_errors(self) -> None:
        """Raise MinidlError for a hook at an error that is never computed, now and whenever one is set there."""
        for part in self.root.entrances():
            part.at_error.refusal = (
                f"{part.name} ({part}) gets the net's own data and passes no error back, so that a hook there would "
                "never be called; hang it at a later layer"
            )
            part.at_error.hook = part.at_error.hook

    def _check_names(self) -> None:
        """Raise MinidlError if two arrays of a saved net would have the same name."""
        owners: dict[str, str] = {}
        for layer in self.layers:
            for name in (*(p.name for p in layer.own_parameters()), *layer.running()):
                if name in owners:
                    raise MinidlError(
                        f"{owners[name]} and {layer.name} both have a parameter called {name!r}, which a saved net "
                        'could not tell apart; begin its name with that of its layer, f"{self.name}.…"'
                    )
                owners[name] = layer.name

    def __copy__(self) -> NoReturn:
        raise MinidlError(
            "a shallow copy of a net would have the same layers, and each would disturb the other; use copy.deepcopy"
        )

    def __deepcopy__(self, memo: Any) -> "Net":
        """Return a net with its own parameters and memory; it is frozen if this one is."""
        twin = memo[id(self)] = object.__new__(type(self))
        twin.__dict__.update(deepcopy(self.__dict__, memo))
        if twin.frozen is not None:
            twin.freeze()
        return twin

    @np.errstate(under="ignore")
    def forward(self, data: Array) -> Array:
        """Return the net's output (samples, …) for data (samples, …), real numbers of any type.

        The output is the net's own memory and holds until the same thread's next call; ``predict`` returns a new array.
        Images of 0 … 255 are numbers to it: only ``predict`` prepares them. In training the net reads the data again in
        ``backpropagate``, so leave them as they are until then. Raises MinidlError for anything but an array of numbers
        of the right shape.
        """
        with self.context.lock:
            if self.training:
                self._trained_by = get_ident()
                self._fuse_unobserved()
            self.context.buffers.output = output = self._forward(data)
            return output

    def _fuse_unobserved(self) -> None:
        """Unfuse while an observer is at an output: fused, that output would already have gone through a ReLU."""
        observed = any(point.before or point.after for point in self.output_points)
        if observed == self.fused:
            (self.unfuse if observed else self.fuse)()

    def _forward(self, data: Array) -> Array:
        """Run the data through the layers, or replay the recorded pass, for a small batch through a frozen net."""
        xp, last = self.kernels.xp, self.context.buffers.output
        if isinstance(data, xp.ndarray) and last is not None and xp.may_share_memory(data, last):
            data = data.copy()  # the output of the last forward, which this one overwrites
        known = isinstance(data, xp.ndarray) and data.dtype == self.dtype and is_small(data.shape)
        if self.frozen is None or not known:
            return self.root.forward(data)
        replays = self.context.buffers.replays
        if data.shape not in replays:  # recorded the second time: a shape may come only once
            output = self.root.forward(data)  # raises an error for data that do not fit
            if len(replays) >= REPLAYS:
                replays.clear()
            replays[data.shape] = None
            return output
        replay = replays[data.shape]
        if replay is None or not replay.holds(self.frozen):
            replay = replays[data.shape] = Replay(self.root, data.shape, self.frozen)
        return replay(data)

    @np.errstate(under="ignore")
    def predict(self, data: Any, batch_size: int | None = None) -> Any:
        """Return the net's output for any number of samples at inference, as a new NumPy array.

        data: floats as in training, or pictures if the net comes from a checkpoint and so knows how to prepare them:
        uint8 images, as an array or as a list of PIL images and arrays, of any sizes; a single picture is a list of
        one. A net that labels the pixels of images of any size returns a list of arrays for pictures of different
        sizes. batch_size: how many samples go through the net at a time. A net in training stays in training, but needs
        a new forward. Raises MinidlError as ``forward`` does, for integers other than uint8, for anything that is no
        picture, and for pictures if the net does not know how to prepare them.
        """
        return outputs_of(self, data, batch_size)

    def infer(self, batches: Iterable[Array]) -> list[Array]:
        """Return the outputs for batches at inference, as NumPy arrays; a net in training stays in training."""
        with self.context.lock:
            training = self.training
            if training:
                self.eval()
            try:
                return [self.kernels.host(self._forward(batch)).copy() for batch in batches]
            finally:
                if training:
                    self.train()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the net's outputs if it comes from a checkpoint; else ()."""
        return self.preprocessing.classes if self.preprocessing else ()

    @np.errstate(under="ignore")
    def backpropagate(self, error: Array) -> None:
        """Compute every parameter's gradients from ∂L/∂output, for the same thread's last forward.

        If ranks share the batch, each rank gets the gradients of the whole batch; see exchange.py.
        """
        with self.context.lock:
            if self.training and self._trained_by not in (0, get_ident()):
                raise MinidlError(
                    "backpropagate follows a forward pass of another thread, whose data it would use; let one thread "
                    "run both, or give each thread its own net (copy.deepcopy)"
                )
            self.root.backpropagate(error, need_error=False)
            self.exchange()

    def check_batches(self, sizes: Iterable[int]) -> None:
        """Raise MinidlError if, with batches of these sizes, a normalization of errors has only one element."""
        methods.check_areas(self.root, min(sizes))

    def fuse(self) -> None:
        """Let neighbouring layers share a pass over memory, see fuse.py."""
        fuse(self.root)
        self.fused = True

    def unfuse(self) -> None:
        """Let every layer compute alone, as observers need it."""
        unfuse(self.root)
        self.fused = False

    def train(self) -> None:
        """Prepare for training."""
        with self.context.lock:
            self._training = True
            self._thaw()
            self.root.train()

    @np.errstate(under="ignore")
    def eval(self) -> None:
        """Prepare for inference: normalize copies of the weights once more; after that, no hook is called.

        Call it again after a change of parameters: until then, inference uses the old values of weights with a hook,
        and the new values of all other parameters.
        """
        with self.context.lock:
            with self._all_or_none():
                self.root.eval()
            self._training = False
            self._thaw()

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Restore all layers if the body of the with statement raises an error, as a hook may."""
        before = [(vars(part), vars(part).copy()) for part in self.root.parts()]
        in_use = [(parameter, parameter.in_use) for parameter in self.parameters]
        try:
            yield
        except BaseException:
            for attributes, earlier in before:
                attributes.update(earlier)
            for parameter, array in in_use:
                parameter.in_use = array
            raise

    def _thaw(self) -> None:
        """Forget what was computed from the weights, as they may change now."""
        self.frozen = None
        self.context.buffers.replays.clear()

    @np.errstate(under="ignore")
    def freeze(self) -> None:
        """Prepare for inference with weights that do not change: compute once what depends on the weights only.

        Later changes of parameters have no effect until ``eval`` or ``train``, which end this state. On a CPU, it takes
        several times the memory of the weights.
        """
        with self.context.lock:
            with self._all_or_none():
                if self.training:
                    self.root.eval()
                self.root.freeze()
            self._training = False
            self._thaw()
            self.frozen = object()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that compute, in the order of the forward pass."""
        return tuple(self.root.layers())

    @property
    def observed(self) -> bool:
        """Whether there is an observer at any hook point."""
        return any(point.before or point.after for point in self.hook_points)

    @property
    def version(self) -> int:
        """A number that grows when buffers or hooks change; a step recorded before is then out of date."""
        return self.context.allocations + sum(point.changes for point in self.hook_points)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the net."""
        return tuple(self.root.parameters())

    @property
    def parameter_count(self) -> int:
        """How many numbers the net learns."""
        return sum(p.value.size for p in self.parameters)

    def normalized_weights(self) -> list[Parameter]:
        """Return the weights that the method normalizes, or would if it were not "Baseline"."""
        layers = methods.normalized_layers(self.root, self.method.fully)
        return [layer.weights for layer in layers]

    @np.errstate(under="ignore")
    def effective_weights(self) -> dict[str, Array]:
        """Return every parameter by its name as inference uses it: the weights after their normalization.

        This does not change the training: a copy is normalized.
        """
        arrays = {p.name: p.in_use for p in self.parameters}
        for layer in self.layers:
            if layer.weights is not None and layer.training:
                arrays[layer.weights.name] = layer.normalized_copy()
        return arrays

    def running(self) -> dict[str, Array]:
        """Return by name the arrays besides parameters that training changes: the running statistics of BN."""
        return {name: array for layer in self.layers for name, array in layer.running().items()}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Copy arrays into the parameters and running statistics by their names.

        WC inside the optimizer's update is applied in the next update. Raises MinidlError, before anything is copied,
        if a name is missing or unknown, a shape differs, or an array is not of real numbers.
        """
        targets = {p.name: p.value for p in self.parameters} | self.running()
        check_kind("what Net.load takes", arrays, Mapping, "give arrays by name, as net.effective_weights() does")
        arrays = {name: array if hasattr(array, "shape") else numbers(array) for name, array in arrays.items()}
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        for name, target in targets.items():
            check_saved(shapes, name, target.shape)
        if unknown := [name for name in arrays if name not in targets]:
            raise MinidlError(
                f"the saved net has {unknown[0]}, which this net lacks; it belongs to another model or method"
            )
        ready = {name: self.kernels.array(arrays[name], target.dtype).copy() for name, target in targets.items()}
        for name, target in targets.items():
            target[...] = ready[name]
        if not self.training:
            self.eval()

    def __repr__(self) -> str:
        title = f"Net ({self.name})" if self.name else "Net"
        return f"<{title}: {self.method}; {self.parameter_count:,} parameters on the {self.kernels.device}>"

    def __str__(self) -> str:
        rows = [("layer", "", "output", "parameters", "hooks")]
        for layer in self.layers:
            count = sum(p.value.size for p in layer.own_parameters())
            hooks = ", ".join(filter(None, map(str, layer.points.values())))
            extents = "×".join(map(str, layer.output_shape))
            rows.append((layer.name, str(layer), extents, f"{count:,}" if count else "", hooks))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}"
            for row in rows
        ]
        title = f"net ({self.name})" if self.name else "net"
        head = f"{title}: {self.method}; {self.mode}; {self.dtype} on the {self.kernels.device}"
        total = f"{self.parameter_count:,} parameters, {prod(self.shape):,} inputs for each sample"
        return "\n".join([head, *(line.rstrip() for line in lines), total])


def _alone() -> None:
    """Do nothing: no other rank has a share of the batch."""
