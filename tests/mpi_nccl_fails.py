"""A rank of a training on emulated GPUs: NCCL fails to start on the second rank, while the others wait for it in NCCL.

The emulation's folder has to be in PYTHONPATH.
"""

import os
import sys
import time

from cupy import cuda, nccl

from minidl.__main__ import main

RANK = int(os.environ["PMI_RANK"])


class Communicator:
    """NCCL's communicator, which fails on the second rank."""

    def __init__(self, size: int, name: bytes, rank: int) -> None:
        if rank == 1:
            raise RuntimeError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")
        time.sleep(600)


nccl.NcclCommunicator = Communicator
cuda.runtime.deviceGetPCIBusId = lambda device: f"0000:0{RANK}:00.0"
sys.exit(main(["train", "--device", "gpu", "--train-size", "40", "--test-size", "20", "--epochs", "1", *sys.argv[1:]]))
