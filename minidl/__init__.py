"""minidl: a from-scratch deep-learning mini-framework for studying where normalizations enter back-propagation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidl import data, kernels, models
    from minidl.experiment.saving import checkpoint
    from minidl.kernels.errors import MinidlError
    from minidl.models.registry import model
    from minidl.normalizations import normalization

__all__ = ["MinidlError", "__version__", "checkpoint", "data", "kernels", "model", "models", "normalization"]
__version__ = "0.2.0.dev0"

_MODULES = {
    "checkpoint": "minidl.experiment.saving.checkpoint",
    "data": "minidl.data",
    "kernels": "minidl.kernels",
    "models": "minidl.models",
}
_NAMES = {
    "MinidlError": "minidl.kernels.errors",
    "model": "minidl.models.registry",
    "normalization": "minidl.normalizations",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use: ``import minidl`` takes no time, and no module imports one above it."""
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
