"""Filter transform of Winograd's algorithm, and its adjoint: U = G g Gᵀ (see winograd.py).

Both axes are transformed at once. Each phase of the filters has a matrix (n², taps of a filter): the columns of G ⊗ G
for taps of the phase, zeros elsewhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.constants import Kept, is_constant
from minidl.kernels.cpu.lines import in_lines
from minidl.kernels.cpu.phases import Pair, Phase
from minidl.kernels.cpu.program import Program, Recorder
from minidl.kernels.cpu.scratch import carve

Array = NDArray[Any]

_MIN_PER_THREAD = 1 << 12  # weights
_ADJOINT = "adjoint"  # a variant of the recorder; the others are the transforms, rotated or not


class FilterTransform:
    """The transform of filters of (y, x) taps; g: G (n, r), of the r taps that the largest phase has along an axis."""

    def __init__(self, g: Array, kernel_size: Pair, phases: list[Phase], dtype: Any) -> None:
        self._points, self._taps, self._dtype = len(g), kernel_size[0] * kernel_size[1], dtype
        self._matrices = [_matrix(g, kernel_size, phase).astype(dtype) for phase in phases]
        # Rotated by 180°, the first tap becomes the last of r, even if a phase has fewer than r taps.
        self._rotated = [_matrix(g[:, ::-1], kernel_size, phase).astype(dtype) for phase in phases]
        self._adjoints = [matrix.T.copy() for matrix in self._matrices]
        self._recorder, self._kept, self._kept_rotated = Recorder(), Kept(), Kept()

    def forward(self, weights: Array, rotated: bool = False) -> Array:
        """Return weights (out, y, x, in) transformed to (out, n, n, phases·in, 1), in scratch memory.

        rotated: transform the weights rotated by 180°, from out to in, to (phases·in, n, n, out, 1). The transform of a
        constant is computed only once and kept in lines (lines.py), (lines of filters, n, n, phases·in, numbers of a
        line): n²/taps times as many numbers as the weights.
        """
        if is_constant(weights):
            kept = self._kept_rotated if rotated else self._kept
            return kept.of(weights, lambda constant: _in_lines(self._transformed(constant, rotated)))
        return self._transformed(weights, rotated)[..., None]

    def _transformed(self, weights: Array, rotated: bool) -> Array:
        """Return the transformed weights (out, n, n, phases·in), or rotated ones (phases·in, n, n, out).

        Both are views of the same order in memory, (n, n, out, phases·in), because BLAS accepts transposed matrices. To
        transpose the weights instead took two or three times as long as everything else here.
        """
        n, (filters, _, _, channels) = self._points, weights.shape
        matrices = self._rotated if rotated else self._matrices
        (transformed,) = carve("weights", self._dtype, (n * n, filters, len(matrices), channels))
        taps = weights.reshape(filters, self._taps, channels)

        def write(worker: int, start: int, stop: int) -> list[Program]:
            program = Program()
            for phase, matrix in enumerate(matrices):
                program.product(matrix, taps[start:stop], transformed[:, start:stop, phase].transpose(1, 0, 2))
            return [program]

        self._recorder.run(filters, (weights, transformed), write, _MIN_PER_THREAD // channels + 1, rotated)
        points = transformed.reshape(n, n, filters, -1)
        return points.transpose(3, 0, 1, 2) if rotated else points.transpose(2, 0, 1, 3)

    def adjoint(self, totals: list[Array], weights_grads: Array) -> None:
        """Write the gradients of the weights, given those of U as the sum of ``totals`` (n, n, out, phases·in)."""
        filters, _, _, channels = weights_grads.shape
        shape = (self._points**2, filters, len(self._matrices), channels)
        first, *others = (total.reshape(shape) for total in totals)
        grads = weights_grads.reshape(filters, self._taps, channels)

        def write(worker: int, start: int, stop: int) -> list[Program]:
            program, total = Program(), first[:, start:stop]
            for other in others:
                program.copy(other[:, start:stop], total, accumulate=True)
            for phase, matrix in enumerate(self._adjoints):
                of_phase = total[:, :, phase].transpose(1, 0, 2)
                program.product(matrix, of_phase, grads[start:stop], accumulate=phase > 0)
            return [program]

        self._recorder.run(filters, (weights_grads, *totals), write, _MIN_PER_THREAD // channels + 1, _ADJOINT)


def _in_lines(transformed: Array) -> Array:
    """Return transformed weights (out, n, n, in) in lines."""
    lines = in_lines(transformed)
    return lines.reshape(len(lines), *transformed.shape[1:], -1)


def _matrix(g: Array, kernel_size: Pair, phase: Phase) -> Array:
    """Return the matrix (n², y·x) that transforms the phase's taps."""
    along = []
    for size, taps in zip(kernel_size, phase.taps, strict=True):
        wide = np.zeros((len(g), size))
        columns = wide[:, taps]
        columns[...] = g[:, : columns.shape[1]]
        along.append(wide)
    return np.kron(*along)
