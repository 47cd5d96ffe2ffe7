"""Tables that describe all parameters of a net to the kernels of SGD and Adam (update.cuh), on the GPU.

A parameter is cut into pieces, one for each block: a piece is a whole filter if GC or WC subtracts the mean of each
filter, otherwise PIECE elements. So one launch updates all parameters.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import cupy
import numpy as np

from minidl.kernels.errors import MinidlError
from minidl.kernels.parameter_state import ParameterState

Array = Any
PIECE = 4096  # elements of a block, if no means of filters are subtracted
# The structures Parameter and Piece of update.cuh.
PARAMETER = np.dtype(
    [("weights", "u8"), ("grads", "u8"), ("moments", "u8", 2), ("weight_decay", "f8"), ("gc", "i4"), ("wc", "i4")]
)
PIECES = np.dtype([("parameter", "i8"), ("start", "i8"), ("length", "i8")])


class Row(NamedTuple):
    """What the tables say about a parameter: addresses, settings, and sizes in elements.

    piece: the length of its pieces, of which the last may be shorter.
    """

    weights: int
    grads: int
    moments: tuple[int, int]
    weight_decay: float
    gc: bool
    wc: bool
    size: int
    piece: int


def tables(parameters: Sequence[ParameterState]) -> tuple[Array, Array, int]:
    """Return the table of the parameters, the table of the pieces and the number of pieces.

    Raises MinidlError for parameters of different number types, since one kernel updates all.
    """
    if len(types := {parameter.weights.dtype for parameter in parameters}) > 1:
        raise MinidlError(
            f"on a GPU an update takes parameters of one number type, not of {' and '.join(sorted(map(str, types)))}; "
            "make an optimizer for each"
        )
    return _upload(tuple(_row(parameter) for parameter in parameters), cupy.cuda.runtime.getDevice())


def _row(parameter: ParameterState) -> Row:
    whole, size = parameter.gc or parameter.wc, parameter.weights.size
    weights, grads, *moments = (array.data.ptr for array in (parameter.weights, parameter.grads, *parameter.moments))
    return Row(
        weights,
        grads,
        (moments[0], moments[-1]),
        parameter.weight_decay,
        parameter.gc,
        parameter.wc,
        size,
        size // len(parameter.weights) if whole else PIECE,
    )


@cache  # without a limit, because a recorded step reads the same tables again
def _upload(rows: tuple[Row, ...], device: int) -> tuple[Array, Array, int]:
    pieces = [
        (i, start, min(row.piece, row.size - start))
        for i, row in enumerate(rows)
        for start in range(0, row.size, row.piece)
    ]
    arrays = np.array([row[:6] for row in rows], PARAMETER), np.array(pieces, PIECES)
    of_parameters, of_pieces = (cupy.asarray(array.view(np.uint8)) for array in arrays)
    return of_parameters, of_pieces, len(pieces)
