"""Numbers of a command line: each function reads one from its text, or says what it must be."""

import argparse
import math
from collections.abc import Callable


def positive(text: str) -> int:
    """Read a whole number from 1."""
    value = int(text) if text.strip().isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text}")
    return value


def natural(text: str) -> int:
    """Read a whole number from 0."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text}")
    return int(text)


def rate(text: str) -> float:
    """Read a number above 0."""
    return _real(text, lambda x: x > 0, "a number above 0")


def decay(text: str) -> float:
    """Read a number from 0."""
    return _real(text, lambda x: x >= 0, "a number of at least 0")


def _real(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"must be {what}, not {text}")
    return value
