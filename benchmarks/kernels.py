"""Compare the time of each kernel on large arrays with that of a copy of the same size.

    python benchmarks/kernels.py [--device gpu] [--megabytes 256] [--json FILE]

The megabytes are those that a kernel must move at least: each array that it reads or writes counts once, and twice if
it must be read again, because a group that shares one mean does not stay on the chip, or is not contiguous. The share
is the kernel's bytes per second, divided by those of a copy from device to device. On a GPU, each kernel is recorded
several times in a row as one CUDA graph, so that the figures include no time of Python. Operations that are also in
kernels/gpu/elementwise.py are timed both ways, in two consecutive rows.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from clock import in_a_row, timer, write

from minidl import kernels
from minidl.kernels import Kernels
from minidl.kernels.areas import area_view
from minidl.kernels.augment import Crops
from minidl.kernels.parameter_state import ParameterState

Array = Any

SIDE, CHANNELS = 32, 64  # side and channels of the images in the first layers of the nets
FILTER = (3, 3, 512)
ON_CHIP = 1 << 16  # bytes of a group that may stay on the chip between two reads
IN_A_ROW = 5
WARM_UPS = 4  # two direct runs, the recording, and a first launch of it
LEAST, MOST = 3, 500  # measurements of a kernel, and milliseconds after which there are no more of a slow one


class Case(NamedTuple):
    """A kernel with its arguments, and the bytes that it must move."""

    name: str
    run: Callable[[], Any]
    bytes: int


def moved(*arrays: Array) -> int:
    """Return the number of bytes of some arrays."""
    return sum(array.nbytes for array in arrays)


class Arrays:
    """Makes the arguments: arrays that repeat the same random numbers."""

    def __init__(self, device: Kernels, megabytes: float) -> None:
        self.xp, self.random = device.xp, np.random.default_rng(0)
        self.size = int(megabytes * (1 << 18))  # in numbers of float32
        self.images = max(1, self.size // (SIDE * SIDE * CHANNELS))
        self.numbers = device.xp.asarray(self.random.standard_normal(1 << 20, np.float32))

    def floats(self, *shape: int) -> Array:
        """Return an array of float32."""
        size = int(np.prod(shape))
        return self.xp.tile(self.numbers, -(-size // len(self.numbers)))[:size].reshape(shape)

    def data(self, side: int = SIDE, channels: int = CHANNELS) -> Array:
        """Return images of about this size."""
        return self.floats(self.images, side, side, channels)

    def weights(self) -> Array:
        """Return filters of about this size; their number is a multiple of 4, as in the nets."""
        return self.floats(max(1, self.size // int(np.prod(FILTER)) // 4 * 4), *FILTER)


def normalize_cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield the normalizations of weights, gradients and errors."""
    for what, area in (("weights", "tensor"), ("data", "sample"), ("data", "channel"), ("data", "instance")):
        array = make.weights() if what == "weights" else make.data()
        out, error, back = (k.xp.empty_like(array) for _ in range(3))
        view = area_view(array.shape, area)
        x, y, e, d = (part.reshape(view) for part in (array, out, error, back))
        k.xp.copyto(error, array)
        apart = view[1] > 1 and view[2] > 1  # whether the elements of a group are not contiguous
        again = moved(array) if apart or view[1] * view[3] * 4 > ON_CHIP else 0
        for name in ("center", "standardize", "rescale"):
            forward, adjoint = getattr(k.normalize, name), getattr(k.normalize, f"{name}_adjoint")
            yield Case(f"{name}, {area}", partial(forward, x, y), moved(array, out) + again)
            if name != "center":
                scale = forward(x, y)
                yield Case(
                    f"{name} adjoint, {area}",
                    partial(adjoint, e, y, scale, d),
                    moved(error, out, back) + 2 * again,
                )


def data_norm_cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield BN and LN."""
    for name, area in (("BN", "channel"), ("LN", "sample")):
        x, e, out = make.data(), make.data(), make.data()
        view = area_view(x.shape, area) if area == "channel" else area_view(x.shape, "group", 1)
        views = [array.reshape(view) for array in (x, e, out)]
        gamma, beta = make.floats(CHANNELS), make.floats(CHANNELS)
        found = k.data_norm.forward(views[0], gamma, beta, 1e-5, views[2])
        grads = (k.xp.empty_like(gamma), k.xp.empty_like(beta))
        sums = k.data_norm.comp_grads(views[1], views[0], found, *grads)
        yield Case(
            f"{name} forward",
            partial(k.data_norm.forward, views[0], gamma, beta, 1e-5, views[2]),
            moved(x, x, out),
        )
        comp_grads = partial(k.data_norm.comp_grads, views[1], views[0], found, *grads)
        yield Case(f"{name} comp_grads", comp_grads, moved(x, e))
        yield Case(
            f"{name} backward",
            partial(k.data_norm.backward, views[1], views[0], gamma, found, sums, views[2]),
            moved(x, e, out),
        )


def layer_cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield the layers without products."""
    x, out, e = make.data(), make.data(), make.data()
    yield Case("ReLU forward", partial(k.relu.forward, x, out), moved(x, out))
    yield Case("ReLU backward", partial(k.relu.backward, e, x, out), moved(e, x, out))
    half = make.data(SIDE // 2)
    buffer = cache(lambda name, shape, dtype: k.xp.empty(shape, dtype))  # a byte for each output
    pool = partial(k.max_pool.forward, x, 2, 2, half, buffer)
    yield Case("max pool forward", pool, moved(x, half) + half.size)
    yield Case("max pool backward", partial(k.max_pool.backward, half, 2, 2, pool(), e), moved(half, e) + half.size)
    yield Case("average pool forward", partial(k.average_pool.forward, x, 2, 2, half), moved(x, half))
    yield Case("average pool backward", partial(k.average_pool.backward, half, 2, 2, e), moved(half, e))
    overlapping = make.data((SIDE - 3) // 2 + 1)
    backward = partial(k.average_pool.backward, overlapping, 3, 2, e)
    yield Case("average pool 3×3 backward", backward, moved(overlapping, e))
    argmax = k.max_pool.forward(x, 3, 2, overlapping, buffer)
    backward = partial(k.max_pool.backward, overlapping, 3, 2, argmax, e)
    yield Case("max pool 3×3 backward", backward, moved(overlapping, e) + overlapping.size)
    point = make.floats(make.images, CHANNELS)
    yield Case("global average forward", partial(k.average_pool.forward_global, x, point), moved(x, point))
    yield Case("global average backward", partial(k.average_pool.backward_global, point, e), moved(e, point))
    yield Case("add", partial(k.extents.add, x, e, out), moved(x, e, out))
    smaller = make.data(SIDE - 1)
    yield Case("add to larger extents", partial(k.extents.add, x, smaller, out), moved(x, smaller, out))
    yield Case("copy to larger extents", partial(k.extents.copy, smaller, out), moved(smaller, out))
    both = make.data(channels=2 * CHANNELS)
    yield Case("concat forward", partial(k.concat.forward, x, e, both), moved(x, e, both))
    yield Case("concat backward", partial(k.concat.backward, both, x, e), moved(x, e, both))
    yield Case("resize forward", partial(k.resize.forward, smaller, x), moved(smaller, x))
    yield Case("resize backward", partial(k.resize.backward, x, smaller), moved(smaller, x))


def update_cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield Adam and SGD."""
    learning_rate, steps = k.xp.full(1, 1e-3, np.float64), k.xp.zeros(1, np.int64)
    for how, inside in (("", False), (" with WC, GC", True)):
        arrays = [make.weights() for _ in range(4)]
        weights, grads, first, second = arrays
        adam = [ParameterState(weights, grads, (first, abs(second)), 5e-5, gc=inside, wc=inside)]
        yield Case(
            f"Adam{how}",
            partial(k.adam.step, adam, learning_rate, steps, (0.9, 0.999), 1e-8, "standard"),
            moved(weights, grads, first, second, weights, first, second),
        )
        sgd = [ParameterState(weights, grads, (first,), 5e-5, gc=inside, wc=inside)]
        yield Case(
            f"SGD{how}",
            partial(k.sgd.step, sgd, learning_rate, steps, k.xp.full(1, 0.9), "paper"),
            moved(weights, grads, first, weights, first),
        )


def training_cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield loss and augmentation."""
    classes = 21
    logits, error = make.floats(make.size // classes, classes), make.floats(make.size // classes, classes)
    labels = k.xp.asarray(make.random.integers(-1, classes, len(logits)).astype(np.int8))
    totals = k.xp.zeros(4, np.float64)
    yield Case(
        "softmax and loss",
        partial(k.softmax_loss.forward, logits, labels, error, totals),
        moved(logits, error, labels),
    )
    n = max(1, make.size // (SIDE * SIDE * 3))
    images = make.random.integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.uint8)
    stored, out, position = k.augment.store(images), make.floats(n, SIDE, SIDE, 3), k.xp.zeros(1, np.int64)
    classes_of, made = k.xp.zeros(n, np.int64), k.xp.zeros(n, np.int64)
    order = k.xp.asarray(np.random.default_rng(0).permutation(n))
    corners, mean = k.xp.full((n, 2), -1, np.int64), np.array([122.782, 117.001, 104.298])

    def crop() -> None:
        position[...] = 0
        k.augment.crop(stored, classes_of, Crops(position, order, corners), mean, 256.0, out, made)

    yield Case("crop a batch", crop, images.nbytes + moved(out, order, corners, classes_of, made))


def product_cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield the kernels before and after the products on a GPU."""
    from minidl.kernels.convolution import Geometry
    from minidl.kernels.gpu import bf16, bias, im2col
    from minidl.kernels.gpu.transposed_convolution import swap

    x, biases = make.data(), make.floats(CHANNELS)
    yield Case("add biases", partial(bias.add, biases, x), moved(x, x))
    yield Case("sum for biases", partial(bias.sums, x, biases), moved(x))
    yield Case("to bfloat16", partial(bf16.narrow, x), moved(x) * 3 // 2)
    weights = make.weights()
    swapped = k.xp.empty((FILTER[2], *FILTER[:2], len(weights)), np.float32)
    yield Case("swap weights", partial(swap, weights, swapped), moved(weights, swapped))
    layer = im2col.Im2col(Geometry((SIDE, SIDE, CHANNELS), CHANNELS, (3, 3), 1, 1))
    few = make.floats(max(1, make.images // 9), SIDE, SIDE, CHANNELS)
    columns = make.floats(len(few) * SIDE * SIDE, layer.window)
    yield Case("gather columns", partial(layer.gather, few, 0, columns), moved(few, columns))
    yield Case("scatter columns", partial(layer.scatter, columns, 0, few), moved(few, columns))


def beside_elementwise(family: Callable[[Kernels, Arrays], Iterator[Case]], k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield each case with our CUDA sources, and then with the formulas of elementwise.py."""
    from minidl.kernels.gpu import elementwise as e

    plain = replace(k, normalize=e, data_norm=e, sgd=e.sgd, adam=e.adam)
    for fast, slow in zip(family(k, make), family(plain, make), strict=True):
        yield fast
        yield slow._replace(name=f"{slow.name}, elementwise")


def cases(k: Kernels, make: Arrays) -> Iterator[Case]:
    """Yield every kernel of a device; the copy comes first."""
    x, out = make.data(), make.data()
    yield Case("copy", partial(k.xp.copyto, out, x), moved(x, out))
    yield from layer_cases(k, make)
    for family in (normalize_cases, data_norm_cases, update_cases):
        yield from beside_elementwise(family, k, make) if k.device == "gpu" else family(k, make)
    yield from training_cases(k, make)
    if k.device == "gpu":
        yield from product_cases(k, make)


def measure(k: Kernels, megabytes: float, rounds: int, path: Path | None = None) -> list[dict[str, Any]]:
    """Return a row for each kernel; write all rows so far into the file, if there is one."""
    rows: list[dict[str, Any]] = []
    measured = timer(k)
    for name, run, size in cases(k, Arrays(k, megabytes)):
        recorded = k.record(partial(in_a_row, run, IN_A_ROW), lambda: 0)
        once = min(measured(recorded) for _ in range(WARM_UPS))
        times = max(LEAST, min(rounds, int(MOST / once)))
        ms = median(measured(recorded) for _ in range(times)) / IN_A_ROW
        gigabytes = size / ms / 1e6
        share = gigabytes / rows[0]["gb_per_s"] if rows else 1.0
        rows.append({"kernel": name, "mb": size / 1e6, "ms": ms, "gb_per_s": gigabytes, "share": share})
        write(rows, path)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows in Markdown."""
    head = "| kernel | MB | ms | GB/s | share of a copy |\n| --- | ---: | ---: | ---: | ---: |"
    lines = (
        f"| {row['kernel']} | {row['mb']:.0f} | {row['ms']:.4f} | {row['gb_per_s']:.0f} | {row['share']:.0%} |"
        for row in rows
    )
    return "\n".join([head, *lines])


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--device", default="gpu", help="gpu or cpu (default: gpu)")
    cli.add_argument("--megabytes", type=float, default=256, help="of an array (default: 256, more than caches hold)")
    cli.add_argument("--rounds", type=int, default=20, help="measurements of each (default: 20), fewer of a slow one")
    cli.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    options = cli.parse_args()
    device = kernels.load(options.device).unchecked  # as layers use it
    rows = measure(device, options.megabytes, options.rounds, options.json)
    print(f"{device.describe()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
