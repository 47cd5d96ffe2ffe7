"""Plans the products of all nets with the real cuDNN for a GPU that is not present: plan.py CARD; prints JSON.

cuDNN accepts the description of a device in place of a device. minidl's cudnn.py runs unchanged, with the real frontend
and the stand-in for CuPy. This proves that names and arguments are right and that there is an engine; nothing is
executed.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import cudnn as real
from cards import CARDS

NETS = ("a", "b", "b-cifar", "c", "d")
Shape = tuple[int, ...]

card = CARDS[sys.argv[1]] | {"cudnnVersion": real.backend_version()}
properties: Any = None


class Graph:
    """pygraph, with a described device in place of a handle."""

    def __init__(self, *, handle: int, **options: Any) -> None:
        global properties
        properties = properties or real.create_device_properties(json.dumps(card))  # not before the runtime is loaded
        self.graph = real.pygraph(**options, device_property=properties, sm_version=card["deviceVer"] // 10)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.graph, name)


described = ModuleType("cudnn")
described.__dict__.update(real.__dict__, pygraph=Graph, create_handle=lambda: 1, set_stream=lambda handle, stream: None)
sys.modules["cudnn"] = described
sys.path.insert(0, str(Path(__file__).parents[1] / "emulation"))

from minidl import models  # noqa: E402
from minidl.kernels.gpu import cudnn, products  # noqa: E402

cudnn.relu_keeps_nan = lambda precision: True  # which only an execution could show


def products_of(layer: Any, samples: int) -> list[tuple[str, Shape, Shape, Shape, int, int, str]]:
    """Return what a layer asks for: the operation, its shapes, stride and padding, and what follows the product."""
    weights, stride, padding = layer.weights.value.shape, getattr(layer, "stride", 1), getattr(layer, "padding", 0)
    data, out = (samples, *layer.input_shape), (samples, *layer.output_shape)
    if layer.kind == "fc":
        data, out, weights = (samples, 1, 1, weights[1]), (samples, 1, 1, weights[0]), (weights[0], 1, 1, weights[1])
    ends = "biases and ReLU" if layer.with_relu else "biases"
    if layer.kind == "tconv":  # the adjoint
        data, out, weights = out, data, (weights[3], *weights[1:3], weights[0])
        behind = {"dgrad": ends}
    else:
        behind = {"fprop": ends}
    shapes = {"fprop": (data, weights, out), "dgrad": (out, weights, data), "wgrad": (data, out, weights)}
    return [(name, *three, stride, padding, behind.get(name, "")) for name, three in shapes.items()]


asked: set[Any] = set()
for name in NETS:
    samples, shape, classes = (10, (227, 227, 3), 21) if name == "d" else (50, (32, 32, 3), 10)
    net = models.build(name, method=models.best_method(name), classes=classes, shape=shape, device="cpu")
    for layer in net.layers:
        if layer.weights is not None:
            asked.update(products_of(layer, samples))
for precision in ("tf32", "fp32", "bf16"):
    products.choose(precision, "cuDNN")
    found: Counter[str] = Counter()
    for operation, first, second, out, stride, padding, behind in asked:
        shapes = first, second, out
        product = cudnn.product(operation, *shapes, (stride, stride), (padding, padding), precision, behind)
        found["planned"] += product is not None
        found["rounded"] += product is not None and product.half_out
        found["fused"] += product is not None and product.fused
    print(json.dumps({"precision": precision, "asked": len(asked), **found}), flush=True)
