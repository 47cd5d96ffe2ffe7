"""Mistaken paths: what a path leads to where a run or a saved net is expected, and what to give instead."""

from glob import escape
from pathlib import Path

from minidl.data import regular_file

LARGEST = 1 << 62  # bytes of a file, of which only the first are read
FIRST = 512  # bytes
NAMED = 5  # runs, the most that a message names
GIVE = "give the folder of a run, its checkpoint, or weights that minidl export wrote"
DAMAGED = "a safetensors file that is cut off or damaged"
AGAIN = f"copy it once more, or {GIVE}"
PICKLE = (
    "minidl does not open it, as such a file can run any program; let PyTorch write its state by "
    "safetensors.torch.save_file, and give that to --init"
)
KINDS = (  # the first bytes of a file, what it is, and what to give instead
    (b"\xff\xd8\xff", "a picture", GIVE),
    (b"\x89PNG", "a picture", GIVE),
    (b"GIF8", "a picture", GIVE),
    (b"II*\0", "a picture", GIVE),
    (b"MM\0*", "a picture", GIVE),
    (b"\x93NUMPY", "an array of NumPy", GIVE),
    (b"\x89HDF", "an HDF5 file", GIVE),
    (b"\x80", "a pickle", PICKLE),
)
BY_ENDING = {  # where the first bytes do not tell
    ".safetensors": (DAMAGED, AGAIN),
    ".npz": ("a file of NumPy", GIVE),
    ".pt": ("a file of PyTorch", PICKLE),
    ".pth": ("a file of PyTorch", PICKLE),
    ".onnx": ("an ONNX model", "export the run again by --format safetensors, and give that"),
    ".webp": ("a picture", GIVE),
    ".bmp": ("a picture", GIVE),
}


def kind_of(path: Path) -> tuple[str, str]:
    """Return what a file is, in words, and what to do instead; raise OSError where it cannot be read.

    The words name no byte of the file.
    """
    with regular_file.opened(path, LARGEST) as file:
        first = file.read(FIRST)
    if not first:
        return "an empty file", GIVE
    if first[8:9] == b"{" and not _is_text(first):  # after the length of its header
        return DAMAGED, AGAIN
    for mark, what, remedy in KINDS:
        if first.startswith(mark):
            return what, remedy
    if _is_text(first):
        return "a text", GIVE
    return BY_ENDING.get(path.suffix.lower(), ("a file of another kind", GIVE))


def _is_text(first: bytes) -> bool:
    try:
        text = first.decode(errors="strict" if len(first) < FIRST else "ignore")
    except ValueError:
        return False
    return not any(one < " " and one not in "\t\n\r\f" for one in text)


def instead(folder: Path, name: str, remedy: str) -> str:
    """Return what to give instead of a folder without the file of this name: the runs in it, or the remedy."""
    runs = sorted(file.parent for file in folder.glob(f"[!.]*/{escape(name)}"))
    more = f" ({len(runs)} in all)" if len(runs) > NAMED else ""
    named = ", ".join(map(str, runs[:NAMED]))
    return f"give a run in that folder: {named}{more}" if runs else remedy
