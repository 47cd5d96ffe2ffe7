"""Container: the base class of all layers that are made of other layers."""

from collections.abc import Iterator

from minidl.context import Context
from minidl.fixed import read_only
from minidl.kernels.errors import MinidlError
from minidl.layer import Array, Layer, Shape
from minidl.parameter import Parameter


class Container(Layer):
    """A layer made of other layers; a subclass defines ``infer_shape``, ``forward`` and ``backpropagate``.

    Its children keep the batch. Its only hook point is ``at_error``, which ``backpropagate`` calls last. If it
    ``computes`` something itself, it has a name and is one of the net's layers. A subclass that
    gives its data to other children than the first also defines ``entrances``.
    """

    computes = False
    children: tuple[Layer, ...] = read_only("keeps its layers; make another one, and a net of it", "_children")

    def __init__(self, *children: Layer) -> None:
        super().__init__()
        if not children or not all(isinstance(child, Layer) for child in children):
            given = ", ".join(type(child).__name__ for child in children) or "nothing"
            raise MinidlError(
                f"{type(self).__name__} is made of layers, and not of {given}; give it at least one, and for a list of "
                "them Sequential(*layers)"
            )
        self._children = children
        for point in (self.at_weights, self.at_grads):
            point.refusal = f"a {self.kind} layer has no weights of its own; hang the hook at one of its layers"

    def attach(self, context: Context) -> None:
        """Name the children in the order of the forward pass, and then the container if it computes."""
        self.context = context  # so that a layer used twice is found among its children
        self.kernels = context.kernels_of(self)
        for child in self.children:
            child.attach(context)
        if self.computes:
            self.name = context.name(self.kind)

    def forward(self, data: Array) -> Array:
        """Run the data through the children."""
        raise self.lacks("forward")

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run the error back through the children; each computes its gradients on the way."""
        raise self.lacks("backpropagate")

    def lacks(self, function: str) -> MinidlError:
        """Return the MinidlError for a container that does not define this function."""
        return MinidlError(
            f"{self.name} ({self}) has no {function}; a container needs infer_shape, forward and backpropagate"
        )

    def layers(self) -> Iterator[Layer]:
        """Iterate over the layers of all children, and then the container itself if it computes."""
        for child in self.children:
            yield from child.layers()
        if self.computes:
            yield self

    def parts(self) -> Iterator[Layer]:
        """Iterate over the container and all its parts."""
        yield self
        for child in self.children:
            yield from child.parts()

    def entrances(self) -> Iterator[Layer]:
        """Iterate over the container and the first of its children, to which it gives its data."""
        yield self
        yield from self.children[0].entrances()

    def extend(self, error: Array, shape: Shape) -> Array:
        """Return an error with other extents for each sample: cut if they are smaller, padded with zeros if larger."""
        if error.shape[1:] == shape:
            return error
        out = self.new_error((len(error), *shape))
        self.kernels.extents.copy(error, out)
        return out

    def parameters(self) -> list[Parameter]:
        """Return the parameters of all children."""
        return [parameter for child in self.children for parameter in child.parameters()]

    def own_parameters(self) -> list[Parameter]:
        """Return nothing: all parameters are those of the children."""
        return []

    def train(self) -> None:
        """Prepare all children for training."""
        for child in self.children:
            child.train()

    def eval(self) -> None:
        """Prepare all children for inference."""
        for child in self.children:
            child.eval()

    def freeze(self) -> None:
        """Freeze all children: inference uses the weights of now."""
        for child in self.children:
            child.freeze()
