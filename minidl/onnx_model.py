"""ONNX: a net as a graph of ONNX's operators, one function for each kind of layer.

ONNX has images as (samples, channels, y, x), so arrays with three axes for a sample are transposed: the weights here,
and the data where the graph flattens them, so that fully connected layers keep our order.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from minidl.functions import described
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.layers import (
    AnySize,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    ReLU,
    Residual,
    Resize,
    Sequential,
    TransposedConvolution,
)
from minidl.net import Net

OPSET = 23  # of May 2025
INPUT, OUTPUT, SAMPLES = "data", "logits", "samples"

Array = Any


class Graph:
    """A graph under construction, to which the function of each layer adds its operators."""

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx, self.nodes, self.constants = onnx, [], []  # type: ignore[var-annotated]

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator, and return the name of its output."""
        name = f"{operator.lower()}_{len(self.nodes) + 1}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, values: Any, name: str = "") -> str:
        """Add an array, float64 as float32, or a list of whole numbers, and return its name."""
        array = np.asarray(values, np.int64 if isinstance(values, list) else None, order="C")
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = name or f"constant_{len(self.constants) + 1}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def layer(self, layer: Layer, data: str) -> str:
        """Add the operators of a layer on the data of that name, and return the name of its output.

        A user-defined layer adds them in its method ``to_onnx(graph, data)``; raises MinidlError if it has none.
        """
        function = KINDS.get(type(layer))
        if function:
            return function(self, layer, data)
        to_onnx = getattr(layer, "to_onnx", None)
        if to_onnx is None:
            raise MinidlError(
                f"{layer.name} ({layer}) is a layer of your own without a method to_onnx, which describes it to ONNX; "
                "write this method, see docs/use.md, or export to safetensors"
            )
        try:
            name = to_onnx(self, data)
        except Exception as error:  # user code may raise anything
            raise MinidlError(f"{layer.name} ({layer}): {described('to_onnx', error)}") from error
        if not isinstance(name, str):
            raise MinidlError(
                f"{layer.name} ({layer}): to_onnx returned {type(name).__name__}; let it return the name of its "
                "output, as graph.add does"
            )
        return name

    def array(self, layer: Layer, array: Array, name: str, order: tuple[int, ...] | None = None) -> str:
        """Add an array of a layer with its axes in another order."""
        host = layer.kernels.host(array)
        return self.constant(host if order is None else host.transpose(order), f"{layer.name}.{name}")

    def extended(self, data: str, shape: Shape, into: Shape) -> str:
        """Cut or pad with zeros, below and to the right, samples of ``shape`` to those of another one."""
        if shape == into:
            return data
        before, after = _as_there(shape), _as_there(into)
        places = list(range(1, len(shape) + 1))
        if any(n > m for n, m in zip(before, after, strict=True)):
            ends = [min(n, m) for n, m in zip(before, after, strict=True)]
            data = self.add("Slice", data, *map(self.constant, ([0] * len(ends), ends, places)))
            before = ends
        more = [m - n for n, m in zip(before, after, strict=True)]
        if any(more):
            data = self.add("Pad", data, self.constant([0] * (len(more) + 2) + more))
        return data


def _own(net: Net) -> list[str]:
    """Return the user-defined layers of a net."""
    return [f"{layer.name} ({layer})" for layer in net.root.parts() if type(layer) not in KINDS]


def _as_there(shape: Shape) -> list[int]:
    """Return the shape of a sample as ONNX has it: of an image, the channels first."""
    *plane, channels = shape
    return [channels, *plane] if len(plane) == 2 else list(shape)


def _sequential(graph: Graph, layer: Any, data: str) -> str:
    for child in layer.children:
        data = graph.layer(child, data)
    return data


def _any_size(graph: Graph, layer: Any, data: str) -> str:
    output = graph.layer(layer.body, graph.extended(data, layer.input_shape, layer.padded_shape))
    return graph.extended(output, layer.body_shape, layer.output_shape)


def _convolution(graph: Graph, layer: Any, data: str) -> str:
    weights = graph.array(layer, layer.weights.in_use, "weight", (0, 3, 1, 2))
    return _convolved("Conv", graph, layer, data, weights)


def _transposed_convolution(graph: Graph, layer: Any, data: str) -> str:
    weights = graph.array(layer, layer.weights.in_use, "weight", (3, 0, 1, 2))
    return _convolved("ConvTranspose", graph, layer, data, weights)


def _convolved(operator: str, graph: Graph, layer: Any, data: str, weights: str) -> str:
    biases = graph.array(layer, layer.biases.in_use, "bias")
    strides, pads = [layer.stride] * 2, [layer.padding] * 4
    return graph.add(operator, data, weights, biases, kernel_shape=[layer.size] * 2, strides=strides, pads=pads)


def _fully_connected(graph: Graph, layer: Any, data: str) -> str:
    weights = graph.array(layer, layer.weights.in_use, "weight")
    return graph.add("Gemm", data, weights, graph.array(layer, layer.biases.in_use, "bias"), transB=1)


def _batch_norm(graph: Graph, layer: Any, data: str) -> str:
    """BN that is not folded away: factor·data + offset."""
    shape = (-1, 1, 1) if len(layer.input_shape) == 3 else (-1,)  # the channels come last, except in images
    factor, offset = (layer.kernels.host(array).reshape(shape) for array in layer.affine())
    scaled = graph.add("Mul", data, graph.constant(factor, f"{layer.name}.factor"))
    return graph.add("Add", scaled, graph.constant(offset, f"{layer.name}.offset"))


def _group_norm(graph: Graph, layer: Any, data: str) -> str:
    """GN, LN (one group) and IN (a group for each channel)."""
    gamma, beta = (graph.array(layer, p.in_use, p.name.rpartition(".")[2]) for p in (layer.gamma, layer.beta))
    groups = layer.input_shape[-1] if type(layer) is InstanceNorm else layer.groups
    axes = len(layer.input_shape)
    if axes == 1:  # ONNX wants an axis after the channels
        data = graph.add("Unsqueeze", data, graph.constant([2]))
    elif axes != 3:  # ONNX also wants the channels first, and only images have them so
        data = graph.add("Transpose", data, perm=[0, axes, *range(1, axes)])
    # Subtract the mean first: some programs compute the variance as an inexact difference of squares.
    grouped = graph.add("Reshape", data, graph.constant([0, groups, -1]))
    centered = graph.add("Sub", grouped, graph.add("ReduceMean", grouped, graph.constant([2]), keepdims=1))
    data = graph.add("Reshape", centered, graph.add("Shape", data))
    out = graph.add("GroupNormalization", data, gamma, beta, num_groups=groups, epsilon=layer.epsilon)
    if axes == 1:
        return graph.add("Squeeze", out, graph.constant([2]))
    return out if axes == 3 else graph.add("Transpose", out, perm=[0, *range(2, axes + 1), 1])


def _relu(graph: Graph, layer: Any, data: str) -> str:
    return graph.add("Relu", data)


def _max_pool(graph: Graph, layer: Any, data: str) -> str:
    return graph.add("MaxPool", data, kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2)


def _average_pool(graph: Graph, layer: Any, data: str) -> str:
    return graph.add("AveragePool", data, kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2)


def _global_average_pool(graph: Graph, layer: Any, data: str) -> str:
    return graph.add("Flatten", graph.add("GlobalAveragePool", data), axis=1)


def _flatten(graph: Graph, layer: Any, data: str) -> str:
    if len(layer.input_shape) == 3:
        data = graph.add("Transpose", data, perm=[0, 2, 3, 1])
    return graph.add("Flatten", data, axis=1)


def _residual(graph: Graph, layer: Any, data: str) -> str:
    branches = [graph.layer(child, data) for child in layer.children]
    outputs = branches if len(branches) == 2 else [*branches, data]
    pairs = zip(outputs, layer.shapes, strict=True)
    return graph.add("Add", *(graph.extended(output, shape, layer.output_shape) for output, shape in pairs))


def _concat(graph: Graph, layer: Any, data: str) -> str:
    return graph.add("Concat", data, graph.layer(layer.resize, graph.layer(layer.body, data)), axis=1)


def _resize(graph: Graph, layer: Any, data: str) -> str:
    if layer.input_shape == layer.output_shape:
        return data
    how = {"mode": "linear", "coordinate_transformation_mode": "align_corners", "axes": [2, 3]}
    return graph.add("Resize", data, "", "", graph.constant(list(layer.size)), **how)


KINDS: dict[type[Layer], Callable[[Graph, Any, str], str]] = {
    Sequential: _sequential,
    AnySize: _any_size,
    Convolution: _convolution,
    TransposedConvolution: _transposed_convolution,
    FullyConnected: _fully_connected,
    BatchNorm: _batch_norm,
    GroupNorm: _group_norm,
    LayerNorm: _group_norm,
    InstanceNorm: _group_norm,
    ReLU: _relu,
    MaxPool: _max_pool,
    AveragePool: _average_pool,
    GlobalAveragePool: _global_average_pool,
    Flatten: _flatten,
    Residual: _residual,
    Concat: _concat,
    Resize: _resize,
}


def onnx_model(net: Net, metadata: dict[str, str], producer: str) -> bytes:
    """Return a net at inference as an ONNX model, checked by ``onnx.checker``.

    Its input ``data`` is float32 (samples, channels, y, x), prepared as for the net, with any number of samples; its
    output ``logits`` is (samples, classes), or (samples, classes, y, x) of a net that labels pixels. metadata:
    texts that the model carries; producer: the version that wrote it. Raises MinidlError if the package onnx is
    missing, and for a user-defined layer without ``to_onnx``.
    """
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise MinidlError(
            f"a model for ONNX is written by the package onnx, which cannot be imported ({error}); install it with: "
            "pip install -e '.[export]'"
        ) from error
    graph = Graph(onnx)
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.layer(net.root, INPUT)], [OUTPUT], OUTPUT))
    given, made = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [SAMPLES, *_as_there(shape)])
        for name, shape in ((INPUT, net.shape), (OUTPUT, net.root.output_shape))
    )
    whole = onnx.helper.make_graph(graph.nodes, net.name or "net", [given], [made], graph.constants)
    opset = onnx.helper.make_operatorsetid("", OPSET)
    model = onnx.helper.make_model(
        whole,
        opset_imports=[opset],
        ir_version=onnx.helper.find_min_ir_version_for([opset]),
        producer_name="minidl",
        producer_version=producer,
    )
    onnx.helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise MinidlError(
            f"the model that {' and '.join(_own(net)) or 'the net'} makes is not valid in ONNX: "
            f"{' '.join(str(error).split())}"
        ) from error
    content: bytes = model.SerializeToString()
    return content
