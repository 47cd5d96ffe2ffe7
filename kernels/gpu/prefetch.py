"""On a GPU nothing is made ahead: a batch is a part of the recorded step, and takes microseconds of it."""

from minidl.kernels.prefetch import TURNS, Prefetcher

__all__ = ["TURNS", "Prefetcher"]
