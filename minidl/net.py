"""Net: layers that were set up for one shape of data on one device."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from math import prod
from operator import index
from threading import get_ident
from typing import Any

import numpy as np

from minidl import method as methods
from minidl.context import Context, NotSaved, check_saved
from minidl.fuse import fuse, unfuse
from minidl.kernels import Kernels, load
from minidl.kernels.arguments import check_kind, number_type, whole
from minidl.kernels.arrays import numbers
from minidl.kernels.errors import MinidlError
from minidl.layer import Array, Layer, Shape
from minidl.layers import Container
from minidl.parameter import Parameter
from minidl.predict import outputs_of
from minidl.preprocessing import Preprocessing
from minidl.replay import Replay, is_small

REPLAYS = 8  # the most shapes of small batches that are recorded


class Net:
    """A net: a root layer, set up for data of ``shape`` (of one sample: y, x, channels).

    kernels: the operations of a device, or its name; method: a text as in the paper's tables, such as "WC, GC, fully";
    mode: "projection" or "reparametrization"; place: where WC and GC are done, at the hook points of the layers
    ("hooks"), or inside the update of any Optimizer that is given the net's parameters ("optimizer"). The training is
    the same. saved: the shapes of the parameters that will be loaded into it, by their names; a net that needs others
    is refused before it takes memory for them.

    Threads take turns: a net that is in use makes others wait. Inference may be asked for by any of them; a training
    step, forward and backpropagate, belongs to one. Numbers that are too small for their type become 0, in a loss and
    an optimizer, too, whatever ``np.seterr`` would make of that.
    """

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
            self.shape: Shape = tuple(map(index, shape))
        except TypeError:
            self.shape = ()
        if not self.shape or min(self.shape) < 1:
            raise MinidlError(
                f"a net needs the shape of one sample, such as (32, 32, 3) for (y, x, channels), not {shape}"
            )
        check_kind("root of Net", root, Layer, "make one layer of them all, such as Sequential(*layers)")
        check_kind("name of Net", name, str, "give a text, or leave it out")
        kernels, seed = load(kernels), whole("seed of Net", seed, 0)
        self.root, self.kernels, self.name, self.mode = root, kernels, name, mode
        self.method = methods.parse(method)
        self.dtype = number_type(dtype)
        self.training, self.trained_by = True, 0  # by which thread
        self.frozen: object = None  # a new object at each freeze, None while the net is not frozen
        self.fused = False
        self.folded: list[str] = []  # the names of BN that are parts of the layers before them, see fold.py
        self.exchange: Callable[[], None] = _alone  # what brings gradients together where ranks share a batch
        self.preprocessing: Preprocessing | None = None  # how images become its data, where that is known
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
        """Raise MinidlError where two layers have one parameter: each writes its gradients, and none adds to them."""
        parameters = self.parameters
        if len(set(map(id, parameters))) < len(parameters):
            twice = next(p for i, p in enumerate(parameters) if any(p is other for other in parameters[:i]))
            own = [layer for layer in self.layers if not isinstance(layer, Container)]
            names = [layer.name for layer in own for p in layer.parameters() if p is twice]
            raise MinidlError(
                f"{' and '.join(names)} have the same parameter {twice.name}, whose gradients would be those of one of "
                "them alone; give each layer a parameter of its own"
            )

    def _close_first_errors(self) -> None:
        """Raise MinidlError for a hook at an error that is never computed, now and whenever one is hung there."""
        for part in self.root.entrances():
            part.at_error.refusal = (
                f"{part.name} ({part}) gets the net's own data and passes no error back, so that a hook there would "
                "never be called; hang it at a later layer"
            )
            part.at_error.hook = part.at_error.hook

    def _check_names(self) -> None:
        """Raise MinidlError where two arrays that a saved net has would have the same name."""
        owners: dict[str, str] = {}
        for layer in self.layers:
            own = [] if isinstance(layer, Container) else [p.name for p in layer.parameters()]
            for name in (*own, *layer.running()):
                if name in owners:
                    raise MinidlError(
                        f"{owners[name]} and {layer.name} both have a parameter called {name!r}, which a saved net "
                        'could not tell apart; begin its name with that of its layer, f"{self.name}.…"'
                    )
                owners[name] = layer.name

    def __deepcopy__(self, memo: Any) -> "Net":
        """Return a net with parameters and memory of its own, and as frozen as this one."""
        twin = memo[id(self)] = object.__new__(type(self))
        twin.__dict__.update(deepcopy(self.__dict__, memo))
        if twin.frozen is not None:
            twin.freeze()
        return twin

    @np.errstate(under="ignore")
    def forward(self, data: Array) -> Array:
        """Return the net's output (samples, …) for data (samples, …), real numbers of any type.

        The output is the net's own memory and holds until the same thread's next call; ``predict`` returns a new array.
        Raises MinidlError for what is no array of numbers or has another shape.
        """
        with self.context.in_use:
            if self.training:
                self.trained_by = get_ident()
                self._fuse_unobserved()
            self.context.buffers.output = output = self._forward(data)
            return output

    def _fuse_unobserved(self) -> None:
        """Let the layers compute alone while somebody looks at an output, which would have gone through a ReLU."""
        observed = any(point.before or point.after for point in self.output_points)
        if observed == self.fused:
            (self.unfuse if observed else self.fuse)()

    def _forward(self, data: Array) -> Array:
        """Run the data through the layers, or replay the recorded pass, for a small batch through a frozen net."""
        xp, last = self.kernels.xp, self.context.buffers.output
        if isinstance(data, xp.ndarray) and last is not None and xp.may_share_memory(data, last):
            data = data.copy()  # the output of the last forward, over which this one writes
        known = isinstance(data, xp.ndarray) and data.dtype == self.dtype and is_small(data.shape)
        if self.frozen is None or not known:
            return self.root.forward(data)
        replays = self.context.buffers.replays
        if data.shape not in replays:  # recorded from the second time on: it may not come again
            output = self.root.forward(data)  # refuses data that do not fit
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

        data: floats as the net was trained on, or pictures where the net knows how to prepare them, which it does when
        it comes from a checkpoint: uint8 images, as an array or as a list of PIL images and arrays, of any sizes; one
        alone counts as a list of one. A net that labels the pixels of images of any size returns a list of arrays for
        pictures of different sizes. batch_size: how many samples go through the net at a time. A net in training goes
        on training afterwards, with a new forward. Raises MinidlError as ``forward`` does, for integers that are no
        uint8, for what is no picture, and for pictures where it is not known how to prepare them.
        """
        return outputs_of(self, data, batch_size)

    def infer(self, batches: Iterable[Array]) -> list[Array]:
        """Return the outputs for batches at inference, as NumPy arrays; a net in training goes on training."""
        with self.context.in_use:
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
        """The names of the net's outputs, where they are known, which they are when it comes from a checkpoint."""
        return self.preprocessing.classes if self.preprocessing else ()

    @np.errstate(under="ignore")
    def backpropagate(self, error: Array) -> None:
        """Compute every parameter's gradients from ∂L/∂output, for the same thread's last forward.

        Where ranks share the batch, each has those of the whole batch then; see exchange.py. Raises MinidlError where
        layers have been given one parameter together.
        """
        with self.context.in_use:
            self._check_shared()
            if self.training and self.trained_by not in (0, get_ident()):
                raise MinidlError(
                    "backpropagate follows a forward pass of another thread, whose data it would take; let one thread "
                    "make both, or give each thread a net of its own (copy.deepcopy)"
                )
            self.root.backpropagate(error, need_error=False)
            self.exchange()

    def check_batches(self, sizes: Iterable[int]) -> None:
        """Raise MinidlError where batches of such sizes would leave a normalization of errors a single element."""
        methods.check_areas(self.root, min(sizes))

    def fuse(self) -> None:
        """Let neighbouring layers share a pass over memory, see fuse.py; the last batch is forgotten."""
        fuse(self.root)
        self.fused = True

    def unfuse(self) -> None:
        """Let every layer compute alone, as who looks on wants to see it; the last batch is forgotten."""
        unfuse(self.root)
        self.fused = False

    def train(self) -> None:
        """Prepare for training."""
        with self.context.in_use:
            self.training = True
            self._thaw()
            self.root.train()

    @np.errstate(under="ignore")
    def eval(self) -> None:
        """Prepare for inference: copies of the weights are normalized once more, and then no hook is called again.

        After a change of parameters, call it again: until then, weights with a hook keep their old values, and all
        others have their new ones.
        """
        with self.context.in_use:
            with self._all_or_none():
                self.root.eval()
            self.training = False
            self._thaw()

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Let all layers be as they were where something is done to each of them and fails, as a hook may."""
        before = [(one, vars(one).copy()) for one in (*self.root.parts(), *self.parameters)]
        try:
            yield
        except BaseException:
            for one, attributes in before:
                vars(one).update(attributes)
            raise

    def _thaw(self) -> None:
        """Forget what was made of weights that may change now."""
        self.frozen = None
        self.context.buffers.replays.clear()

    @np.errstate(under="ignore")
    def freeze(self) -> None:
        """Prepare for inference with weights that do not change any more: what can be made of them once, is.

        Parameters may change afterwards, but are not looked at before the next ``eval`` or ``train``, which end it. On
        a CPU it takes several times the memory of the weights.
        """
        with self.context.in_use:
            with self._all_or_none():
                if self.training:
                    self.root.eval()
                self.root.freeze()
            self.training = False
            self._thaw()
            self.frozen = object()

    @property
    def layers(self) -> list[Layer]:
        """The layers that compute, in the order of the forward pass."""
        return list(self.root.layers())

    @property
    def observed(self) -> bool:
        """Whether an observer hangs at any hook point."""
        return any(point.before or point.after for point in self.hook_points)

    @property
    def version(self) -> int:
        """A number that grows when buffers or hooks change, which a step that was recorded earlier does not know."""
        return self.context.allocations + sum(point.changes for point in self.hook_points)

    @property
    def parameters(self) -> list[Parameter]:
        """What the net learns."""
        return self.root.parameters()

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

        What training is at stays as it is: the normalization is done to a copy.
        """
        arrays = {p.name: p.in_use for p in self.parameters}
        for layer in self.layers:
            if layer.weights is not None and layer.training:
                arrays[layer.weights.name] = layer.normalized_copy()
        return arrays

    def running(self) -> dict[str, Array]:
        """Return by name what training leaves behind besides parameters: the running statistics of BN."""
        return {name: array for layer in self.layers for name, array in layer.running().items()}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Copy arrays into the parameters and running statistics by their names.

        WC inside the optimizer's update comes with the next update. Raises MinidlError where a name is missing or
        unknown, a shape differs, or an array is not one of real numbers, before anything is copied.
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
            own = [] if isinstance(layer, Container) else layer.parameters()
            count = sum(p.value.size for p in own)
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
