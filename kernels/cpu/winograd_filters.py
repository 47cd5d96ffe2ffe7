"""The masks of a convolution by Winograd's algorithm as values at points, and back: U = G g Gᵀ (see winograd.py).

Both axes are transformed at once: a phase of the masks is a matrix (n², mask's taps) that has columns of G ⊗ G where
a tap belongs to the phase and zeros elsewhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.phases import Pair, Phase
from minidl.kernels.cpu.program import Repeated, Steps
from minidl.kernels.cpu.scratch import cut

Array = NDArray[Any]

_LEAST = 1 << 12  # weights worth a thread of their own
_TURNED = 16  # filters whose weights stay in the cache while their order is changed
_VALUES, _TURNED_VALUES, _GRADIENTS = range(3)  # what is computed, for Repeated


class Masks:
    """Masks of (y, x) taps and their phases; g: G (n, r), of the r taps that the largest phase has along an axis."""

    def __init__(self, g: Array, mask: Pair, phases: list[Phase], dtype: Any) -> None:
        self._points, self._taps, self._dtype = len(g), mask[0] * mask[1], dtype
        self._matrices = [_matrix(g, mask, phase).astype(dtype) for phase in phases]
        # Turned by 180°, the first tap is the last of r, also where a phase has fewer.
        self._turned = [_matrix(g[:, ::-1], mask, phase).astype(dtype) for phase in phases]
        self._adjoints = [matrix.T.copy() for matrix in self._matrices]
        self._repeated = Repeated()

    def values(self, weights: Array) -> Array:
        """Return the values of weights (out, y, x, in), (n, n, phases·in, out), in scratch memory."""
        n, (filters, _, _, channels) = self._points, weights.shape
        values, turned = cut(
            "weights", self._dtype, (n * n, len(self._matrices), channels, filters), (self._taps, channels, filters)
        )
        masks = weights.reshape(filters, self._taps, channels).transpose(1, 2, 0)

        def listed(worker: int, start: int, stop: int) -> list[Steps]:
            steps = Steps()
            for i in range(start, stop, _TURNED):
                some = slice(i, min(i + _TURNED, stop))
                steps.copy(masks[:, :, some], turned[:, :, some])
            source = turned[:, :, start:stop].transpose(1, 0, 2)
            for phase, matrix in enumerate(self._matrices):
                steps.product(matrix, source, values[:, phase, :, start:stop].transpose(1, 0, 2))
            return [steps]

        self._repeated.run(filters, (weights, values), listed, _LEAST // channels + 1, _VALUES)
        return values.reshape(n, n, -1, filters)

    def turned_values(self, weights: Array) -> Array:
        """Return the values of the masks turned by 180°, from out to in: (n, n, out, phases·in), in scratch memory."""
        n, (filters, _, _, channels) = self._points, weights.shape
        (values,) = cut("weights", self._dtype, (n * n, filters, len(self._turned), channels))
        masks = weights.reshape(filters, self._taps, channels)

        def listed(worker: int, start: int, stop: int) -> list[Steps]:
            steps = Steps()
            for phase, matrix in enumerate(self._turned):
                steps.product(matrix, masks[start:stop], values[:, start:stop, phase].transpose(1, 0, 2))
            return [steps]

        self._repeated.run(filters, (weights, values), listed, _LEAST // channels + 1, _TURNED_VALUES)
        return values.reshape(n, n, filters, -1)

    def gradients(self, totals: list[Array], weights_grads: Array) -> None:
        """Write the gradients of the weights from those of their values, a sum of arrays (n, n, out, phases·in)."""
        filters, _, _, channels = weights_grads.shape
        shape = (self._points**2, filters, len(self._matrices), channels)
        first, *others = (total.reshape(shape) for total in totals)
        grads = weights_grads.reshape(filters, self._taps, channels)

        def listed(worker: int, start: int, stop: int) -> list[Steps]:
            steps, values = Steps(), first[:, start:stop]
            for total in others:
                steps.copy(total[:, start:stop], values, accumulate=True)
            for phase, matrix in enumerate(self._adjoints):
                of_phase = values[:, :, phase].transpose(1, 0, 2)
                steps.product(matrix, of_phase, grads[start:stop], accumulate=phase > 0)
            return [steps]

        self._repeated.run(filters, (weights_grads, *totals), listed, _LEAST // channels + 1, _GRADIENTS)


def _matrix(g: Array, mask: Pair, phase: Phase) -> Array:
    """Return the matrix (n², y·x) that makes values of the phase's taps."""
    along = []
    for size, taps in zip(mask, phase.taps, strict=True):
        wide = np.zeros((len(g), size))
        columns = wide[:, taps]
        columns[...] = g[:, : columns.shape[1]]
        along.append(wide)
    return np.kron(*along)
