"""Checks gradients against central differences, in float64 and with random cotangents.

For f(x) = Σ cotangent·layer(x) with a random cotangent, back-propagation gives ∂f/∂x and ∂f/∂weights in one pass;
the definition of the derivative gives them one element at a time. A cotangent of ones would not work: batch
normalization passes back zero for it even with wrong code, so the check would compare zeros.

What is compared, and what cannot be:

    layers, nets      every gradient before a hook at ``error`` or ``grads`` changes it, so that no hook can hide an
                      error. Projected weights stay as forward left them, since the gradient ignores the
                      normalization; in reparametrization the derivative is taken through it.
    normalizations    the adjoint with the numeric derivative of the transform, wherever the normalization hangs, even
                      if it needs no adjoint there.
    hooks             only that their result has the array's shape and is not all zeros. For a hook at ``error`` or
                      ``grads``, there is no other definition to compare with.

A Report lists what was compared, and explains what was not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minidl.functions import name_of
from minidl.hooks import Hook, HookPoint, Reparametrization
from minidl.kernels import Kernels, load
from minidl.kernels.arguments import check_kind, generator, shown, whole
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.method import parse
from minidl.net import Net
from minidl.parameter import Parameter
from minidl.registry import PROBE, Normalization

Array = Any
STEP = 1e-6  # of the central difference: the rounding error, 1e-16/STEP, stays below the tolerance
TOLERANCE = 1e-6
STEPS = (1, 100, 0.1, 0.01)  # times STEP: longer against rounding, shorter beside a kink or a bend
ROUNDING = 4e-15  # of a deep net's loss, for a loss of 1
COARSE = 1e-4  # relative; how far a gradient may be off where the numeric slopes do not agree among themselves
NOISE = 1e-10  # relative; two forward passes that differ by more are random
LOST = "the rounding"  # words on gradients that are too small to be compared as closely as others
KINK = 1e-3  # relative; slopes to both sides that differ by more do not belong to one derivative


class GradientError(AssertionError):
    """A gradient differs from its definition."""


class Uncheckable(MinidlError):
    """There is nothing that a gradient could be compared with."""


@dataclass(frozen=True)
class Check:
    """One comparison: the name of the gradient, and ‖computed − numeric‖/‖numeric‖.

    computed, numeric: both as NumPy arrays, if each element was compared.
    """

    name: str
    relative_error: float
    computed: Array = field(default=None, repr=False, compare=False)
    numeric: Array = field(default=None, repr=False, compare=False)


class Report(list[Check]):
    """The comparisons of gradients that were made, none of which exceeds the tolerance.

    adjoints: those of the normalizations' adjoints; unchecked: what was not compared and why, a sentence each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.adjoints: list[Check] = []
        self.unchecked: list[str] = []

    def __str__(self) -> str:
        lines = [f"{check.name}: {check.relative_error:.1e}" for check in self]
        lines += [f"adjoint of {check.name}: {check.relative_error:.1e}" for check in self.adjoints]
        return "\n".join(lines + [f"not checked: {sentence}" for sentence in self.unchecked])


def numeric_gradient(function: Callable[[], float], array: Array, step: float = STEP) -> Array:
    """Return (f(x + step) − f(x − step))/(2·step) for each element x of an array that ``function`` depends on.

    The array may lie on any device; the result is a NumPy array.
    """
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        kept = float(array[index])
        try:
            array[index] = kept + step
            above = function()
            array[index] = kept - step
            below = function()
        finally:
            array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def numeric_slope(function: Callable[[], float], array: Array, direction: Array, step: float = STEP) -> float:
    """Return the derivative of ``function`` along a direction of an array that it depends on."""
    above, below = _beside(function, array, direction, step)
    return (above - below) / (2 * step)


def _beside(function: Callable[[], float], array: Array, direction: Array, step: float) -> tuple[float, float]:
    """Return f(x + step·direction) and f(x − step·direction)."""
    kept = array.copy()
    try:
        array += step * direction
        above = function()
        array[...] = kept - step * direction
        return above, function()
    finally:
        array[...] = kept


def relative_error(computed: Array, numeric: Array, expected: float = 0.0) -> float:
    """Return ‖computed − numeric‖/‖numeric‖; 0 where both are zero; ``expected`` is the least length to divide by."""
    difference, length = np.linalg.norm(computed - numeric), max(np.linalg.norm(numeric), expected)
    return float(difference / length) if length else float(np.inf if difference else 0)


def check_layer(layer: Layer, data: Array, random: np.random.Generator | int, tolerance: float = TOLERANCE) -> Report:
    """Check every gradient of a layer, or of layers in a container, that was set up in float64, hooks included.

    data: (samples, …), small: each element costs two forward passes; it may lie on the layer's device or be NumPy's.
    random: a generator of NumPy's, or a seed.
    Returns what was checked and what not; raises GradientError where a gradient exceeds the tolerance or is not a
    number, and MinidlError for a layer or data that cannot be checked.
    """
    check_kind("layer of check_layer", layer, Layer, "give a layer, such as net.root; for a net, there is check_net")
    random, where = generator(random), f"{layer.name} ({layer})"
    _check_setup(where, layer.context, layer.parameters())
    xp, host = layer.kernels.xp, layer.kernels.host
    data = _copied(where, layer.kernels, data)
    report = Report()
    with _in_training(layer), _bare(layer) as hooks:
        _check_repeatable(where, lambda: layer.forward(data), layer)
        output = layer.forward(data)
        cotangent = xp.asarray(random.standard_normal(output.shape))
        error = layer.backpropagate(cotangent.copy())
        arrays = {"error": data} | {p.name: p.value for p in layer.parameters()}
        if error is None:
            raise GradientError(f"{where}: no error comes back; let compute_error return ∂L/∂data")
        computed = {"error": host(error).copy()} | {p.name: host(p.grads).copy() for p in layer.parameters()}

        def function() -> float:
            return float(xp.sum(cotangent * layer.forward(data)))

        # The rounding of the output hides the smallest slopes: a bias before BN, for example, changes nothing.
        asked = tolerance if np.isfinite(tolerance) else TOLERANCE
        hidden = ROUNDING * (1 + float(xp.linalg.norm((cotangent * output).reshape(-1)))) / STEP / asked
        for name, array in arrays.items():
            if computed[name].shape != array.shape:
                raise GradientError(
                    f"{where}: the gradient of {name} is of shape {computed[name].shape}, where {array.shape} was "
                    "expected"
                )
            numeric, least = numeric_gradient(function, array), hidden * np.sqrt(array.size)
            error = relative_error(computed[name], numeric, least)
            report.append(Check(name, error, computed[name], numeric))
            length = float(np.linalg.norm(numeric))
            if not length:
                report.unchecked.append(f"{name}: its gradient is zero throughout, as far as numbers tell")
            elif length < asked * least:
                report.unchecked.append(f"{name}: its gradient, {length:.0e} long, is about {LOST} of the output")
            direction = xp.asarray(random.standard_normal(array.shape))
            _judge(where, report[-1], tolerance, partial(_kinked, function, array, direction))
    _check_hooks(report, hooks, len(data), random, layer.kernels, tolerance)
    return report


def check_net(
    net: Net,
    loss: Any,
    data: Array,
    labels: Array,
    random: np.random.Generator | int,
    tolerance: float = TOLERANCE,
    progress: Callable[[Any], Any] = iter,
) -> Report:
    """Check the gradients of each parameter of a net in float64 under its loss, along one random direction each.

    The gradients are those without hooks at errors and gradients. progress: a wrapper for the iteration over the
    parameters, such as tqdm. Returns and raises as ``check_layer`` does.
    """
    check_kind("net of check_net", net, Net, "give a net; for a layer, there is check_layer")
    if isinstance(loss, type) or not hasattr(loss, "score_of"):
        raise MinidlError(f"loss of check_net must be a loss, such as SoftmaxCrossEntropy(device), not {shown(loss)}")
    random, where = generator(random), f"net ({net.name})" if net.name else "the net"
    _check_setup(where, net.context, net.parameters)
    xp, host = net.kernels.xp, net.kernels.host
    data = _copied(where, net.kernels, data)
    report = Report()
    with _in_training(net), _bare(net.root) as hooks:
        _check_repeatable(where, lambda: net.forward(data), net.root)
        loss(net.forward(data), labels)
        net.backpropagate(loss.error)
        computed = {p.name: host(p.grads).copy() for p in net.parameters}

        def function() -> float:
            return loss.score_of(net.forward(data), labels).loss

        size, asked = 1 + abs(function()), tolerance if np.isfinite(tolerance) else TOLERANCE
        for p in progress(net.parameters):
            direction = random.standard_normal(p.value.shape)
            direction /= np.linalg.norm(direction)
            slope = np.sum(computed[p.name] * direction)
            direction = xp.asarray(direction)
            # On a steep slope take a shorter step, so that the loss does not bend and no unit switches within it.
            step = STEP * min(1.0, size / max(abs(slope), 1.0))
            # A random slope may happen to be almost zero, so the error is measured against the slope's average length.
            # The rounding of the loss hides the smallest slopes: a bias before BN, for example, changes nothing.
            expected = float(np.linalg.norm(computed[p.name])) / np.sqrt(p.value.size)
            hidden = ROUNDING * size / step / asked
            slope_of = partial(numeric_slope, function, p.value, direction)
            best, numeric, spread = _compare(slope, slope_of, step, max(expected, hidden), asked)
            if asked < best <= min(spread, COARSE):
                why = "as units switch, or the loss bends, within the shortest steps"
                report.unchecked.append(f"{p.name}: closer than to {best:.0e}, {why}")
                continue
            report.append(Check(p.name, best))
            _judge(where, report[-1], tolerance, partial(_kinked, function, p.value, direction, step))
            if max(expected, abs(numeric)) < hidden:
                report.unchecked.append(f"{p.name}: its slope, {numeric:.0e}, is about {LOST} of the loss")
    _check_hooks(report, hooks, len(data), random, net.kernels, tolerance)
    return report


def _compare(
    slope: float, slope_of: Callable[[float], float], step: float, least: float, asked: float
) -> tuple[float, float, float]:
    """Compare a slope with numeric ones, for STEPS times ``step``, until one is as near as ``asked``.

    Returns the smallest error, the slope that has it, and how far the slopes of short steps lie apart: in a deep net,
    units switch even within these. least: the least length to divide by.
    """
    best, numeric, tried = np.inf, np.nan, []
    for times in STEPS:
        tried.append(slope_of(times * step))
        error = relative_error(slope, tried[-1], least)
        if not error >= best:
            best, numeric = error, tried[-1]
        if best <= asked:
            break
    short = [one for times, one in zip(STEPS, tried, strict=False) if times <= 1]
    return best, numeric, relative_error(max(short), min(short), least)


def check_normalization(
    normalization: Normalization | str,
    shape: Shape,
    random: np.random.Generator | int,
    kernels: Kernels | str = "cpu",
    tolerance: float = TOLERANCE,
) -> Report:
    """Check a normalization's adjoint against the transform's own derivative, on random arrays of ``shape``.

    For a random cotangent u, the adjoint gives Jᵀu, and f(x) = Σ u·transform(x) has this gradient. normalization: by
    its name, or as it was registered; shape: of at least two axes; kernels: the operations of a device, or its name.
    Returns a report of one check. Raises GradientError where they differ, Uncheckable, a MinidlError, where there is no
    adjoint or the transform is random, and MinidlError for a name that is not known, or another shape.
    """
    if isinstance(normalization, str):
        chosen = parse(normalization).normalizations
        if len(chosen) != 1:
            raise MinidlError(
                f"{normalization!r} is not the name of one normalization; check one at a time, such as WC"
            )
        (normalization,) = chosen
    check_kind("normalization of check_normalization", normalization, Normalization, "give its name, such as WC")
    if not isinstance(shape, Iterable) or len(shape := tuple(shape)) < 2:
        raise MinidlError(f"shape of check_normalization must have two axes or more, as (4, 3) has, not {shown(shape)}")
    shape = tuple(whole("each number in the shape of check_normalization", size) for size in shape)
    kernels, random = load(kernels), generator(random)
    xp, host, report = kernels.xp, kernels.host, Report()
    hook = Reparametrization(normalization.bind(kernels))
    x, cotangent = (xp.asarray(random.standard_normal(shape)) for _ in range(2))
    if not normalization.has_adjoint:
        raise Uncheckable(
            f"{normalization} has no adjoint, which reparametrization would need, and nothing else of it can be "
            "checked; name it with one, by adjoint=…"
        )
    first = host(hook(x)).copy()
    if relative_error(host(hook(x)), first) > NOISE:
        raise Uncheckable(
            f"{normalization} is random: it makes other numbers of the same array, and a difference of two is no "
            "derivative; keep its random numbers the same during the check"
        )
    computed = cotangent.copy()
    hook.adjoint(computed)
    numeric = numeric_gradient(lambda: float(xp.sum(cotangent * hook(x))), x)
    computed = host(computed)
    report.append(Check(str(normalization), relative_error(computed, numeric), computed, numeric))
    _judge(f"the adjoint of {normalization}", report[-1], tolerance)
    return report


@contextmanager
def _in_training(checked: Layer | Net) -> Iterator[None]:
    """Prepare a layer or a net for training, and restore its state in the end; a frozen net ends in inference mode."""
    root = checked.root if isinstance(checked, Net) else checked
    training = all(part.training for part in root.layers())
    checked.train()
    try:
        yield
    finally:
        if not training:
            checked.eval()


@contextmanager
def _bare(root: Layer) -> Iterator[list[tuple[Layer, HookPoint, Hook]]]:
    """Project the weights, remove all hooks except reparametrizations, and yield the removed hooks by their places.

    At the end, all hooks and running statistics are as before.
    """
    parts = list(root.parts())
    for part in parts:
        part.normalize_weights()
    points = [(part, point) for part in parts for point in part.points.values()]
    hooks = [(part, point, point.hook) for part, point in points if point.hook is not None]
    running = [(array, array.copy()) for part in parts for array in part.running().values()]
    try:
        for _, point, hook in hooks:
            if not isinstance(hook, Reparametrization):
                point.hook = None
        yield hooks
    finally:
        for _, point, hook in hooks:
            point.hook = hook
        for array, kept in running:
            array[...] = kept


def _check_setup(where: str, context: Any, parameters: Sequence[Parameter]) -> None:
    advice = "set it up in float64, by Context(kernels, np.dtype(np.float64), random) or Net(..., dtype='float64')"
    if context is None:
        raise MinidlError(f"{where} cannot be checked before setup(shape, context); {advice}")
    for name, dtype in [(where, context.dtype), *((p.name, p.value.dtype) for p in parameters)]:
        if dtype != np.float64:
            raise MinidlError(f"{name} is in {np.dtype(dtype)}, too coarse for differences of {STEP:.0e}; {advice}")


def _copied(where: str, kernels: Kernels, data: Any) -> Array:
    """Return a copy of data in float64; raise MinidlError unless they are finite numbers of at least one sample."""
    data = kernels.array(data, np.float64).copy()
    if data.size == 0:
        raise MinidlError(f"{where} cannot be checked on data of shape {data.shape}; give at least one sample")
    if not kernels.xp.isfinite(data).all():
        raise MinidlError(
            f"{where} cannot be checked on data with nan or inf, where there is no derivative; give finite numbers"
        )
    return data


def _check_repeatable(where: str, forward: Callable[[], Array], root: Layer) -> None:
    """Raise MinidlError where the same data give two outputs, and name the layer that is random or changes its data."""

    def differs(layer: Layer, function: Callable[[], Array]) -> bool:
        first = layer.kernels.host(function()).copy()
        return relative_error(layer.kernels.host(function()), first) > NOISE

    if differs(root, forward):
        for part in root.layers():
            before = None if part.data is None else part.kernels.host(part.data).copy()
            if before is not None and differs(part, partial(part.compute_output, part.data)):
                where = f"{part.name} ({part})"
                if not np.array_equal(part.kernels.host(part.data), before, equal_nan=True):
                    raise MinidlError(f"{where} writes into its data, which others read; let it return a new array")
                break
        raise MinidlError(
            f"{where} is random: it makes different outputs of the same data, and a difference between two outputs is "
            "no derivative; keep its random numbers the same during the check"
        )


def _check_hooks(
    report: Report,
    hooks: list[tuple[Layer, HookPoint, Hook]],
    samples: int,
    random: np.random.Generator,
    kernels: Kernels,
    tolerance: float,
) -> None:
    """Check that no hook returns zeros or another shape, and each adjoint; return what could not be checked."""
    checked: list[tuple[Any, str]] = []
    for layer, point, hook in hooks:
        plain = getattr(hook, "normalization", hook)  # of a reparametrization, which has weights in use to keep
        name = name_of(plain)
        shape = (samples, *layer.input_shape) if point.point == "error" else layer.weights.value.shape
        trial = HookPoint(point.point)
        trial.hook = plain
        if not trial(kernels.xp.asarray(random.standard_normal(shape)), layer.name).any():
            raise GradientError(
                f"the hook {name} at the {point.point} of {layer.name} makes zeros of any array, which leaves nothing "
                "to learn; take it off or mend it"
            )
        if point.point != "weights":
            report.unchecked.append(f"{layer.name}: what {name} makes of its {point.point}, which was compared before")
        elif not isinstance(hook, Reparametrization):
            report.unchecked.append(
                f"{layer.name}: the derivative of {name}, past which the gradient goes (projection)"
            )
        if isinstance(plain, Normalization) and (plain.function, plain.area) not in checked:
            checked.append((plain.function, plain.area))
            try:
                report.adjoints += check_normalization(plain, PROBE, random, kernels, tolerance)
            except Uncheckable as error:
                report.unchecked.append(str(error))


def _kinked(function: Callable[[], float], array: Array, direction: Array, step: float = STEP) -> bool:
    """Return whether the slopes on both sides of an array differ, as where a ReLU is about to switch."""
    here, (above, below) = function(), _beside(function, array, direction, step)
    return abs(above - 2 * here + below) > KINK * abs(above - below)


def _judge(where: str, check: Check, tolerance: float, kinked: Callable[[], bool] = lambda: False) -> None:
    if check.relative_error <= tolerance or tolerance == np.inf:  # which lets nan pass as well
        return
    hint = ""
    if np.isfinite(check.relative_error) and kinked():
        hint = "; it may be right, as the data lie at a kink of a ReLU or a tie of a max pool: try other random data"
    raise GradientError(
        f"{where}: the gradient of {check.name} differs from its definition by {check.relative_error:.2e} of its "
        f"length, more than {tolerance:.0e}{hint}"
    )
