"""The paper's formulas in CuPy's ElementwiseKernel and ReductionKernel: read this page before the CUDA sources.

CuPy compiles a CUDA kernel from a formula: an ElementwiseKernel computes it for each element, a ReductionKernel sums it
over axes. T is the arrays' number type, float or double. Arrays are views (outer, rows, inner, lanes), see areas.py;
one number for each group has the shape (outer, 1, inner, 1), and is double, because float loses digits in long sums.

The functions compute the same as those in normalize.py, data_norm.py, sgd.py and adam.py, in more passes over memory.
Nets train with the latter. Tests compare them with this page, and benchmarks/kernels.py times both. A net can use this
page, too:

    replace(load("gpu"), normalize=elementwise, data_norm=elementwise, sgd=elementwise.sgd, adam=elementwise.adam)
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cupy
from cupy import ElementwiseKernel

from minidl.kernels.data_norm import Statistics
from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.running import Running

Array = Any


def summing(term: str, params: str, name: str) -> Any:
    """Return a kernel that sums a term over axes."""
    return cupy.ReductionKernel(params, "float64 total", term, "a + b", "total = a", "0", name, reduce_type="double")


ELEMENTS = summing("x", "T x", "sum_of_elements")
SQUARES = summing("(x - mean) * (x - mean)", "T x, float64 mean", "sum_of_squares")
PRODUCTS = summing("double(x) * y", "T x, T y", "sum_of_products")

CENTER = ElementwiseKernel("T x, float64 mean", "T y", "y = x - mean", "center")
STANDARDIZE = ElementwiseKernel("T x, float64 mean, float64 scale", "T y", "y = scale * (x - mean)", "standardize")
RESCALE = ElementwiseKernel("T x, float64 scale", "T y", "y = scale * x", "rescale")
ADJOINT = ElementwiseKernel(
    "T e, T y, float64 scale, float64 mean, float64 slope", "T out", "out = scale * (e - mean - slope * y)", "adjoint"
)


def group_sum(terms: Any, *arrays: Array) -> Array:
    """Return the sum of the terms over each group."""
    return terms(*arrays, axis=(1, 3), keepdims=True)


def group_mean(terms: Any, x: Array, *arrays: Array) -> Array:
    """Return the mean of the terms over each group."""
    return group_sum(terms, x, *arrays) / (x.shape[1] * x.shape[3])


def center(x: Array, out: Array) -> None:
    """Write y = x − μ (equations 2, 4, 10 and 11)."""
    CENTER(x, group_mean(ELEMENTS, x), out)


def center_adjoint(error: Array, output: Array, scale: Array | None, out: Array) -> None:
    """Write ∂L/∂x = ∂L/∂y − mean(∂L/∂y)."""
    center(error, out)


def group_statistics(x: Array, epsilon: float) -> Statistics:
    """Return μ, σ² and 1/√(σ² + ε) of each group."""
    mean = group_mean(ELEMENTS, x)
    variance = group_mean(SQUARES, x, mean)
    return Statistics(mean, variance, 1 / cupy.sqrt(variance + epsilon))


def standardize(x: Array, out: Array, epsilon: float = 1e-5) -> Array:
    """Write y = (x − μ)/√(σ² + ε) (equations 3, 8 and 9), and return the scale 1/√(σ² + ε)."""
    mean, _, scale = group_statistics(x, epsilon)
    STANDARDIZE(x, mean, scale, out)
    return scale


def standardize_adjoint(error: Array, output: Array, scale: Array, out: Array) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − mean(∂L/∂y) − y·mean(∂L/∂y·y))."""
    ADJOINT(error, output, scale, group_mean(ELEMENTS, error), group_mean(PRODUCTS, error, output), out)


def rescale(x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
    """Write y = k·x/√(‖x‖² + ε) (equation 1), and return the scale k/√(‖x‖² + ε)."""
    scale = k / cupy.sqrt(group_sum(PRODUCTS, x, x) + epsilon)
    RESCALE(x, scale, out)
    return scale


def rescale_adjoint(error: Array, output: Array, scale: Array, out: Array, k: float = 1.0) -> None:
    """Write ∂L/∂x = scale·(∂L/∂y − y·Σ(∂L/∂y·y)/k²)."""
    ADJOINT(error, output, scale, 0.0, group_sum(PRODUCTS, error, output) / k**2, out)


AFFINE = ElementwiseKernel(
    "T x, T gamma, T beta, bool relu", "T y", "y = gamma * x + beta; if (relu && y < 0) y = 0", "affine"
)


def forward(
    x: Array,
    gamma: Array,
    beta: Array,
    epsilon: float,
    out: Array,
    running: Running | None = None,
    relu: bool = False,
) -> Statistics:
    """Write y = γ·x̂ + β, or with relu max(y, 0), with x̂ = (x − μ)/√(σ² + ε) (equations 5 to 7); γ, β: (inner·lanes,).

    running: BN's running statistics, which are moved towards those of x.
    """
    found = group_statistics(x, epsilon)
    inference(STANDARDIZE(x, found.mean, found.scale), gamma, beta, out, relu)
    if running and x.shape[1] > 1:
        move(running, found, x.shape[1])
    return found


def move(running: Running, found: Statistics, rows: int) -> None:
    """Move running statistics (c,) by 1/(n + 1) towards those of a batch; n = ``updates``, counted up to ``window``."""
    mean, variance, updates, window = running
    mean += (found.mean.ravel() - mean) / (updates + 1)
    variance += (found.variance.ravel() * rows / (rows - 1) - variance) / (updates + 1)
    updates[...] = cupy.minimum(updates + 1, window)


def inference(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write y = factor·x + offset, or with relu max(y, 0)."""
    AFFINE(x, factor.reshape(x.shape[2:]), offset.reshape(x.shape[2:]), relu, out)


def comp_grads(
    error: Array, x: Array, statistics: Statistics, gamma_grads: Array, beta_grads: Array
) -> tuple[Array, Array]:
    """Write ∂L/∂β = Σ error and ∂L/∂γ = Σ error·x̂; return both for each matrix, (outer, inner, lanes)."""
    normalized = STANDARDIZE(x, statistics.mean, statistics.scale)
    sums = ELEMENTS(error, axis=1), PRODUCTS(error, normalized, axis=1)
    beta_grads[...], gamma_grads[...] = (ELEMENTS(part, axis=0).ravel() for part in sums)
    return sums


def backward(error: Array, x: Array, gamma: Array, statistics: Statistics, sums: Any, out: Array) -> None:
    """Write ∂L/∂x: ∂L/∂x̂ = γ·error through the adjoint of standardize, which does not need ``sums``."""
    normalized = STANDARDIZE(x, statistics.mean, statistics.scale)
    standardize_adjoint(gamma.reshape(x.shape[2:]) * error, normalized, statistics.scale, out)


GRADIENT = "double g = gradient + decay * w;"
SGD_IN = "T gradient, float64 decay, float64 alpha, float64 psi"
SGD = {
    "paper": ElementwiseKernel(SGD_IN, "T w, T m", f"{GRADIENT} m = psi * m + (1 - psi) * g; w -= alpha * m", "sgd"),
    "dlib": ElementwiseKernel(SGD_IN, "T w, T m", f"{GRADIENT} m = psi * m - alpha * g; w += m", "sgd_dlib"),
}
ADAM_IN = "T gradient, float64 decay, float64 alpha, int64 t, float64 psi1, float64 psi2, float64 epsilon"
MOMENTS = f"""{GRADIENT}
    m = psi1 * m + (1 - psi1) * g;
    v = psi2 * v + (1 - psi2) * g * g;
    double m_hat = m / (1 - pow(psi1, double(t))), v_hat = v / (1 - pow(psi2, double(t)));
    w -= alpha * m_hat / """
ADAM = {
    "standard": ElementwiseKernel(ADAM_IN, "T w, T m, T v", MOMENTS + "(sqrt(v_hat) + epsilon)", "adam"),
    "as_printed": ElementwiseKernel(
        ADAM_IN, "T w, T m, T v", MOMENTS + "sqrt(psi2 * v_hat + epsilon)", "adam_as_printed"
    ),
}


def update(parameters: Sequence[ParameterState], algorithm: Any, *settings: Any) -> None:
    """Run Algorithm 2 or 3 on each parameter; GC centers each filter of the gradient, WC each filter of the weights."""
    for parameter in parameters:
        arrays = parameter.weights, parameter.grads, *parameter.moments
        weights, grads, *moments = (array.reshape(len(array), 1, 1, -1) for array in arrays)
        gradient = CENTER(grads, group_mean(ELEMENTS, grads)) if parameter.gc else grads
        algorithm(gradient, parameter.weight_decay, *settings, weights, *moments)
        if parameter.wc:
            center(weights, weights)


def sgd_step(
    parameters: Sequence[ParameterState], learning_rate: Array, steps: Array, momentum: Array, variant: str
) -> None:
    """Count the step and update all weights in place (Algorithm 2)."""
    steps += 1
    update(parameters, SGD[variant], learning_rate, momentum)


def adam_step(
    parameters: Sequence[ParameterState],
    learning_rate: Array,
    steps: Array,
    betas: tuple[float, float],
    epsilon: float,
    variant: str,
) -> None:
    """Count the step and update all weights in place (Algorithm 3)."""
    steps += 1
    update(parameters, ADAM[variant], learning_rate, steps, *betas, epsilon)


sgd, adam = SimpleNamespace(step=sgd_step, MOMENTS=1), SimpleNamespace(step=adam_step, MOMENTS=2)
