"""Prefetching: none on a GPU, where building a batch is a part of the recorded step and takes microseconds."""

from minidl.kernels.prefetch import BUFFERS, Prefetcher

__all__ = ["BUFFERS", "Prefetcher"]
