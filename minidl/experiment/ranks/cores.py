"""Cores: which of the processes that a launcher has started share cores with each other."""

import os
import socket
from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """Where a process is: the name of its host, and the cores there that it may use."""

    host: str
    cores: frozenset[int]


def place() -> Place:
    """Return where this process is."""
    count = os.cpu_count() or 1
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(count)
    return Place(socket.gethostname(), frozenset(usable))


def sharing_cores(places: Sequence[Place], number: int) -> list[int]:
    """Return which processes have cores in common with one of them, itself among them.

    It is the only one where the launcher has bound each to cores of its own.
    """
    host, cores = places[number]
    return [other for other, place in enumerate(places) if place.host == host and place.cores & cores]
