"""minidl: a from-scratch deep-learning mini-framework for studying where normalizations enter back-propagation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidl import data, kernels, models
    from minidl.experiment import checkpoint
    from minidl.kernels.errors import MinidlError

__all__ = ["MinidlError", "__version__", "checkpoint", "data", "kernels", "models"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that ``import minidl`` takes no time and no module waits for those above it."""
    if name in ("data", "kernels", "models"):
        return import_module(f"minidl.{name}")
    if name == "checkpoint":
        return import_module("minidl.experiment.checkpoint")
    if name == "MinidlError":
        return import_module("minidl.kernels.errors").MinidlError
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
