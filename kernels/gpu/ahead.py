"""On a GPU nothing is made ahead: a batch is a part of the recorded step, and takes microseconds of it."""

from minidl.kernels.reference.ahead import TURNS, Ahead

__all__ = ["TURNS", "Ahead"]
