"""CPU: fast versions of the operations in kernels/, where the file of the same name defines each.

The innermost loops are NumPy's or compiled by Numba (loops/). Some code of the definitions is used here:
convolution.Geometry, when a net is set up, and windows.index_type. The convolutions here, also transposed ones, inherit
the check of a geometry, and the plain one is used if it is chosen by name. The tuples data_norm.Statistics and
augment.Crops and the error softmax_loss.out_of_range are theirs, too. The rest of a training step's arithmetic is in
this folder, except the bounds of subnormal.py.
"""

from minidl.kernels.cpu.constants import constant
from minidl.kernels.cpu.tape import Tape as tape
from minidl.kernels.cpu.threads import describe

__all__ = ["constant", "describe", "tape"]
