"""Checks gradients against central differences, in float64 and with random cotangents.

For f(x) = Σ cotangent·layer(x) with a random cotangent, back-propagation gives ∂f/∂x and ∂f/∂weights in one pass;
the definition of the derivative gives them one element at a time. A cotangent of ones would not do: what batch
normalization does to it is zero whatever the code, and the check would pass on nothing.

A normalization at a hook point is part of what is checked: what hangs at ``error`` and ``grads`` is applied to the
numeric gradients as well, projected weights are held as forward left them, and in reparametrization the numeric
derivative is taken through the normalization.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.hooks import HookPoint, Reparametrization
from minidl.layer import Layer
from minidl.net import Net

Array = Any
STEP = 1e-6  # of the central difference: the rounding error, 1e-16/STEP, stays below the tolerance
TOLERANCE = 1e-6
ROUNDING = 4e-15  # of a deep net's loss, for a loss of 1


class GradientError(AssertionError):
    """A gradient differs from its definition."""


@dataclass(frozen=True)
class Check:
    """One comparison: of which gradient, and ‖computed − numeric‖/‖numeric‖."""

    name: str
    relative_error: float


def numeric_gradient(function: Callable[[], float], array: Array, step: float = STEP) -> Array:
    """Return (f(x + step) − f(x − step))/(2·step) for each element x of an array that ``function`` depends on.

    The array may lie on any device; the result is NumPy's.
    """
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        kept = float(array[index])
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def numeric_slope(function: Callable[[], float], array: Array, direction: Array, step: float = STEP) -> float:
    """Return the derivative of ``function`` along a direction of an array that it depends on."""
    kept = array.copy()
    array += step * direction
    above = function()
    array[...] = kept - step * direction
    below = function()
    array[...] = kept
    return (above - below) / (2 * step)


def relative_error(computed: Array, numeric: Array, expected: float = 0.0) -> float:
    """Return ‖computed − numeric‖/‖numeric‖; 0 where both are zero; ``expected`` is the least length to divide by."""
    difference, length = np.linalg.norm(computed - numeric), max(np.linalg.norm(numeric), expected)
    return float(difference / length) if length else float(np.inf if difference else 0)


def check_layer(layer: Layer, data: Array, random: np.random.Generator, tolerance: float = TOLERANCE) -> list[Check]:
    """Check every gradient of a layer, or of layers in a container, that was set up in float64, hooks included.

    data: (samples, …), small: each element costs two forward passes; it may lie on the layer's device or be NumPy's.
    Returns the checks made; raises GradientError where one exceeds the tolerance or is not a number.
    """
    xp, host = layer.kernels.xp, layer.kernels.host
    layer.train()
    data = xp.asarray(data)
    output = layer.forward(data)
    cotangent = xp.asarray(random.standard_normal(output.shape))
    error = layer.backpropagate(cotangent.copy())
    assert error is not None
    computed = {"error": host(error).copy()}
    computed |= {p.name: host(p.grads).copy() for p in layer.parameters()}

    def function() -> float:
        return float(xp.sum(cotangent * layer.forward(data)))

    hook = layer.at_weights.hook
    if not isinstance(hook, Reparametrization):
        layer.at_weights.hook = None
    arrays = {"error": data} | {p.name: p.value for p in layer.parameters()}
    numeric = {name: numeric_gradient(function, array) for name, array in arrays.items()}
    layer.at_weights.hook = hook
    numeric["error"] = host(layer.at_error(xp.asarray(numeric["error"])))
    if layer.weights is not None:
        name = layer.weights.name
        numeric[name] = host(layer.at_grads(xp.asarray(numeric[name])))
    checks = [Check(name, relative_error(computed[name], numeric[name])) for name in computed]
    return _judge(checks, tolerance)


def check_net(
    net: Net, loss: Any, data: Array, labels: Array, random: np.random.Generator, tolerance: float = TOLERANCE
) -> list[Check]:
    """Check the gradients of each parameter of a net in float64 under its loss, along one random direction each.

    The hooks on errors have no numeric counterpart in a whole net, as they change what reaches every layer below, and
    are left out; those on gradients are applied to the direction, since centering is its own adjoint. Returns and
    raises as ``check_layer`` does.
    """
    xp, host = net.kernels.xp, net.kernels.host
    net.train()
    data, labels = xp.asarray(data), xp.asarray(labels)
    hooks: list[tuple[HookPoint, Any]] = []
    for layer in net.layers:
        hooks.append((layer.at_error, layer.at_error.hook))
        layer.at_error.hook = None
    loss(net.forward(data), labels)
    net.backpropagate(loss.error)
    computed = {p.name: host(p.grads).copy() for p in net.parameters}
    for layer in net.layers:
        if not isinstance(layer.at_weights.hook, Reparametrization):
            hooks.append((layer.at_weights, layer.at_weights.hook))
            layer.at_weights.hook = None
    at_grads = {layer.weights.name: layer.at_grads for layer in net.layers if layer.weights is not None}

    def function() -> float:
        return loss.alone(net.forward(data), labels).loss

    checks = []
    size = 1 + abs(function())
    for p in net.parameters:
        direction = random.standard_normal(p.value.shape)
        direction /= np.linalg.norm(direction)
        slope = np.sum(computed[p.name] * direction)
        direction = xp.asarray(direction)
        if p.name in at_grads:
            direction = at_grads[p.name](direction)
        # On a steep slope a shorter step, lest the loss bend, or a unit switch, within it.
        step = STEP * min(1.0, size / max(abs(slope), 1.0))
        # A random slope can happen to be almost zero; it is measured by the length that it has on average. And the
        # rounding of the loss hides the smallest slopes: a bias before BN, for one, changes nothing.
        expected = float(np.linalg.norm(computed[p.name])) / np.sqrt(p.value.size)
        expected = max(expected, ROUNDING * size / step / tolerance)
        numeric = numeric_slope(function, p.value, direction, step)
        checks.append(Check(p.name, relative_error(slope, numeric, expected)))
    for point, hook in hooks:
        point.hook = hook
    return _judge(checks, tolerance)


def _judge(checks: list[Check], tolerance: float) -> list[Check]:
    for check in checks:
        if not check.relative_error <= tolerance:
            raise GradientError(
                f"the gradient of {check.name} differs from its definition by {check.relative_error:.2e} of its "
                f"length, more than {tolerance:.0e}"
            )
    return checks
