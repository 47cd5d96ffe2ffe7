"""Plays a recorded step back."""

from collections.abc import Callable, Hashable


def repeat(function: Callable[[], None], version: Callable[[], Hashable]) -> Callable[[], None]:
    """Return the function."""
    return function
