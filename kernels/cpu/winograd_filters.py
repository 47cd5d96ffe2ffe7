"""Filter transform of Winograd's algorithm, and its adjoint: U = G g Gᵀ (see winograd.py).

Both axes are transformed at once. Each phase of the filters has a matrix (n², taps of a filter): the columns of G ⊗ G
for taps of the phase, zeros elsewhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.constants import Kept
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

    def kept(self, weights: Array, rotated: bool) -> Array:
        """Return constant weights, transformed, in lines (lines.py): (lines of N, n, n, K, numbers of a line).

        K and N are the channels that their products take and give. The lines are computed only once. They have n²/taps
        times as many numbers as the weights.
        """
        kept = self._kept_rotated if rotated else self._kept
        return kept.of(weights, lambda constant: _in_lines(self.transformed(constant, rotated)))

    def transformed(self, weights: Array, rotated: bool) -> Array:
        """Return transformed weights (n, n, K, N) in scratch memory; the workers share K."""
        filters, _, _, channels = weights.shape
        u, turned = carve("weights", self._dtype, *self.shapes(filters, channels, rotated))

        def write(worker: int, start: int, stop: int) -> list[Program]:
            program, some = Program(), slice(start, stop)
            if rotated:
                self.add_to(program, weights[some], u[:, :, some], turned, rotated)
            else:
                self.add_to(program, weights[..., some], u[:, :, :, some], turned[:, some], rotated)
            return [program]

        count, others = (filters, channels) if rotated else (channels, filters)
        self._recorder.run(count, (weights, u), write, _MIN_PER_THREAD // others + 1, rotated)
        return self.as_matrices(u, rotated)

    def shapes(self, filters: int, channels: int, rotated: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of what ``add_to`` writes: U, and the weights in the order of U."""
        n, phases = self._points, len(self._matrices)
        if rotated:
            return (n, n, filters, phases, channels), (0,)  # the order of the weights
        return (n, n, phases, channels, filters), (self._taps, channels, filters)

    def add_to(self, program: Program, weights: Array, u: Array, turned: Array, rotated: bool) -> None:
        """Append the instructions that write U of some weights (out, y, x, in), with arrays of ``shapes``.

        rotated: of the weights rotated by 180°, from out to in. Either way, U lies in memory as the right matrix of a
        product, because BLAS is slower with one that lies transposed.
        """
        taps = _taps(weights)
        if not rotated:
            program.copy(taps.transpose(1, 2, 0), turned)
            taps = turned.transpose(1, 0, 2)
        for phase, matrix in enumerate(self._rotated if rotated else self._matrices):
            of_phase = u[:, :, :, phase] if rotated else u[:, :, phase]
            program.product(matrix, taps, of_phase.reshape(-1, *of_phase.shape[2:]).transpose(1, 0, 2))

    def as_matrices(self, u: Array, rotated: bool) -> Array:
        """View U as matrices (n, n, K, N)."""
        n, last = self._points, u.shape[-1]
        return u.reshape(n, n, -1, len(self._matrices) * last if rotated else last)

    def adjoint(self, totals: list[Array], weights_grads: Array) -> None:
        """Write the gradients of the weights, given those of U as the sum of ``totals`` (n, n, out, phases·in)."""
        filters, _, _, channels = weights_grads.shape

        def write(worker: int, start: int, stop: int) -> list[Program]:
            program, (total, *others) = Program(), [total[:, :, start:stop] for total in totals]
            for other in others:
                program.copy(other, total, accumulate=True)
            self.add_adjoint_to(program, total, weights_grads[start:stop])
            return [program]

        self._recorder.run(filters, (weights_grads, *totals), write, _MIN_PER_THREAD // channels + 1, _ADJOINT)

    def add_adjoint_to(self, program: Program, total: Array, weights_grads: Array) -> None:
        """Append the instructions that write gradients of some weights, given those of U (n, n, out, phases·in)."""
        filters, _, _, channels = weights_grads.shape
        grads = _taps(weights_grads)
        by_phase = total.reshape(-1, filters, len(self._adjoints), channels)
        for phase, matrix in enumerate(self._adjoints):
            program.product(matrix, by_phase[:, :, phase].transpose(1, 0, 2), grads, accumulate=phase > 0)


def _taps(weights: Array) -> Array:
    """View weights (out, y, x, in) as (out, y·x, in)."""
    taps = weights.reshape(len(weights), -1, weights.shape[-1])
    assert np.may_share_memory(taps, weights)  # a copy would be gone when its recording runs
    return taps


def _in_lines(matrices: Array) -> Array:
    """Return transformed weights (n, n, K, N) in lines."""
    by_output = matrices.transpose(3, 0, 1, 2)
    lines = in_lines(by_output)
    return lines.reshape(len(lines), *by_output.shape[1:], -1)


def _matrix(g: Array, kernel_size: Pair, phase: Phase) -> Array:
    """Return the matrix (n², y·x) that transforms the phase's taps."""
    along = []
    for size, taps in zip(kernel_size, phase.taps, strict=True):
        wide = np.zeros((len(g), size))
        columns = wide[:, taps]
        columns[...] = g[:, : columns.shape[1]]
        along.append(wide)
    return np.kron(*along)
