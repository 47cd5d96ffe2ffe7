"""Schema: the type and range of each value in a file; all values are checked before any is used."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minidl.experiment.cli.argument_types import LARGEST
from minidl.kernels.errors import MinidlError

SHOWN = 60  # the most characters of a value in a message


@dataclass(frozen=True)
class Kind:
    """A requirement for a value, in words, and the function that checks it."""

    words: str
    fits: Callable[[Any], bool]

    def __or__(self, other: "Kind") -> "Kind":
        """Return the kind of values that are one or the other."""
        return Kind(f"{self.words} or {other.words}", lambda value: self.fits(value) or other.fits(value))

    def wrong(self, name: str, value: Any) -> str:
        """Return what is wrong with the value of a name, or ""."""
        return "" if self.fits(value) else f"{name} must be {self.words}, not {shown(value)}"


def whole(least: int, most: int = LARGEST) -> Kind:
    """Return the kind of whole numbers from ``least`` to ``most``."""
    words = f"of at least {least}" if most == LARGEST else f"between {least} and {most:,}"
    return Kind(f"a whole number {words}", lambda value: _is(value, int) and least <= value <= most)


def number(words: str, fits: Callable[[float], bool]) -> Kind:
    """Return the kind of finite numbers that fit."""
    return Kind(words, lambda value: _is(value, int | float) and abs(value) < math.inf and fits(value))


COUNT = number("a whole number of at least 0", lambda x: x >= 0 and x == int(x))  # in a table, all numbers are floats
ABOVE = number("a number above 0", lambda x: x > 0)
FROM = number("a number of at least 0", lambda x: x >= 0)
SHARE = number("a number between 0 and 1", lambda x: 0 <= x <= 1)
PERCENT = number("a number between 0 and 100", lambda x: 0 <= x <= 100)
LOSS = Kind("a number of at least 0", lambda x: _is(x, int | float) and x >= 0)  # infinite if a net has diverged
NAN = Kind("nan", lambda value: isinstance(value, float) and math.isnan(value))
NOTHING = Kind("null", lambda value: value is None)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str) and "\0" not in value)
LIST = Kind("a list", lambda value: isinstance(value, list))


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def check(values: Mapping[str, Any], schema: Mapping[str, Kind], where: str, remedy: str) -> None:
    """Raise MinidlError for the first value that does not match the schema of its name.

    where: the file, and the line if there is one; remedy: what to do. Names that are not in the schema are ignored.
    """
    for name, kind in schema.items():
        if name in values and (wrong := kind.wrong(name, values[name])):
            raise MinidlError(f"{where} cannot be used: {wrong}; {remedy}")


def shown(value: Any) -> str:
    """Return a value for a message: one line, shortened."""
    text = "".join(one if one.isprintable() else "?" for one in str(value)[: SHOWN + 1])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
