"""Imports minidl's cudnn.py with the real frontend: runtime.py FOLDER, with a stand-in for CuPy and another CUDA.

Prints which runtime the frontend is told to open, and which one is loaded.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from minidl.kernels.gpu import cudnn

cudnn.cudnn.backend_version()  # raises an exception if cuDNN was not found
print(os.environ["CUDNN_FRONTEND_CUDART_LIB_NAME"])
maps = Path("/proc/self/maps").read_text().splitlines()
print(next(line.split()[-1] for line in maps if "libcudart.so.12" in line))
