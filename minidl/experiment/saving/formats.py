"""The version of the format of what a run leaves behind, its settings and its checkpoint.

It is raised whenever earlier code would read them wrongly. 0, of minidl 0.1.0, is not written in them; 1 has it, and
in the checkpoint the preprocessing and what describes the data set; 2 may be saved in the middle of an epoch, and has
the log.
"""

from pathlib import Path
from typing import Any

from minidl.kernels.errors import MinidlError

FORMAT = 2


def check(path: Path, content: dict[str, Any]) -> None:
    """Raise MinidlError for what a later version wrote; ``content`` is what was read of the file."""
    written = content.get("format", 0)
    if not isinstance(written, int) or written > FORMAT:
        raise MinidlError(
            f"{path} has the format {str(written)[:20]}, of a later minidl than this one, which reads formats up to "
            f"{FORMAT}; update minidl"
        )
