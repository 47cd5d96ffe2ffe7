"""The version of the format of a run's settings and checkpoint.

It increases whenever earlier code would read them wrongly. 0 is minidl 0.1.0, whose files do not contain it. 1 has the
version, and in the checkpoint the preprocessing and the description of the data set. 2 may be saved in the middle of an
epoch, and has the log.
"""

from pathlib import Path
from typing import Any

from minidl.kernels.errors import MinidlError

FORMAT = 2


def check(path: Path, content: dict[str, Any]) -> None:
    """Raise MinidlError if a later version wrote the file; ``content`` is what was read from it."""
    written = content.get("format", 0)
    if not isinstance(written, int) or written > FORMAT:
        raise MinidlError(
            f"{path} has the format {str(written)[:20]}, of a later minidl than this one, which reads formats up to "
            f"{FORMAT}; update minidl"
        )
