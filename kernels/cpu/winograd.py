"""Convolution in fewer multiplications: Winograd's algorithm, with products that stay in the cache.

The output is divided into tiles of m×m pixels. Each depends on n×n pixels of the data, with n = m + r − 1 for filters
of r×r. Tiles of data d, filters g and tiles of error e are transformed to n×n points (``cook_toom.py`` has A, B, G):

    V = B d Bᵀ        U = G g Gᵀ        Ê = A e Aᵀ

At each point (i, j), the transformed tiles are a matrix (tiles, in) and the transformed filters a matrix (in, out).
The convolution becomes n² matrix products, and each output pixel costs n²/m² multiplications per pair of channels
instead of r² (2.25 instead of 9 for F(4×4, 3×3)):

    forward       out tile  = Aᵀ (V·U) A + biases
    comp_grads    grads     = Gᵀ (Êᵀ·V) G,     the adjoint of forward with respect to g
    backward      forward's code: the adjoint with respect to d is a correlation of the error with the filters rotated
                  by 180°, from out to in. The direct adjoint Bᵀ (Ê·Uᵀ) B costs as much and would overlap in its
                  outputs.

The row of A for the point 1 is all ones. So biases that are added at the point (1, 1) are added to every pixel, and the
transformed errors at (1, 1) are the sums for the gradients of the biases.

All this is for stride 1. With a larger stride, the phases of the images (see phases.py) replace the images, and their
channels lie side by side in V.

The work is divided among the workers and into chunks (chunks.py), so that V and V·U stay in a core's own cache.
Sources: Winograd 1980; Lavin and Gray 2016.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.convolution import Convolution, Geometry, Pair
from minidl.kernels.cpu.chunks import FILTERS, IMAGES, ROWS, Band, Chunks, Work, shared_by
from minidl.kernels.cpu.constants import is_constant
from minidl.kernels.cpu.cook_toom import transforms
from minidl.kernels.cpu.lines import per_line
from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.ones import ones
from minidl.kernels.cpu.phases import phases
from minidl.kernels.cpu.program import Program, Recorder
from minidl.kernels.cpu.scratch import carve
from minidl.kernels.cpu.threads import shares
from minidl.kernels.cpu.tiles import Plane, Tiling, transform_tiles, write_tiles
from minidl.kernels.cpu.winograd_filters import FilterTransform
from minidl.kernels.errors import MinidlError

Array = NDArray[Any]

_ONE = 1  # the index of the point 1 among the points of A, B and G
_CHUNK_BYTES = 2 << 20  # of the transformed data and outputs of a chunk; half or a quarter was as fast in measurements
_FEWEST_ROWS = 4  # of tiles of a single image, whose rows the workers share
_FEWEST_TILES = 32  # in a chunk, if a worker has as many, because smaller matrix products are slow
# The cost of transforming the weights, in tiles of an image; measured with 10 and 50 images and 64 to 512 channels.
_TILES_PER_WEIGHTS = 4
_MOST_TAPS = 5
# Along an edge of a tile. 6 have three times the rounding error, and the nets (b), (c) and (b-cifar) gain 4 % at most.
_MOST_OUTPUTS = 4


class Winograd(Convolution):
    """Convolution in tiles of F(m×m, r×r); arguments and methods are those of Convolution.

    Raises MinidlError unless filters and stride are square, with 2 to 5 taps in a phase.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        if not self.applies(self.kernel_size, self.stride):
            raise MinidlError(
                f"Winograd's algorithm is for square filters with 2 to {_MOST_TAPS} taps for each step of a square "
                f"stride, not {self.kernel_size[0]}×{self.kernel_size[1]} with {self.stride[0]}×{self.stride[1]}; use "
                "im2col here"
            )
        taps = -(-self.kernel_size[0] // self.stride[0])
        self._phases = phases(self.stride, self.padding)
        self._m = _best_tile(*self.output_shape[:2], taps)
        self._n = self._m + taps - 1
        a, b, g = transforms(self._m, taps)
        self._a, self._b = a.astype(self.dtype), b.astype(self.dtype)
        self._a_transposed = self._a.T.copy()
        self._nothing = np.zeros(max(self.filters, self.data_shape[2] * len(self._phases)), self.dtype)
        self._recorder = Recorder()
        self._filter_transform = FilterTransform(g, self.kernel_size, self._phases, self.dtype)
        on_phases = f" on {len(self._phases)} phases" if len(self._phases) > 1 else ""
        self.name = f"winograd F({self._m}×{self._m}, {taps}×{taps}){on_phases}"

    @staticmethod
    def applies(kernel_size: Pair, stride: Pair) -> bool:
        """Return whether the algorithm supports such filters and strides."""
        (y, x), (step_y, step_x) = kernel_size, stride
        return y == x and step_y == step_x and 2 <= -(-y // step_y) <= _MOST_TAPS

    def cost(self, images: int) -> float:
        """Return the time of the forward pass of ``images`` images, in units of one multiplication of the direct one.

        The weights are transformed already.
        """
        channels, filters, tiles = self.data_shape[2] * len(self._phases), self.filters, self._tiles(images)
        weights, numbers = channels * filters, tiles * (channels + filters)
        per_product, per_number, per_weight = current().WINOGRAD_COSTS
        return self._n**2 * (per_product * tiles * weights + per_number * numbers + per_weight * weights)

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); relu: the maximum of that and 0."""
        inputs = self._of_phases(data, self._n, (0, 0))
        self._correlate(inputs, weights, False, biases, [_tiled(out, self._m, self._m, (0, 0))], relu)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        # The first tile of errors begins r − 1 pixels before the first pixel of the phase that begins first.
        first_y, first_x = (min(phase.padding[axis] for phase in self._phases) for axis in (0, 1))
        before = self._n - self._m
        inputs = [_tiled(error, self._n, self._m, (before - first_y, before - first_x))]
        self._correlate(inputs, weights, True, None, self._of_phases(out, self._m, (first_y, first_x)))

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,).

        The workers share the images, or the rows of tiles of a single one, and add up their sums; or, of few tiles or
        rows, they share the filters.
        """
        m, n, channels = self._m, self._n, self.data_shape[2] * len(self._phases)
        planes = self._of_phases(data, n, (0, 0))
        down, across = (-(-size // m) for size in self.output_shape[:2])
        shared = shared_by(len(data), down, _FEWEST_ROWS, self._are_few(len(data)))
        work = Work(len(data), down, self.filters, per_line(self.dtype), shared)
        fewest = 1 if shared == IMAGES else work.fewest(self._products(len(data)))

        def scratch(worker: int, start: int, stop: int) -> tuple[Chunks, list[Array]]:
            (first, last), rows, filters, _ = work.part(start, stop)
            chunks, own = self._chunks(last - first, rows, across), filters.stop - filters.start
            shape = chunks.samples, chunks.height, chunks.across
            transformed = (n, *shape, n, channels), (n, *shape, n, own)
            return chunks, carve(worker, self.dtype, *transformed, (n, n, own, channels), (1, own))

        def write(worker: int, start: int, stop: int) -> list[Program]:
            (first, last), _, filters, _ = work.part(start, stop)
            error_planes = [_tiled(error[..., filters], m, m, (0, 0))]
            chunks, (transformed_data, transformed_error, total, biases_total) = scratch(worker, start, stop)
            several = chunks.count(last - first) > 1
            beginning, end = Program(), Program()
            beginning.zero(biases_total)
            if several:
                beginning.zero(total)
            programs = [beginning]
            for program, band in chunks.programs(first, last):
                tiles = chunks.tiles(program.samples, band)
                e_hat, v = _points(transformed_error, tiles), _points(transformed_data, tiles)
                transform_tiles(program, self._b, planes, band, transformed_data)
                transform_tiles(program, self._a, error_planes, band, transformed_error)
                program.product(e_hat.transpose(0, 1, 3, 2), v, total, accumulate=several)
                program.product(ones(tiles, self.dtype)[None], e_hat[_ONE, _ONE], biases_total, accumulate=True)
                programs.append(program)
            if shared == FILTERS:
                self._filter_transform.add_adjoint_to(end, total, weights_grads[filters])
                end.copy(biases_total, biases_grads[None, filters])
            return [*programs, end]

        if shared == FILTERS:
            self._recorder.run(work.units, (error, data, weights_grads, biases_grads), write, fewest)
            return
        self._recorder.run(work.units, (error, data), write, fewest)
        totals, biases_totals = zip(*(scratch(*part)[1][-2:] for part in shares(work.units, fewest)), strict=True)
        self._filter_transform.adjoint(list(totals), weights_grads)
        biases_grads[...] = sum(total[0] for total in biases_totals)

    def _correlate(
        self,
        inputs: list[Plane],
        weights: Array,
        rotated: bool,
        biases: Array | None,
        outputs: list[Plane],
        relu: bool = False,
    ) -> None:
        """Write Aᵀ (V·U) A + biases into the planes ``outputs``; rotated: with the weights rotated, from out to in.

        relu: write the maximum of that and 0. The workers share the images, the rows of tiles of a single one or, of
        few tiles or rows, the channels of the output; then each transforms its own weights, unless these are constants.
        """
        n, images, channels = self._n, len(outputs[0].images), outputs[0].images.shape[-1]
        down, across = self._grid(outputs)
        shared = shared_by(images, down, _FEWEST_ROWS, self._are_few(images))
        if len(outputs) > 1:  # phases: each has channels of its own
            shared = IMAGES if images > 1 else ROWS
        by_channels = shared == FILTERS
        work = Work(images, down, channels, per_line(self.dtype), shared)
        transform, ready = self._filter_transform, None
        if is_constant(weights):
            ready = transform.kept(weights, rotated)
        elif not by_channels:
            ready = transform.transformed(weights, rotated)

        def write(worker: int, start: int, stop: int) -> list[Program]:
            (first, last), rows, some, lines = work.part(start, stop)
            planes = [plane._replace(images=plane.images[..., some]) for plane in outputs]
            chunks = self._chunks(last - first, rows, across)
            shape = (chunks.samples, chunks.height, chunks.across)
            shapes = [(n, *shape, n, sum(plane.images.shape[-1] for plane in side)) for side in (inputs, planes)]
            own = weights[..., some] if rotated else weights[some]
            own_shapes = transform.shapes(len(own), own.shape[-1], rotated) if ready is None else ((0,), (0,))
            u, turned, transformed_inputs, transformed_outputs = carve(worker, self.dtype, *own_shapes, *shapes)
            programs = [Program()]
            if ready is None:
                transform.add_to(programs[0], own, u, turned, rotated)
                matrices = transform.as_matrices(u, rotated)
            else:
                matrices = ready[lines] if by_channels else ready
            for program, band in chunks.programs(first, last):
                tiles = chunks.tiles(program.samples, band)
                v, products = _points(transformed_inputs, tiles), _points(transformed_outputs, tiles)
                transform_tiles(program, self._b, inputs, band, transformed_inputs)
                self._multiply(program, v, matrices, None if biases is None else biases[some], products)
                write_tiles(program, self._a_transposed, transformed_outputs, planes, band, relu)
                programs.append(program)
            return programs

        arrays = [inputs[0].images, outputs[0].images, weights if ready is None else ready]
        if biases is not None:
            arrays.append(biases)
        fewest = 1 if shared == IMAGES else work.fewest(self._products(images))
        self._recorder.run(work.units, arrays, write, fewest, variant=(rotated, relu))

    def _tiles(self, images: int) -> int:
        """Return how many tiles the outputs of some images have."""
        return images * prod(-(-size // self._m) for size in self.output_shape[:2])

    def _are_few(self, images: int) -> bool:
        """Return whether images have so few tiles that the transformed weights are over half of what is read.

        If the workers share the channels of the outputs, each transforms only its own weights, which then stay in its
        core's cache, but all images.
        """
        return self._tiles(images) < self._balanced()

    def _products(self, images: int) -> int:
        """Return how many multiplications the products of a pass make for some images."""
        return self._tiles(images) * self._n**2 * self.data_shape[2] * len(self._phases) * self.filters

    def _multiply(self, program: Program, v: Array, weights: Array, biases: Array | None, products: Array) -> None:
        """Append the instructions for V·U, plus the biases at the point (1, 1).

        Weights that are kept in lines are multiplied as windows, which reads the tiles in place.
        """
        if weights.ndim == 4:
            program.product(v, weights, products)
            if biases is not None:
                column = ones(v.shape[2], self.dtype)[:, None]
                program.product(column, biases[None], products[_ONE, _ONE], accumulate=True)
            return
        nothing = self._nothing[: products.shape[-1]]
        for i, j in np.ndindex(self._n, self._n):
            added = nothing if biases is None or (i, j) != (_ONE, _ONE) else biases
            windows = v[i, j][None, None, :, None, None]
            program.windows(windows, weights[:, i, j], added, products[i, j][None, None], False)

    def _of_phases(self, images: Array, width: int, first: Pair) -> list[Plane]:
        """Return the phases of images of the data's shape, divided into tiles of ``width`` pixels from ``first`` on."""
        return [
            _tiled(images[:, pixels[0], pixels[1]], width, self._m, (padding[0] - first[0], padding[1] - first[1]))
            for pixels, _, padding in self._phases
        ]

    def _grid(self, covered: list[Plane]) -> tuple[int, int]:
        """Return how many rows and columns of tiles cover all planes of outputs or errors."""
        y = max(plane.y.size + plane.y.padding for plane in covered)
        x = max(plane.x.size + plane.x.padding for plane in covered)
        return -(-y // self._m), -(-x // self._m)

    def _chunks(self, images: int, rows: Band, across: int) -> Chunks:
        """Return the chunks of some rows of ``across`` tiles of some images."""
        channels, filters = self.data_shape[2] * len(self._phases), self.filters
        fitting = _CHUNK_BYTES // (self._n**2 * (channels + filters) * self.dtype.itemsize)
        # Each chunk reads all transformed weights, so they should be at most half as many as its own numbers.
        return Chunks(images, rows, across, max(_FEWEST_TILES, self._balanced(), fitting))

    def _balanced(self) -> int:
        """Return the number of tiles that have twice as many numbers, of data and outputs, as the weights have."""
        channels, filters = self.data_shape[2] * len(self._phases), self.filters
        return 2 * channels * filters // (channels + filters)


def _best_tile(height: int, width: int, taps: int) -> int:
    """Return the m of F(m×m, taps×taps) with the least work for outputs of height × width pixels.

    Large tiles save most multiplications, unless they extend beyond the edges. But they turn each weight into n²/taps²
    values, which costs as much as several tiles. Of equal ones, the smallest is taken, as it has the smallest rounding
    errors.
    """
    sizes = range(2, _MOST_OUTPUTS + 1)
    return min(sizes, key=lambda m: (-(-height // m) * -(-width // m) + _TILES_PER_WEIGHTS) * (m + taps - 1) ** 2)


def _tiled(images: Array, width: int, step: int, padding: Pair) -> Plane:
    """Return images with their tiles, one every ``step`` pixels."""
    y, x = (Tiling(size, width, step, pad) for size, pad in zip(images.shape[1:], padding, strict=False))
    return Plane(images, y, x)


def _points(transformed: Array, tiles: int) -> Array:
    """Return transformed tiles (n, samples, rows, tiles, n, c) as matrices (n, n, tiles, c), one for each point."""
    n, channels = transformed.shape[0], transformed.shape[-1]
    return transformed.reshape(n, -1, n, channels)[:, :tiles].transpose(0, 2, 1, 3)
