"""Read a table of comma-separated values, even if a spreadsheet program has saved it."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.data import regular_file
from minidl.experiment.saving.files import LONG
from minidl.experiment.saving.schema import shown
from minidl.kernels.errors import MinidlError

SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Row:
    """A row: the line of the file at its end, the text of each column, and the decimal separator."""

    path: Path
    line: int
    values: dict[str, str]
    point: str

    def number(self, column: str, blank_is_nan: bool = False) -> float:
        """Return the number in a column; raise MinidlError for anything else."""
        text = self.values[column].strip()
        if not text and blank_is_nan:
            return math.nan
        try:
            return float(text.replace(self.point, ".").replace("_", "?"))  # Python would allow _ between digits
        except ValueError:
            raise MinidlError(
                f"line {self.line} of {self.path} has {shown(repr(text))} for {column}, which is no number; put the "
                "file back as it was"
            ) from None


def read(path: Path, columns: Sequence[str], later: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table with these columns, in any order; missing ``later`` columns are empty.

    The table may have a byte order mark, quotes, any line ends, empty lines, and semicolons or tabs instead of commas;
    then a decimal point may be a comma. Raises MinidlError for a file that cannot be read or is cut off, other columns,
    and a row that is too long.
    """
    try:
        text = regular_file.read(path, LONG).decode("utf-8-sig")
        separator = max(SEPARATORS, key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise MinidlError(f"{path} cannot be read ({error}); put the file back as it was") from error
    if rows and not text.endswith(("\n", "\r")):
        raise MinidlError(
            f"{path} ends in the middle of line {rows[-1][0]}, so that a part of it may be missing; put the file back "
            "as it was, or end its last line if it is whole"
        )
    filled = [(line, row) for line, row in rows if any(row)]
    head = filled[0][1] if filled else []
    named = list(filter(None, head))
    if len(set(named)) < len(named) or not {*columns} - {*later} <= {*named} <= {*columns}:
        raise MinidlError(
            f"{path} has the columns {', '.join(head) or 'of an empty file'} where {', '.join(columns)} are expected; "
            "put the file back as it was"
        )
    point = "." if separator == "," else ","
    out = []
    for line, row in filled[1:]:
        cells = [*row, *[""] * (len(head) - len(row))]
        if any(cells[len(head) :]) or any(cell for name, cell in zip(head, cells, strict=False) if not name):
            raise MinidlError(f"line {line} of {path} has more cells than columns; put the file back as it was")
        values = {name: cell for name, cell in zip(head, cells, strict=False) if name}
        out.append(Row(path, line, dict.fromkeys(columns, "") | values, point))
    return out
