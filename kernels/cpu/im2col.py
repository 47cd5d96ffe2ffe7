"""Convolution as one matrix product: im2col, in chunks that stay in the cache.

Each output pixel depends on a window of the data. If the windows are written as the rows of a matrix, which is called
the *columns*, the convolution becomes products of plain matrices (Chellapilla, Puri and Simard 2006):

    forward      out     = columns · weightsᵀ + biases
    backward     columns = error · weights,   each window added back to its place
    comp_grads   grads   = errorᵀ · columns

The columns are up to ky·kx times as large as the data, so they are written for a few images, or a few rows of one
image, at a time. If an image is so small that a part of the filter meets only padding, this part is left out: on an
image of one pixel, a 3×3 convolution is a 1×1 convolution.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from minidl.kernels.convolution import Convolution, Geometry
from minidl.kernels.cpu.chunks import FILTERS, IMAGES, Band, Chunks, Work, overlap, shared_by
from minidl.kernels.cpu.constants import Kept, is_constant
from minidl.kernels.cpu.lines import per_line
from minidl.kernels.cpu.ones import ones
from minidl.kernels.cpu.program import Operand, PerImage, Program, Recorder, part
from minidl.kernels.cpu.scratch import carve
from minidl.kernels.cpu.threads import shares

Array = NDArray[Any]

_CHUNK_BYTES = 1 << 20  # of columns, as measured; about the size of an L2 cache
_MIN_PER_THREAD = 1 << 17  # weights whose gradients, one for each worker, a thread adds up
_FEWEST_PIXELS = 128  # of a chunk, if a worker has as many: reading the weights for fewer takes too long
_FEWEST_ROWS = 8  # of a single image whose rows the workers share
_FEWEST_TO_TRANSPOSE = 128  # pixels for which the weights are transposed, because BLAS is slower with transposed ones


class Im2col(Convolution):
    """Convolution by im2col in chunks, and matrix products; arguments and methods are those of Convolution."""

    name = "im2col"

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        y, x = (self._useful(axis) for axis in (0, 1))
        self._taps = (slice(None), y, x)
        self._reach = (y.stop - y.start, x.stop - x.start)
        self._offset = (self.padding[0] - y.start, self.padding[1] - x.start)
        self._recorder, self._matrices = Recorder(), Kept()
        # Whether the windows lie side by side, without gaps or padding, so that each pixel belongs to exactly one.
        covered = tuple(reach * count for reach, count in zip(self._reach, self.output_shape, strict=False))
        self._side_by_side = self._reach == self.stride and self._offset == (0, 0) and covered == self.data_shape[:2]

    def cost(self, images: int) -> float:
        """Return how many multiplications the forward pass of some images makes."""
        return images * prod(self.output_shape) * prod(self._reach) * self.data_shape[2]

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); relu: the maximum of that and 0.

        The workers share the images, the rows of a single image or, of few pixels or rows, the filters.
        """
        work, rights = self._work(len(data), self._are_few(len(data))), self._matrix(weights).T
        turn = len(data) * prod(self.output_shape[:2]) >= _FEWEST_TO_TRANSPOSE

        def write(worker: int, start: int, stop: int) -> list[Program]:
            (first, last), rows, some, _ = work.part(start, stop)
            chunks, right = self._chunks(last - first, rows), rights[:, some]
            padded, columns, turned = carve(worker, self.dtype, *self._shapes(chunks), right.shape if turn else (0, 0))
            programs = [Program()]
            if turn:
                programs[0].copy(right, turned)
                right = turned
            for program, band in chunks.programs(first, last):
                target = self._pixels(out, band, some)
                program.product(self._gather(program, data, band, padded, columns), right, target)
                tiles = chunks.tiles(program.samples, band)
                program.product(ones(tiles, self.dtype)[:, None], biases[None, some], target, accumulate=True)
                if relu:
                    program.relu(target)
                programs.append(program)
            return programs

        fewest = 1 if work.shared == IMAGES else work.fewest(int(self.cost(len(data))))
        self._recorder.run(work.units, (data, rights, biases, out), write, fewest, variant=relu)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        matrix = self._matrix(weights)

        def write(worker: int, start: int, stop: int) -> list[Program]:
            chunks = self._chunks(stop - start)
            padded, columns = carve(worker, self.dtype, *self._shapes(chunks))
            programs = []
            if not self._side_by_side:
                programs.append(Program())
                programs[0].zero(out[start:stop].reshape(-1, out.shape[-1]))
            for program, band in chunks.programs(start, stop):
                windows = columns[: chunks.tiles(program.samples, band)]
                program.product(self._pixels(error, band), matrix, windows)
                self._scatter(program, windows, band, padded, out)
                programs.append(program)
            return programs

        self._recorder.run(len(error), (error, matrix, out), write)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,).

        The workers share the images, or the rows of a single image, and add up their sums; or, of few pixels or rows,
        they share the filters.
        """
        work = self._work(len(data), self._are_few(len(data)))
        fewest = 1 if work.shared == IMAGES else work.fewest(int(self.cost(len(data))))

        def scratch(worker: int, start: int, stop: int) -> list[Array]:
            (first, last), rows, some, _ = work.part(start, stop)
            shapes, filters = self._shapes(self._chunks(last - first, rows)), some.stop - some.start
            return carve(worker, self.dtype, *shapes, (filters, shapes[1][1]), (1, filters))

        def write(worker: int, start: int, stop: int) -> list[Program]:
            (first, last), rows, some, _ = work.part(start, stop)
            chunks = self._chunks(last - first, rows)
            padded, columns, total, biases_total = scratch(worker, start, stop)
            beginning, end = Program(), Program()
            beginning.zero(total)
            beginning.zero(biases_total)
            programs = [beginning]
            for program, band in chunks.programs(first, last):
                source = self._pixels(error, band, some)
                windows = self._gather(program, data, band, padded, columns)
                program.product(source._replace(transposed=True), windows, total, accumulate=True)
                tiles = chunks.tiles(program.samples, band)
                program.product(ones(tiles, self.dtype)[None], source, biases_total, accumulate=True)
                programs.append(program)
            if work.shared == FILTERS:
                self._write_grads(end, [total], weights_grads[some])
                end.copy(biases_total, biases_grads[None, some])
            return [*programs, end]

        if work.shared == FILTERS:
            self._recorder.run(work.units, (error, data, weights_grads, biases_grads), write, fewest)
            return
        self._recorder.run(work.units, (error, data), write, fewest)
        # The workers' sums are added in a fixed order, so that the same data give the same bits.
        totals, biases_totals = zip(*(scratch(*share)[2:] for share in shares(work.units, fewest)), strict=True)
        biases_grads[...] = sum(total[0] for total in biases_totals)

        def sum_up(worker: int, start: int, stop: int) -> list[Program]:
            program = Program()
            self._write_grads(program, [total[start:stop] for total in totals], weights_grads[start:stop])
            return [program]

        self._recorder.run(self.filters, (weights_grads, *totals), sum_up, _MIN_PER_THREAD // weights_grads[0].size + 1)

    def _write_grads(self, program: Program, totals: list[Array], grads: Array) -> None:
        """Append the instructions that write the sum of some totals to the gradients of some filters."""
        useful = grads[self._taps]
        if useful.shape != grads.shape:
            program.zero(grads.reshape(len(grads), -1))
        for k, total in enumerate(totals):
            program.copy(total.reshape(useful.shape), useful, accumulate=k > 0)

    def _work(self, images: int, few: bool) -> Work:
        """Return the work on some images; few: whether they have so few pixels that the workers share the filters."""
        y, _, filters = self.output_shape
        return Work(images, y, filters, per_line(self.dtype), shared_by(images, y, _FEWEST_ROWS, few))

    def _are_few(self, images: int) -> bool:
        """Return whether images have so few output pixels that the weights are over half of what is read.

        If the workers share the filters, each reads and writes only its own weights, but gathers all windows.
        """
        columns = prod(self._reach) * self.data_shape[2]
        return images * prod(self.output_shape[:2]) * (columns + self.filters) < columns * self.filters

    def _useful(self, axis: int) -> slice:
        """Return the positions of the filter that meet the image anywhere, or one position if none does."""
        size, outputs = self.data_shape[axis], self.output_shape[axis]
        step, pad = self.stride[axis], self.padding[axis]
        taps = range(self.kernel_size[axis])
        hits = [tap for tap in taps if any(0 <= at * step + tap - pad < size for at in range(outputs))] or [0]
        return slice(hits[0], hits[-1] + 1)

    def _matrix(self, weights: Array) -> Array:
        """Return the useful part of the weights as a matrix (out, ky·kx·in)."""
        if weights[self._taps].shape == weights.shape:
            return weights.reshape(self.filters, -1)
        if is_constant(weights):  # a replay runs only programs, so the matrix must stay where it is
            return self._matrices.of(weights, lambda given: given[self._taps].reshape(self.filters, -1).copy())
        useful = weights[self._taps]
        (matrix,) = carve("weights", self.dtype, useful.shape)
        matrix[...] = useful
        return matrix.reshape(self.filters, -1)

    def _chunks(self, images: int, rows: Band | None = None) -> Chunks:
        """Return the chunks of some images, or of some rows of them; a tile is an output pixel here."""
        y, x, _ = self.output_shape
        window_bytes = prod(self._reach) * self.data_shape[2] * self.dtype.itemsize
        return Chunks(images, rows or (0, y), x, max(_CHUNK_BYTES // window_bytes, _FEWEST_PIXELS))

    def _shapes(self, chunks: Chunks) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of the largest chunk's padded images and columns."""
        height, width = (
            (count - 1) * step + reach
            for count, step, reach in zip((chunks.height, chunks.across), self.stride, self._reach, strict=True)
        )
        channels = self.data_shape[2]
        return (chunks.samples, height, width, channels), (chunks.most_tiles, prod(self._reach) * channels)

    def _pixels(self, outputs: Array, band: Band, some: slice = slice(None)) -> PerImage:
        """Return a band of rows of outputs or errors as a matrix (pixels, out), or ``some`` of its columns."""
        y, x, _ = self.output_shape
        pixels = outputs.reshape(-1, self.filters)[:, some]
        return PerImage(pixels[band[0] * x :], y * x, None if band == (0, y) else (band[1] - band[0]) * x)

    def _see(self, program: Program, data: Array, band: Band, padded: Array) -> Operand:
        """Return the overlapping windows of a band of output rows; append instructions that pad images, if needed."""
        padded, inside, source = self._region(program, band, padded)
        if padded[inside].shape == padded.shape:
            return PerImage(self._windows(data[source], band))
        program.zero(padded.reshape(-1, padded.shape[-1]))
        program.copy(PerImage(data[source]), padded[inside])
        return self._windows(padded, band)

    def _gather(self, program: Program, data: Array, band: Band, padded: Array, columns: Array) -> Operand:
        """Append the instructions that write the columns of a band of output rows; return them (pixels, ky·kx·in)."""
        windows = self._see(program, data, band, padded)
        if isinstance(windows, PerImage) and windows.array.flags.c_contiguous:
            return PerImage(windows.array.reshape(-1, columns.shape[1]), prod(windows.array.shape[1:3]))
        shape = part(windows, 0, program.samples).shape
        columns = columns[: prod(shape[:3])]
        program.copy(windows, columns.reshape(shape))
        return columns

    def _scatter(self, program: Program, columns: Array, band: Band, padded: Array, out: Array) -> None:
        """Append the instructions that add the columns of a band of output rows to ``out``: the adjoint of gather."""
        padded, inside, target = self._region(program, band, padded)
        if self._side_by_side:
            places = self._windows(out[target], band)
            program.copy(columns.reshape(program.samples, *places.shape[1:]), PerImage(places))
            return
        program.zero(padded.reshape(-1, padded.shape[-1]))
        height, width = band[1] - band[0], self.output_shape[1]
        windows = columns.reshape(program.samples, height, width, *self._reach, -1)
        step_y, step_x = self.stride
        for i, j in np.ndindex(self._reach):
            place = np.s_[:, i : i + step_y * height : step_y, j : j + step_x * width : step_x]
            program.copy(windows[:, :, :, i, j], padded[place], accumulate=True)
        program.copy(padded[inside], PerImage(out[target]), accumulate=True)

    def _windows(self, images: Array, band: Band) -> Array:
        """View images as the windows of a band of output rows, (samples, rows, x, ky, kx, in)."""
        shape = (len(images), band[1] - band[0], self.output_shape[1], *self._reach, images.shape[3])
        s, y, x, c = images.strides
        return as_strided(images, shape, (s, y * self.stride[0], x * self.stride[1], y, x, c))

    def _region(
        self, program: Program, band: Band, padded: Array
    ) -> tuple[Array, tuple[slice, ...], tuple[slice, ...]]:
        """Return the part of ``padded`` that a band needs, and the region that it shares with the images, in both."""
        (y, x, _), (offset_y, offset_x) = self.data_shape, self._offset
        height, width = (band[1] - band[0] - 1) * self.stride[0] + self._reach[0], padded.shape[2]
        top, left = band[0] * self.stride[0] - offset_y, -offset_x
        first_y, last_y = overlap(top, height, y)
        first_x, last_x = overlap(left, width, x)
        inside = np.s_[:, first_y - top : last_y - top, first_x - left : last_x - left]
        return padded[: program.samples, :height], inside, np.s_[:, first_y:last_y, first_x:last_x]
