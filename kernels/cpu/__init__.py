"""CPU: fast versions of the operations in kernels/, where the file of the same name defines each.

The innermost loops are written in NumPy or compiled by Numba (loops/). From the definitions come convolution.Geometry,
which is used when a net is set up; windows.index_type; the check of a geometry, which all convolutions here inherit;
the plain convolution, for callers that choose it by name; the tuples data_norm.Statistics and augment.Crops, the error
softmax_loss.out_of_range, and the bounds of subnormal.py. All other arithmetic of a training step is in this folder.
"""

from minidl.kernels.cpu.constants import constant
from minidl.kernels.cpu.tape import Tape as tape
from minidl.kernels.cpu.threads import describe

__all__ = ["constant", "describe", "tape"]
