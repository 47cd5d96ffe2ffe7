"""Memory: refuse a set that does not fit into memory, before its images are decoded."""

import os
import resource
from contextlib import suppress

from minidl.data import regular_file
from minidl.kernels.errors import MinidlError

CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux tells a container how many bytes it may use."""


def check(name: str, needed: int) -> None:
    """Raise MinidlError if a set needs more bytes of memory than there are."""
    if needed > (there := size()):
        raise MinidlError(
            f"the images of {name} take {needed / 1e9:,.1f} GB once they are decoded, and {there / 1e9:,.1f} GB of "
            "memory are here; use fewer or smaller ones"
        )


def size() -> int:
    """Return the bytes of memory that this process can have, used or free."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), resource.getrlimit(resource.RLIMIT_AS)[0]]
    for file in CONTAINER:
        with suppress(OSError, ValueError):  # there is none, or it says "max"
            limits.append(int(regular_file.read(file, 1 << 16)))
    return min(limit for limit in limits if limit > 0)  # -1: no limit
