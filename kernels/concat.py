"""Concatenation of the channels of two arrays; its adjoint splits them again.

    y = (x₁, x₂)        ∂L/∂x₁, ∂L/∂x₂ = the first and the last channels of ∂L/∂y

Arrays are (samples, y, x, c); only the channels may differ.
"""

from typing import Any

Array = Any  # numpy.ndarray or cupy.ndarray


def forward(first: Array, second: Array, out: Array) -> None:
    """Write the channels of ``first``, then those of ``second``, into ``out``."""
    channels = first.shape[-1]
    out[..., :channels] = first
    out[..., channels:] = second


def backward(error: Array, first: Array, second: Array) -> None:
    """Write the error's first channels into ``first``, the others into ``second``: the adjoint of forward."""
    channels = first.shape[-1]
    first[...] = error[..., :channels]
    second[...] = error[..., channels:]
