"""Fully connected layer: its three products; kernels/fully_connected.py has the formulas.

data (samples, in), error (samples, out), weights and their gradients (out, in), biases (out,). Each product is
shared among the workers along an axis of the weights, so that every core reads only its own part of them.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.constants import Kept, is_constant
from minidl.kernels.cpu.lines import in_lines, per_line
from minidl.kernels.cpu.ones import ones
from minidl.kernels.cpu.program import Program, Recorder

Array = NDArray[np.floating]
MIN_PER_THREAD = 64  # rows or columns of the weights; with fewer, waking a thread costs more than it gains
_forward, _constant, _backward, _comp_grads = (Recorder() for _ in range(4))
_kept = Kept()


def forward(data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
    """Write data · weightsᵀ + biases into ``out`` (samples, out); relu: the maximum of that and 0."""
    if is_constant(weights):
        _of_constant(data, _kept.of(weights, in_lines), biases, out, relu)
        return

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, part = Program(), out[:, start:stop]
        program.product(data, weights[start:stop].T, part)
        program.product(ones(len(data), data.dtype)[:, None], biases[None, start:stop], part, accumulate=True)
        if relu:
            program.relu(part)
        return [program]

    _forward.run(len(weights), (data, weights, biases, out), write, MIN_PER_THREAD, variant=relu)


def _of_constant(data: Array, lines: Array, biases: Array, out: Array, relu: bool) -> None:
    """Compute ``forward`` with weights in lines (lines.py): each sample is an image of one pixel with one window."""
    pixels, outputs, width = data[:, None, None, None, None], out[:, None, None], per_line(data.dtype)

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, some = Program(), slice(start * width, stop * width)
        program.windows(pixels, lines[start:stop], biases[some], outputs[..., some], relu)
        return [program]

    _constant.run(len(lines), (data, lines, biases, out), write, MIN_PER_THREAD // width, variant=relu)


def backward(error: Array, weights: Array, out: Array) -> None:
    """Write error · weights, the error with respect to the data, into ``out`` (samples, in)."""

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program = Program()
        program.product(error, weights[:, start:stop], out[:, start:stop])
        return [program]

    _backward.run(weights.shape[1], (error, weights, out), write, MIN_PER_THREAD)


def comp_grads(error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
    """Write errorᵀ · data into ``weights_grads`` and the error's sum over the samples into ``biases_grads``."""

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, part = Program(), error[:, start:stop]
        program.product(part.T, data, weights_grads[start:stop])
        program.product(ones(len(error), error.dtype)[None], part, biases_grads[None, start:stop])
        return [program]

    _comp_grads.run(len(weights_grads), (error, data, weights_grads, biases_grads), write, MIN_PER_THREAD)
