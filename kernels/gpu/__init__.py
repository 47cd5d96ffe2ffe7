"""The operations on a GPU: each module launches the kernels of the CUDA source beside its NumPy namesake."""

import cupy as xp

from minidl.kernels.gpu.graph import repeat

__all__ = ["about", "host", "repeat", "xp"]

host = xp.asnumpy


def about() -> str:
    """Return the GPU's name, and how much of its memory is in use."""
    device = xp.cuda.Device()
    name = xp.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    free, total = device.mem_info
    return f"{name}, {(total - free) / 1e9:.1f} of {total / 1e9:.1f} GB in use"
