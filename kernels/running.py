"""Running statistics: what BN keeps of a training's batches for inference."""

from typing import Any, NamedTuple

Array = Any  # numpy.ndarray or cupy.ndarray


class Running(NamedTuple):
    """Running mean and variance of each channel, and how many batches have moved them.

    mean, variance: (c,); updates: (1,), whole numbers, the count n of batches, which ends at ``window``. A batch moves
    mean and variance by 1/(n + 1) towards its own mean and unbiased variance; one of a single row, which has none,
    leaves them.
    """

    mean: Array
    variance: Array
    updates: Array
    window: int
