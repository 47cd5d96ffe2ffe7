"""Memory that layers share: nothing is overwritten while it is needed.

Each net is trained twice: once as it is, with all memory set to nan that should not be needed any more, and once with
separate memory for every array. Both must agree to the last bit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl import kernels
from minidl.context import Context
from minidl.kernels.cpu import scratch
from minidl.kernels.cpu.memory_pool import MemoryPool, Piece
from minidl.layer import Array, Layer, Shape
from minidl.layers import (
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    ReLU,
    Residual,
    Resize,
    Sequential,
    TransposedConvolution,
)
from minidl.method import parse
from minidl.models import a, b, d
from minidl.net import Net


class Poisoned(MemoryPool):
    """A pool that sets free memory to nan, and all scratch memory whenever a layer begins to compute an error."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        for buffer in scratch.buffers().values():
            buffer[...] = 0xFF
        array = super().empty(shape, dtype)
        array[...] = np.nan
        return array

    def give_back(self, piece: Piece) -> None:
        self._blocks[piece.block][piece.start : piece.stop] = 0xFF
        super().give_back(piece)


class Fresh(MemoryPool):
    """A pool that never reuses memory."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.full(shape, np.nan, dtype)


class Softplus(Layer):
    """A user-defined layer that does not know about shared memory: it reads its output again, and keeps the error."""

    kind = "softplus"

    def infer_shape(self, shape: Shape) -> Shape:
        return shape

    def compute_output(self, data: Array) -> Array:
        self.output = np.log1p(np.exp(data)) - 1
        return self.output

    def compute_error(self, error: Array) -> Array:
        self.kept = error
        return error * (1 - np.exp(-1 - self.output))


def before_activation(filters: int) -> Residual:
    """A block that begins with a ReLU, which must not overwrite its data, because the shortcut needs them as well."""
    return Residual(Sequential(ReLU(), Convolution(filters, 3), BatchNorm(), ReLU(), Convolution(filters, 3)))


NETS: dict[str, Callable[[], Layer]] = {
    "a ReLU first, twice, and behind a view": lambda: Sequential(
        ReLU(),
        Convolution(4, 3),
        ReLU(),
        ReLU(),
        Convolution(4, 3),
        Residual(Sequential(Flatten(), ReLU(), FullyConnected(5)), Flatten()),
        FullyConnected(5),
    ),
    "blocks": lambda: Sequential(
        Convolution(4, 3),
        before_activation(4),
        before_activation(6),
        Residual(Sequential(Convolution(6, 3), ReLU())),
        ReLU(),
    ),
    "bodies that do nothing": lambda: Sequential(
        Convolution(4, 3),
        Residual(Resize((9, 8))),
        BatchNorm(),
        Concat(Sequential(Resize((9, 8)), ReLU())),
        BatchNorm(),
    ),
    "both branches shrink": lambda: Sequential(
        Convolution(4, 3),
        BatchNorm(),
        ReLU(),
        Residual(Sequential(Convolution(8, 3, stride=2), BatchNorm()), AveragePool(2, 2)),
        ReLU(),
        Residual(TransposedConvolution(4, 3, stride=2), TransposedConvolution(8, 2, stride=2)),
        ReLU(),
    ),
    "U connections": lambda: Sequential(
        Convolution(4, 3),
        Concat(Sequential(AveragePool(2, 2), Concat(Sequential(Convolution(3, 3), ReLU())), Convolution(4, 3))),
        ReLU(),
        Residual(Sequential(Concat(Convolution(2, 3)), ReLU())),
    ),
    "layers of one's own": lambda: Sequential(
        Convolution(4, 3), Softplus(), ReLU(), Residual(Softplus()), Residual(Sequential(Softplus(), ReLU())), ReLU()
    ),
}


def train(net: Net, random: np.random.Generator) -> dict[str, Array]:
    """Return all results of two passes, the second of a smaller batch; errors as observers and the caller see them."""
    results: dict[str, Array] = {}
    for batch, samples in enumerate((4, 3)):
        data = random.standard_normal((samples, *net.shape)).astype(net.dtype)
        original = data.copy()
        for layer in net.layers:
            layer.at_error.after[:] = [recorder(results, f"error of {layer.name} {batch}")]
        output = net.forward(data)
        results[f"output {batch}"] = output.copy()
        error = random.standard_normal(output.shape).astype(net.dtype)
        mine = error.copy()
        back = net.root.backpropagate(error)
        kept = back.copy()
        results |= {f"{p.name} {batch}": p.grads.copy() for p in net.parameters}
        again = net.root.backpropagate(error)
        np.testing.assert_array_equal(back, kept)
        np.testing.assert_array_equal(again, kept)
        np.testing.assert_array_equal(data, original)
        np.testing.assert_array_equal(error, mine)
        results[f"back {batch}"] = kept
    return results


def recorder(results: dict[str, Array], name: str) -> Callable[[Array], None]:
    """Return an observer that copies what it sees."""
    return lambda array: results.update({name: array.copy()})


def separate(layer: Layer) -> None:
    """Let every layer return copies of its outputs, which nothing else refers to."""
    forward = layer.forward
    layer.forward = lambda data: forward(data).copy()  # type: ignore[method-assign]
    for child in getattr(layer, "children", ()):
        separate(child)


def compare(build: Callable[[], Net]) -> None:
    shared, alone = build(), build()
    shared.layers[0].context.error_memory, alone.layers[0].context.error_memory = Poisoned(), Fresh()
    separate(alone.root)
    results, expected = (train(net, np.random.default_rng(1)) for net in (shared, alone))
    assert results.keys() == expected.keys()
    for name, wanted in expected.items():
        assert np.isfinite(wanted).all(), name
        np.testing.assert_array_equal(results[name], wanted, err_msg=name)


@pytest.mark.parametrize("name", NETS)
def test_nothing_is_overwritten_too_soon(name: str) -> None:
    compare(lambda: Net(NETS[name](), (9, 8, 4), kernels.load("cpu")))


@pytest.mark.parametrize(
    "layers, size",
    [
        (lambda method: a.net(10, method, hidden=20), 16),
        (lambda method: b.net(10, method, filters=(8, 12, 16, 20), blocks=(2, 1, 1, 1)), 32),
        pytest.param(lambda method: d.net(10, method, (2, 3, 4, 5), 0), 67, marks=pytest.mark.thorough),
    ],
    ids=["a", "b", "d"],
)
def test_in_the_papers_nets_nothing_is_overwritten_too_soon(layers: Any, size: int) -> None:
    method = "WC, GC, BN, EL"
    compare(lambda: Net(layers(parse(method)), (size, size, 3), kernels.load("cpu"), method=method))


def test_layers_in_a_row_share_their_outputs() -> None:
    net = Net(
        Sequential(
            Convolution(4, 3), BatchNorm(), ReLU(), Residual(Sequential(Convolution(4, 3), BatchNorm())), ReLU()
        ),
        (9, 8, 4),
        kernels.load("cpu"),
    )
    output = net.forward(np.ones((2, 9, 8, 4), np.float32))
    layers = {layer.name: layer for layer in net.layers}
    assert not layers["relu1"].buffers
    assert not layers["add1"].buffers
    assert np.shares_memory(output, layers["bn2"].buffers["output"])


def test_a_layer_that_reads_its_output_again_keeps_it() -> None:
    net = Net(Sequential(Softplus(), ReLU(), Convolution(2, 1)), (3, 3, 2), kernels.load("cpu"))
    net.forward(np.ones((2, 3, 3, 2), np.float32))
    softplus, relu, _ = net.layers
    assert not np.shares_memory(softplus.output, relu.output)  # type: ignore[attr-defined]


class TestPool:
    def test_memory_serves_again_when_the_last_view_is_gone(self) -> None:
        pool = Poisoned()
        array = pool.empty((4, 25), np.float32)
        array[...] = 1
        address, view = array.ctypes.data, array.reshape(-1)[3:].reshape(97, 1)
        del array
        other = pool.empty((100,), np.float32)
        assert not np.shares_memory(view, other)
        assert (view == 1).all()
        del view
        assert pool.empty((100,), np.float32).ctypes.data == address
        assert address % scratch.ALIGNMENT == 0

    def test_pieces_are_split_and_merged_again(self) -> None:
        pool = MemoryPool()
        whole = pool.empty((1000,), np.float64)
        start, end = whole.ctypes.data, whole.ctypes.data + whole.nbytes
        del whole
        parts = [pool.empty((250,), np.float64) for _ in range(3)]
        assert all(start <= part.ctypes.data and part.ctypes.data + part.nbytes <= end for part in parts)
        assert not any(np.shares_memory(parts[i], parts[j]) for i in range(3) for j in range(i))
        del parts[1], parts[0], parts[0]
        assert pool.empty((1000,), np.float64).ctypes.data == start

    def test_a_steady_use_takes_no_more_memory(self) -> None:
        pool, random = MemoryPool(), np.random.default_rng(0)
        sizes = random.integers(1, 1000, 50)
        blocks = []
        for _ in range(20):
            held: list[Array] = []
            for size in sizes:
                held.append(pool.empty((size,), np.float32))
                del held[:-3]
            del held
            blocks.append(len(pool._blocks))
        assert blocks[-1] == blocks[1] <= 12

    def test_empty_arrays(self) -> None:
        pool = MemoryPool()
        assert pool.empty((0, 3), np.float32).shape == (0, 3)


def test_errors_of_a_net_lie_in_little_memory() -> None:
    """Twenty layers of equal size need memory for only a few errors."""
    layers = [layer for _ in range(20) for layer in (Convolution(4, 3), ReLU())]
    context = Context(kernels.load("cpu"), np.float32, np.random.default_rng(0))
    root = Sequential(*layers)
    root.setup((8, 8, 4), context)
    root.backpropagate(np.ones_like(root.forward(np.ones((2, 8, 8, 4), np.float32))))
    assert sum(len(block) for block in context.error_memory._blocks) <= 3 * 2 * 8 * 8 * 4 * 4
