"""User-defined functions and classes: which arguments they take, and whether they had a name before."""

import inspect
from typing import Any

from minidl.kernels.errors import MinidlError


def name_of(hook: Any) -> str:
    """Return the name of a hook: of a function its name, of anything else its str()."""
    return getattr(hook, "__name__", None) or str(hook)


def is_built_in(layer: Any) -> bool:
    """Return whether the class of a layer, or of a net, is minidl's own, and not user-defined."""
    return type(layer).__module__.startswith("minidl.")


def check_arguments(name: str, function: Any, arguments: str) -> None:
    """Raise MinidlError, in which ``name`` calls the function, unless it can be called with "(as, these)"."""
    if not callable(function):
        raise MinidlError(f"{name} needs a function {arguments}, not {function!r}")
    try:
        inspect.signature(function).bind(*arguments.split(","))
    except TypeError:
        raise MinidlError(f"{name} calls {name_of(function)}{arguments}, which takes other arguments") from None
    except ValueError:  # a function of C may have no signature
        return


def described(method: str, error: Exception) -> str:
    """Return a sentence on a user-defined method of a layer that describes it to another program and failed."""
    return f"{method} failed with {type(error).__name__}: {error}; docs/use.md says what it takes and returns"


def is_defined_again(earlier: Any, function: Any) -> bool:
    """Return whether a function comes from a definition that was run again, as happens in a notebook.

    It then has the same name in the same module. earlier: the earlier function, perhaps in a wrapper.
    """
    if not callable(earlier) or not callable(function):
        return False
    first, named = inspect.unwrap(earlier), str(getattr(function, "__name__", "")).isidentifier()  # no lambda is
    return named and first is not function and _home(first) == _home(function)


def _home(function: Any) -> tuple[Any, Any]:
    return getattr(function, "__module__", None), getattr(function, "__qualname__", None)
