"""Files that are written whole or not at all, and how JSON and tables of comma-separated values are written."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minidl.kernels.errors import MinidlError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, text in UTF-8; raise MinidlError where it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    except OSError as error:
        raise MinidlError(
            f"{path} cannot be written ({error.strerror}); its folder must be there, writable and with room left"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def as_json(value: Any) -> str:
    """Return JSON, in which numbers that are infinite or none are null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: finite(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [finite(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), indent=2, allow_nan=False) + "\n"


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as comma-separated values."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
