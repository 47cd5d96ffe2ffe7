"""Arrays for operations: of one number type, in the processor's byte order, C-contiguous and aligned."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.errors import MinidlError


def array(values: Any, dtype: Any) -> NDArray[Any]:
    """Return real numbers of any type and layout as an array for operations, without a copy if they are one already.

    values: an array, or anything that NumPy can make an array of. Raises MinidlError unless they are real numbers.
    """
    if type(values) is np.ndarray and values.dtype == dtype and values.flags.carray:
        return values
    return np.require(numbers(values), dtype, ("C", "ALIGNED", "WRITEABLE", "ENSUREARRAY"))


def numbers(values: Any) -> NDArray[Any]:
    """Return real numbers as an array of their own type; raise MinidlError for anything else."""
    try:
        found = np.asanyarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # lists of unequal lengths, another framework's tensors
        raise MinidlError(f"a {type(values).__name__} cannot be read as an array of numbers ({error})") from error
    check_real(found.dtype)
    check_unmasked(found)
    return found


def check_unmasked(values: Any) -> None:
    """Raise MinidlError for a masked array of NumPy's with elements that are masked: these have no value."""
    if np.ma.is_masked(values):
        raise MinidlError("elements of the array are masked; give each a value, as array.filled(0) does")


def check_real(dtype: Any) -> None:
    """Raise MinidlError unless elements of a type are real numbers: integers and floats of any width, truth values."""
    # A type that another package brings, such as bfloat16, has the kind of raw bytes, but can be cast.
    if not (dtype.kind in "biuf" or (dtype.kind == "V" and np.can_cast(dtype, np.float64))):
        raise MinidlError(f"the elements of the array are of type {dtype}, no real numbers; convert them to floats")
