"""CPU: the operations of kernels/ made fast; what each computes is defined in the file of its name there.

The innermost loops are NumPy's or compiled by Numba (loops/). Three things are taken from the definitions, all when a
net is set up: convolution.Geometry, max_pool.output_shape and max_pool.argmax_type (of windows.py). The convolutions
here, transposed ones too, inherit the check of a geometry as well, and the plain one computes where it is asked for by
name; data_norm.Statistics is their tuple, and softmax_loss.out_of_range their error. The arithmetic of
a training step is in this folder, but for the bounds of subnormal.py.
"""

from minidl.kernels.cpu.constants import constant
from minidl.kernels.cpu.tape import Tape as tape
from minidl.kernels.cpu.threads import describe

__all__ = ["constant", "describe", "tape"]
