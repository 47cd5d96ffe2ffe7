"""Argument types: each function reads one kind of value from its text, or says what the value must be.

Every option with a value has one of these types, so that a wrong value is refused before anything is
computed or written.
"""

import argparse
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from minidl.words import CONTROL, either, meant

LARGEST = (1 << 31) - 1  # whole number
WORKERS, SIDE = 1_024, 8_192  # the most threads (or runs at a time), and the most pixels of a side
NAME, PATH = 255, 4_095  # bytes that a name and a path may have


def _whole(text: str, low: int, high: int = LARGEST) -> int:
    digits = text.strip()
    value = int((digits.lstrip("0") or "0")[:20]) if digits.isdecimal() else -1
    if value < low:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {low}, not {text}")
    if value > high:
        raise argparse.ArgumentTypeError(f"must be a whole number of at most {high:,}, not {text}")
    return value


positive = partial(_whole, low=1)
natural = partial(_whole, low=0)
workers = partial(_whole, low=1, high=WORKERS)
side = partial(_whole, low=1, high=SIDE)
seeds = partial(_whole, low=1, high=10_000)
table = partial(_whole, low=2, high=5)


def part(text: str) -> tuple[int, int]:
    """Read a part and the number of parts, "1/8" to "8/8"."""
    number, mark, parts = text.partition("/")
    if not mark:
        raise argparse.ArgumentTypeError(f"must be a part and the number of parts, such as 2/8, not {text}")
    both = positive(number), positive(parts)
    if both[0] > both[1]:
        raise argparse.ArgumentTypeError(f"must be from 1/{parts} to {parts}/{parts}, not {text}")
    return both


def one_of(*known: str) -> Callable[[str], str]:
    """Return a function that reads one of the known words."""

    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"must be {either(known)}, not {text!r}{meant(text, known)}")
        return text

    return read


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


def words(text: str) -> str:
    """Read a text of at least one word."""
    if not text.strip() or CONTROL.search(text):
        raise argparse.ArgumentTypeError(f"must be words that can be printed, not {text!r}")
    return text


def place(text: str) -> str:
    """Read the path of a file or a folder, as text."""
    try:
        parts = [os.fsencode(part) for part in text.split("/")]
    except UnicodeEncodeError:  # a character that no file name can have
        parts = []
    if not text.strip() or any(character < " " for character in text) or not parts:
        raise argparse.ArgumentTypeError(f"must be a path that can be printed, not {text!r}")
    if max(map(len, parts)) > NAME or sum(map(len, parts)) + len(parts) > PATH:
        raise argparse.ArgumentTypeError(
            f"must be a path of names of at most {NAME} bytes, {PATH:,} in all, not {text}"
        )
    return text


def path(text: str) -> Path:
    """Read the path of a file or a folder."""
    return Path(place(text))
