"""Prefetching: none on a GPU, because building a batch is part of the recorded step and takes only microseconds."""

from minidl.kernels.prefetch import BUFFERS, Prefetcher

__all__ = ["BUFFERS", "Prefetcher"]
