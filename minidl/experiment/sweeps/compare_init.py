"""The file of ``--init`` of a comparison: record its contents, as the runs record only its path."""

from pathlib import Path

from minidl.data import regular_file
from minidl.experiment.saving.checkpoint import file_of
from minidl.experiment.saving.files import as_json, read_json, write_whole
from minidl.experiment.saving.saved import LARGEST
from minidl.kernels.errors import MinidlError

RECORD = "init.json"
REMEDY = "put the file back as it was, or give another folder with --out"


def check(out: Path, init: str) -> None:
    """Raise MinidlError if the runs under ``out`` began with other weights than those of now, or with unknown ones."""
    now, record = digest(init), read_json(out / RECORD, {"sha256": str}, "give another folder with --out")
    if record is None:
        raise MinidlError(
            f"it is not known what was in {init} when the runs in {out} began with it ({RECORD} is missing); give "
            "another folder with --out"
        )
    if (earlier := record["sha256"]) != now:
        raise MinidlError(
            f"{init} is not what the runs in {out} began with (its SHA-256 was {earlier[:12]}… and is {now[:12]}…); "
            f"{REMEDY}"
        )


def keep(out: Path, init: str) -> None:
    """Record the digest of the file, before the first run begins with it."""
    write_whole(out / RECORD, as_json({"init": init, "sha256": digest(init)}))


def digest(init: str) -> str:
    """Return the SHA-256 of a file, or of the checkpoint in the folder of a run; raise MinidlError if it is missing."""
    path = file_of(init)
    try:
        with regular_file.opened(path, LARGEST) as file:
            return regular_file.checksum(file)
    except OSError as error:
        raise MinidlError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
