"""Running statistics: the means and variances that BN collects in training for inference."""

from typing import Any, NamedTuple

Array = Any  # numpy.ndarray or cupy.ndarray


class Running(NamedTuple):
    """Running mean and variance of each channel, and the number of batches that have moved them.

    mean, variance: (c,); updates: (1,), the number n of batches as an integer, which stops at ``window``. A batch moves
    mean and variance by 1/(n + 1) towards its own mean and unbiased variance. A batch of a single row has no unbiased
    variance and changes nothing.
    """

    mean: Array
    variance: Array
    updates: Array
    window: int
