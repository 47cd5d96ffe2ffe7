"""Exchange: the one place where ranks that share a batch add up their gradients, between CompGrads and the update.

Each rank has computed G_r, the gradients of its share of the loss, whose errors are divided by the number of labels in
the whole batch (see synchronized.py). So the gradients of the batch are G = Σ_r G_r, for any shares.

GC is linear, GC(Σ_r G_r) = Σ_r GC(G_r), and so is the adjoint of a reparametrization, whose weights all ranks have. So
at the hook points, before the sum, they have the same effect as inside the update, after the sum. All ranks have the
same weights before and after an update, and so the same projections, such as WC. Other hooks of gradients are refused.
"""

from collections.abc import Callable
from functools import partial
from itertools import accumulate, product
from typing import Any

from minidl.communicator import Communicator
from minidl.functions import name_of
from minidl.kernels.errors import MinidlError
from minidl.layers import BatchNorm
from minidl.net import Net

ALIGNED = 64  # elements: where each array begins in the flat one, so that devices read it by whole vectors


class Exchange:
    """Sums a net's gradients over the ranks, in one flat array; from now on, the gradients are parts of it.

    It becomes ``net.exchange``, which ``net.backpropagate`` calls at its end; make the optimizer after it. The same
    array carries the running statistics of BN: each rank replaces its own by the mean over the ranks, since inference
    needs one net. synchronized: whether these statistics are already the same on all ranks. Raises MinidlError for a
    hook of gradients that is not linear.
    """

    def __init__(self, net: Net, communicator: Communicator, synchronized: bool = False) -> None:
        check_linear(net)
        self.communicator = communicator
        norms = [] if synchronized else [layer for layer in net.layers if isinstance(layer, BatchNorm)]
        places: list[tuple[Any, Callable[[Any], None]]] = [(p.grads, p.keep_grads_in) for p in net.parameters]
        for norm, name in product(norms, ("mean", "variance")):
            places.append((getattr(norm, name), partial(setattr, norm, name)))
        ends = [0, *accumulate(-(-array.size // ALIGNED) * ALIGNED for array, _ in places)]
        self.flat = net.kernels.xp.zeros(ends[-1], net.dtype)
        self.running = self.flat[ends[len(net.parameters)] :]
        for (array, put), start in zip(places, ends, strict=False):
            part = self.flat[start : start + array.size].reshape(array.shape)
            part[...] = array
            put(part)
        net.exchange = self

    def __call__(self) -> None:
        """Sum the gradients, and take the mean of the running statistics."""
        self.running *= 1 / self.communicator.size
        self.communicator.sum(self.flat)


def check_linear(net: Net) -> None:
    """Raise MinidlError where a hook of gradients is not known to be linear: of a sum it is not the sum of its own."""
    for layer in net.layers:
        hook = layer.at_grads.hook
        if hook is not None and getattr(hook, "function", None) != "center":
            raise MinidlError(
                f"{name_of(hook)} at the gradients of {layer.name} is not known to be linear, so that it cannot be "
                "done to the share of the gradient that each rank has; train with one rank, or with GC"
            )
