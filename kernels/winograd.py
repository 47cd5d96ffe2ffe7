"""Convolution with stride 1 in fewer multiplications: Winograd's algorithm, with products that stay in the cache.

The output is cut into tiles of m×m pixels, each of which depends on n×n pixels of the data, n = m + r − 1 for masks
of r×r. Tiles of data d, masks g and tiles of error e become *values* at n×n points (``cook_toom.py`` has A, B, G):

    V = B d Bᵀ        U = G g Gᵀ        Ê = A e Aᵀ

At each point (i, j), the values of all tiles are a matrix (tiles, in), those of the weights (in, out), and what
remains of the convolution is n² products of matrices, where each output pixel costs n²/m² multiplications per pair
of channels instead of r² (2.25 instead of 9 for F(4×4, 3×3)):

    forward       out tile  = Aᵀ (V·U) A + biases
    comp_grads    mask grad = Gᵀ (Êᵀ·V) G,     the adjoint of forward with respect to g
    backward      forward's code: the adjoint with respect to d is a correlation of the error with the masks turned
                  by 180°, from out to in. The direct adjoint Bᵀ (Ê·Uᵀ) B costs as much and would overlap in its
                  outputs.

The row of A at the point 1 is all ones. So biases added to the values at (1, 1) arrive at every pixel, and the
values of the error at (1, 1) are the sums that the biases' gradients need.

Chunks of some images, or of some rows of tiles of one image, keep V and V·U in a core's own cache. Sources: Winograd
1980; Lavin and Gray 2016.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.chunks import Chunks
from minidl.kernels.cook_toom import MOST_POINTS, transforms
from minidl.kernels.errors import MinidlError
from minidl.kernels.plain_convolution import Convolution, Geometry, Pair
from minidl.kernels.scratch import cut
from minidl.kernels.threads import share
from minidl.kernels.tiles import Tiling, combine, evaluate

Array = NDArray[Any]

_ONE = 1  # the index of the point 1 among the points of A, B and G
_CHUNK_BYTES = 2 << 20  # values of data and outputs of a chunk; measured with an L2 cache of 1 MiB per core
_FEWEST_TILES = 32  # in a chunk: smaller matrix products are slow
_LEAST_WEIGHTS = 1 << 12  # weights worth a thread of their own


class Winograd(Convolution):
    """Convolution in tiles of F(m×m, r×r); arguments and methods are those of Convolution.

    Raises MinidlError unless the stride is 1 and the masks are 3×3 or 5×5.
    """

    MASKS: ClassVar = [(3, 3), (5, 5)]

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        mask = self.mask
        if self.stride != (1, 1) or mask not in self.MASKS:
            raise MinidlError(
                f"Winograd's algorithm is for masks of 3×3 or 5×5 with stride 1, not {mask[0]}×{mask[1]} with "
                f"{self.stride[0]}×{self.stride[1]}; use im2col here"
            )
        self._m = _best_tile(*self.output_shape[:2], mask[0])
        self._n = self._m + mask[0] - 1
        a, b, g = transforms(self._m, mask[0])
        self._a, self._b = a.astype(self.dtype), b.astype(self.dtype)
        self._a_transposed = self._a.T.copy()
        # Both axes of a mask at once, a matrix (n², r²).
        self._g = np.kron(g, g).astype(self.dtype)
        self.path = f"winograd F({self._m}×{self._m}, {mask[0]}×{mask[1]})"

    def forward(self, data: Array, weights: Array, biases: Array, out: Array) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out)."""
        n, taps, channels, filters = self._n, self._g.shape[1], self.data_shape[2], self.filters
        values, turned = cut("weights", self.dtype, (n * n, channels, filters), (channels, taps, filters))
        masks = weights.reshape(filters, taps, channels).transpose(2, 1, 0)

        def work(worker: int, start: int, stop: int) -> None:
            turned[start:stop] = masks[start:stop]
            np.matmul(self._g, turned[start:stop], out=values[:, start:stop].transpose(1, 0, 2))

        share(work, channels, least=_LEAST_WEIGHTS // filters)
        self._correlate(data, values.reshape(n, n, channels, filters), biases, self.padding, out)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        n, taps, channels, filters = self._n, self._g.shape[1], self.data_shape[2], self.filters
        (values,) = cut("weights", self.dtype, (n * n, filters, channels))
        masks = weights.reshape(filters, taps, channels)
        turned = self._g[:, ::-1].copy()

        def work(worker: int, start: int, stop: int) -> None:
            np.matmul(turned, masks[start:stop], out=values[:, start:stop].transpose(1, 0, 2))

        share(work, filters, least=_LEAST_WEIGHTS // channels)
        padding = (self.mask[0] - 1 - self.padding[0], self.mask[1] - 1 - self.padding[1])
        self._correlate(error, values.reshape(n, n, filters, channels), None, padding, out)

    def _correlate(self, data: Array, weights: Array, biases: Array | None, padding: Pair, out: Array) -> None:
        """Write Aᵀ (V·U) A + biases into ``out``, with U given as ``weights`` (n, n, in, out)."""
        m, n = self._m, self._n
        (_, _, channels, filters), (_, height, width, _) = weights.shape, out.shape
        data_y, data_x = _tilings(data, n, m, padding)
        out_y, out_x = _tilings(out, m, m, (0, 0))

        def work(worker: int, start: int, stop: int) -> None:
            chunks = self._chunks(stop - start, height, width)
            shape = (chunks.samples, chunks.height, chunks.across)
            seen = (chunks.samples, (chunks.height - 1) * m + n, chunks.across, n, channels)
            made = (m, *shape, n, filters)
            data_values, out_values, data_rows, out_rows = cut(
                worker, self.dtype, (n, *shape, n, channels), (n, *shape, n, filters), seen, made
            )
            for band in chunks.bands():
                transform = evaluate(self._b, data, data_y, data_x, band, data_rows, data_values)
                restore = combine(self._a_transposed, out_values, out_y, out_x, band, out_rows, out)
                for part in chunks.parts(start, stop):
                    tiles = chunks.tiles(part, band)
                    products = _points(out_values, tiles)
                    transform(part)
                    np.matmul(_points(data_values, tiles), weights, out=products)
                    if biases is not None:
                        products[_ONE, _ONE] += biases
                    restore(part)

        share(work, len(data))

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,)."""
        m, n, channels, filters = self._m, self._n, self.data_shape[2], self.filters
        data_y, data_x = _tilings(data, n, m, self.padding)
        error_y, error_x = _tilings(error, m, m, (0, 0))
        sums: dict[int, tuple[Array, Array]] = {}

        def work(worker: int, start: int, stop: int) -> None:
            chunks = self._chunks(stop - start, *error.shape[1:3])
            shape = (chunks.samples, chunks.height, chunks.across)
            data_seen = (chunks.samples, (chunks.height - 1) * m + n, chunks.across, n, channels)
            error_seen = (chunks.samples, chunks.height * m, chunks.across, n, filters)
            data_values, error_values, data_rows, error_rows, product, total, biases_total, ones = cut(
                worker,
                self.dtype,
                (n, *shape, n, channels),
                (n, *shape, n, filters),
                data_seen,
                error_seen,
                (n, n, filters, channels),
                (n, n, filters, channels),
                (1, filters),
                (1, chunks.most_tiles),
            )
            biases_total[...] = 0
            ones[...] = 1
            for band in chunks.bands():
                transform = evaluate(self._b, data, data_y, data_x, band, data_rows, data_values)
                transform_error = evaluate(self._a, error, error_y, error_x, band, error_rows, error_values)
                for part in chunks.parts(start, stop):
                    tiles = chunks.tiles(part, band)
                    errors = _points(error_values, tiles)
                    transform(part)
                    transform_error(part)
                    first = worker not in sums
                    target = total if first else product
                    np.matmul(errors.transpose(0, 1, 3, 2), _points(data_values, tiles), out=target)
                    if not first:
                        total += product
                    biases_total += ones[:, :tiles] @ errors[_ONE, _ONE]
                    sums[worker] = total, biases_total

        share(work, len(data))
        # In the order of the workers, not of their arrival: the same data give the same bits.
        totals = [sums[worker] for worker in sorted(sums)]
        grads = weights_grads.reshape(filters, -1, channels)
        g_transposed = self._g.T.copy()

        def finish(worker: int, start: int, stop: int) -> None:
            values = totals[0][0].reshape(n * n, filters, channels)[:, start:stop]
            for total, _ in totals[1:]:
                values += total.reshape(n * n, filters, channels)[:, start:stop]
            np.matmul(g_transposed, values.transpose(1, 0, 2), out=grads[start:stop])

        share(finish, filters, least=_LEAST_WEIGHTS // channels)
        biases_grads[...] = sum(biases_total[0] for _, biases_total in totals)

    def _chunks(self, images: int, height: int, width: int) -> Chunks:
        """Return the chunks of some images with outputs of height × width pixels."""
        channels = self.data_shape[2] + self.filters
        tiles = max(_FEWEST_TILES, _CHUNK_BYTES // (self._n**2 * channels * self.dtype.itemsize))
        return Chunks(images, -(-height // self._m), -(-width // self._m), tiles)


def _best_tile(height: int, width: int, taps: int) -> int:
    """Return the m of F(m×m, taps×taps) with the fewest multiplications for outputs of height × width pixels.

    Large tiles save most, unless they hang over the edges; of equals the smallest has the smallest rounding errors.
    """
    sizes = range(2, MOST_POINTS - taps + 2)
    return min(sizes, key=lambda m: -(-height // m) * -(-width // m) * (m + taps - 1) ** 2)


def _tilings(images: Array, width: int, step: int, padding: Pair) -> tuple[Tiling, Tiling]:
    """Return how the images are tiled along y and x."""
    _, y, x, _ = images.shape
    return Tiling(y, width, step, padding[0]), Tiling(x, width, step, padding[1])


def _points(values: Array, tiles: int) -> Array:
    """Return the values (n, samples, rows, tiles, n, c) as matrices (n, n, tiles, c), one for each point."""
    n, channels = values.shape[0], values.shape[-1]
    return values.reshape(n, -1, n, channels)[:, :tiles].transpose(0, 2, 1, 3)
