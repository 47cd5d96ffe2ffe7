"""How pooling kernels are named for their windows: see windows.cuh."""

KNOWN = (2, 2), (3, 2)  # sizes and strides that the compiler knows


def kind(size: int, stride: int, unit: int) -> str:
    """Return the end of the kernel's name for square windows where a thread takes ``unit`` channels."""
    if unit == 1:
        return "one"
    return f"vector_{size}_{stride}" if (size, stride) in KNOWN else "vector"
