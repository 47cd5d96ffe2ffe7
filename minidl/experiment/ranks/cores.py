"""Cores: which processes of a launcher share cores."""

import os
import socket
from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """The place of a process: the name of its host, and the cores that it may use there."""

    host: str
    cores: frozenset[int]


def place() -> Place:
    """Return the place of this process."""
    count = os.cpu_count() or 1
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(count)
    return Place(socket.gethostname(), frozenset(usable))


def sharing_cores(places: Sequence[Place], number: int) -> list[int]:
    """Return the processes that share cores with one of them, including itself.

    If the launcher has bound each process to its own cores, this is only the process itself.
    """
    host, cores = places[number]
    return [other for other, place in enumerate(places) if place.host == host and place.cores & cores]
