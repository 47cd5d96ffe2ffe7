"""Random nets, each as a line of Python that makes it again."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod
from random import Random
from typing import Any

import numpy as np

from minidl import layers
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError
from minidl.kernels.windows import windows
from minidl.layers import MaxPool, ReLU
from minidl.net import Net

SIZES, CHANNELS = (1, 2, 3, 3, 3, 4, 5, 7), (1, 2, 3, 5, 8, 12, 13, 16, 33)  # Winograd's algorithm begins at 12
CLASSES, LARGEST = 3, 10_000  # LARGEST: how many numbers an output has for one sample at most
NORMS = ("BatchNorm()", "LayerNorm()", "InstanceNorm()", "GroupNorm()")
METHODS = (
    *("Baseline", "WC", "WN", "WS", "GC", "WC, GC", "WS, GC", "EB", "EL", "EBN", "ELN", "WC, GC, EB", "WN, GC, ELN"),
    *(f"{what} {area}" for what in ("weight", "gradient") for area in ("global", "tensor", "channel", "instance")),
    *(f"error {area}" for area in ("global", "sample", "channel", "instance")),
)
OPTIMIZERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sgd", {"learning_rate": 0.1}),
    ("sgd", {"learning_rate": 0.01, "variant": "dlib"}),
    # A small ε would make steps of gradients that are 0 but for rounding.
    ("adam", {"learning_rate": 0.01, "epsilon": 0.01}),
)


@dataclass
class RandomNet:
    """A net with random biases, γ and β, the shapes of its batches (samples, y, x, channels), and an optimizer.

    pixels: whether it labels every pixel.
    """

    root: str
    pixels: bool
    method: str
    mode: str
    place: str
    batches: list[tuple[int, ...]]
    optimizer: str
    settings: dict[str, Any]
    seed: int

    def build(self, kernels: Kernels | str, dtype: Any) -> Net:
        """Return the net on a device."""
        how: Any = {name: getattr(self, name) for name in ("method", "mode", "place", "seed")}
        net = Net(eval(self.root, vars(layers).copy()), self.batches[0][1:], kernels, dtype=dtype, **how)
        random = np.random.default_rng(self.seed)
        for p in net.parameters:
            if p.value.ndim == 1:
                p.value += net.kernels.array(random.normal(0, 0.3, p.value.shape), net.dtype)
        return net

    def data(self, trial: int = 0, noise: float = 0.0) -> Iterator[tuple[Any, Any]]:
        """Yield random data, and labels of images or pixels, of which some are missing, for each batch.

        noise: by how much of itself each number of the data is changed.
        """
        random, other = np.random.default_rng([self.seed, trial]), np.random.default_rng(1)
        for shape in self.batches:
            labels = random.integers(0, CLASSES, shape[:3] if self.pixels else shape[:1])
            labels.flat[1::5] = -1
            yield random.standard_normal(shape) * (1 + noise * other.standard_normal(shape)), labels


@cache
def draw(seed: int) -> RandomNet:
    """Return the random net of a seed.

    It is drawn again as long as minidl refuses it, it is too large for a test, or rounding decides its gradients.
    """
    random = Random(seed)
    while True:
        drawn = _draw(random, seed)
        with suppress(MinidlError):
            net = drawn.build("reference", "float64")
            net.check_batches(shape[0] for shape in drawn.batches)
            net.unfuse()
            if max(prod(layer.output_shape) for layer in net.layers) <= LARGEST and not any(
                _has_kinks(net, data) for data, _ in drawn.data()
            ):
                return drawn


def _has_kinks(net: Net, data: Any) -> bool:
    """Return whether a ReLU or a max pool gets numbers of which rounding decides how the error goes back.

    Equal images that are padded with zeros, or resized, often have equal pixels, but for rounding.
    """
    net.root.forward(data)
    for layer in net.layers:
        if isinstance(layer, ReLU):
            near = abs(layer.data)[layer.data != 0]
        elif isinstance(layer, MaxPool) and layer.size > 1:
            views = windows(layer.data, (layer.size,) * 2, (layer.stride,) * 2)
            second, first = np.partition(np.stack([pixels for _, _, pixels in views]), -2, axis=0)[-2:]
            near = (first - second)[first != 0]
        else:
            continue
        if near.min(initial=1.0) < 1e-9 * abs(layer.data).max():
            return True
    return False


def _draw(random: Random, seed: int) -> RandomNet:
    body, pixels = _images(random, 0), random.random() < 0.3
    y, x, channels = random.randint(1, 24), random.randint(1, 24), random.choice((1, 2, 3, 4, 16))
    if pixels and random.random() < 0.5:
        rows = _sequence(body, f"Convolution({CLASSES}, 1)")
        root = f"AnySize({rows}, {random.randint(1, 12)}, {random.randint(1, 5)})"
        shapes = [(y, x), (random.randint(1, 24), random.randint(1, 24)), (y, x)]
    else:
        end = f"Convolution({CLASSES}, {random.choice(SIZES)}), Resize(({y}, {x}))" if pixels else _rows(random)
        root, shapes = _sequence(body, end), [(y, x)] * 3
    samples = random.choice((1, 2, 3, 5, 9)), random.choice((1, 2, 4, 7)), random.randint(1, 6)
    method = random.choice(METHODS) + random.choice(("", ", fully"))
    optimizer, settings = random.choice(OPTIMIZERS)
    return RandomNet(
        root=root,
        pixels=pixels,
        method="Baseline" if method == "Baseline, fully" else method,
        mode=random.choice(("projection", "reparametrization")),
        place=random.choice(("hooks", "optimizer")),
        batches=[(n, *shape, channels) for n, shape in zip(samples, shapes, strict=True)],
        optimizer=optimizer,
        settings=settings | {"weight_decay": random.choice((0.0, 0.01))},
        seed=seed,
    )


def _sequence(*made: str) -> str:
    return f"Sequential({', '.join(made)})"


def _images(random: Random, depth: int) -> str:
    """Return one to three rows of layers from images to images, with others inside down to the depth 2."""
    return ", ".join(_image_layers(random, depth) for _ in range(random.randint(1, 4 - depth)))


def _image_layers(random: Random, depth: int) -> str:
    filters, size, stride = random.choice(CHANNELS), random.choice(SIZES), random.choice((1, 1, 2, 3))
    padding = random.choice((None, 0, 1, size // 2, size - 1, size + 1))
    window = f"{random.randint(1, 4)}, {random.randint(1, 3)}"
    kind = random.choice(("Convolution", "Convolution", "TransposedConvolution"))
    product = f"{kind}({filters}, {size}, {stride}, {padding})"

    def body() -> str:
        return _sequence(_images(random, depth + 1))

    made = [
        *[product, f"{product}, ReLU()", f"{product}, {random.choice(NORMS)}, ReLU()"] * 2,
        random.choice(NORMS),
        "ReLU()",
        f"MaxPool({window})",
        f"AveragePool({window})",
        f"Resize(({random.randint(1, 12)}, {random.randint(1, 12)}))",
    ]
    if depth < 2:
        made += [f"Residual({body()})", f"Residual({body()}), ReLU()", f"Residual({body()}, {body()}), ReLU()"]
        made += [f"Concat({body()})", f"Concat({body()}), ReLU()"]
        made += [f"AnySize({body()}, {random.randint(1, 9)}, {random.randint(1, 4)})"]
    return random.choice(made)


def _rows(random: Random) -> str:
    """Return layers from images to one row of outputs for each sample."""
    made = [random.choice(("Flatten()", "GlobalAveragePool()"))]
    for _ in range(random.randint(0, 2)):
        made.append(f"FullyConnected({random.choice(CHANNELS)})")
        made += random.choice(([], ["ReLU()"], ["BatchNorm()", "ReLU()"], ["LayerNorm()"], ["GroupNorm()", "ReLU()"]))
        made += random.choice(([], [], [f"Residual(Sequential(FullyConnected({random.choice(CHANNELS)}), ReLU()))"]))
    return ", ".join([*made, f"FullyConnected({CLASSES})"])
