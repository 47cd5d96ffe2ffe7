"""Convolution at inference with weights that do not change: im2col without the columns.

The innermost loop (numba_windows.py) reads the elements of the windows in the image itself, where windows overlap. So
only padded images have to be written, and the weights are read once, from one contiguous block. This matters if there
are few pixels: a layer of 512 filters for 512 channels of 4×4 pixels has 9 MB of weights and 1 MB of everything else.
The weights are kept in lines (lines.py), without the part of the filters that meets only padding.
"""

from math import prod
from typing import Any

from numpy.typing import NDArray

from minidl.kernels.convolution import Geometry
from minidl.kernels.cpu.chunks import Band, Chunks
from minidl.kernels.cpu.constants import Kept
from minidl.kernels.cpu.im2col import Im2col
from minidl.kernels.cpu.lines import in_lines
from minidl.kernels.cpu.program import PerImage, Program
from minidl.kernels.cpu.scratch import carve

Array = NDArray[Any]

_CHUNK_BYTES = 1 << 17  # of padded images in a chunk: read once for each line of filters, they should stay in the cache
_FEWEST_PIXELS = 96  # of a chunk, if a worker has as many: reading all weights for fewer takes too long


class Direct(Im2col):
    """Convolution that reads windows in place; forward takes a constant (constants.py) for weights."""

    name = "direct"

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self._kept = Kept()

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); relu: the maximum of that and 0.

        The workers share the images, the rows of a single image, or the filters if it has few rows.
        """
        lines = self._kept.of(weights, lambda constant: in_lines(constant[self._taps]))
        work = self._work(len(data), few=False)

        def write(worker: int, start: int, stop: int) -> list[Program]:
            (first, last), rows, some, own = work.part(start, stop)
            chunks = self._chunks_of(last - first, rows)
            (padded,) = carve(worker, self.dtype, self._shapes(chunks)[0])
            programs = []
            for program, band in chunks.programs(first, last):
                windows = self._see(program, data, band, padded)
                target = PerImage(out[:, slice(*band), :, some])
                program.windows(windows, lines[own], biases[some], target, relu)
                programs.append(program)
            return programs

        fewest = work.fewest(len(data) * prod(self.output_shape[:2]) * lines.size)
        self._recorder.run(work.units, (data, lines, biases, out), write, fewest, variant=relu)

    def _chunks_of(self, images: int, rows: Band) -> Chunks:
        """Return the chunks of some rows of some images; a tile is an output pixel here."""
        _, x, _ = self.output_shape
        pixel_bytes = prod(self.stride) * self.data_shape[2] * self.dtype.itemsize
        return Chunks(images, rows, x, max(_CHUNK_BYTES // pixel_bytes, _FEWEST_PIXELS))
