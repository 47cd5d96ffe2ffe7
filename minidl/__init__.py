"""minidl: a from-scratch deep-learning mini-framework for studying where normalizations enter back-propagation."""

from minidl import kernels, models
from minidl.kernels.errors import MinidlError

__all__ = ["MinidlError", "__version__", "kernels", "models"]
__version__ = "0.1.0"
