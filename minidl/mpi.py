"""MPI: the communicator of several ranks, started by mpiexec or srun; it imports mpi4py when it is made."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.communicator import Array, Communicator, Value
from minidl.kernels.errors import MinidlError

BEAT, SILENCE = 0.5, 20.0  # seconds: between two signs of life, and without one before a rank is taken for lost


class Elsewhere(MinidlError):
    """An error of another rank."""


class MPICommunicator(Communicator):
    """The ranks of MPI's world.

    failed: whether one of them has reported an error; waited_for: whether the others wait for this one while it cannot
    report an error to them, as in the middle of a sum.

    Raises MinidlError without mpi4py, and if MPI sees another number of ranks than ``expected``.
    """

    def __init__(self, expected: int) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, and no library of MPI
            why = str(error).partition("\n")[0]
            raise MinidlError(
                f"a launcher has started {expected} ranks, and they need mpi4py and a library of MPI ({why}); install "
                "them with: pip install -e '.[mpi]', or start one process without the launcher"
            ) from error
        self.mpi, self.world = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.world.Get_rank(), self.world.Get_size()
        if self.size != expected:
            raise MinidlError(
                f"the launcher has started {expected} ranks, and MPI sees {self.size}: mpi4py belongs to another MPI "
                "than the launcher; use the mpiexec that lies beside its library, such as that of pip install mpich"
            )
        self.failed = self.waited_for = False
        self._sums: Callable[[Array], None] = self._of_the_host
        self._one = np.zeros(1, np.int64)

    def sum(self, array: Array) -> None:
        """Sum an array of the net's device over the ranks, in place."""
        self._sums(array)

    def serve(self, kernels: Any) -> None:
        """From now on, sum arrays of this device: on GPUs with NCCL, where each rank needs its own GPU."""
        devices = self.gather(kernels.device)
        if len(set(devices)) > 1:
            raise MinidlError(
                f"the ranks compute on {' and '.join(sorted(set(devices)))}; give all of them a GPU, or --device cpu"
            )
        if kernels.device != "gpu":
            return
        from minidl.kernels.gpu import nccl

        cuda = kernels.xp.cuda
        cards = self.gather((socket.gethostname(), cuda.runtime.deviceGetPCIBusId(cuda.Device().id)))
        if len(set(cards)) < self.size:
            raise MinidlError(
                f"{self.size} ranks have {len(set(cards))} GPUs; start as many ranks on each host as it has GPUs, or "
                "use --device cpu"
            )
        nccl.check()
        name = self.first(nccl.unique_id)
        self.waited_for = True
        self._sums = nccl.Sums(name, self.rank, self.size)
        self.waited_for = False

    def _of_the_host(self, array: Array) -> None:
        self.world.Allreduce(self.mpi.IN_PLACE, array)

    def total(self, number: int) -> int:
        """Return the sum of a number over the ranks."""
        return self._reduced(number, self.mpi.SUM)

    def most(self, number: int) -> int:
        """Return the largest of the ranks' numbers."""
        return self._reduced(number, self.mpi.MAX)

    def _reduced(self, number: int, operation: Any) -> int:
        self._one[0] = number
        self.world.Allreduce(self.mpi.IN_PLACE, self._one, operation)
        return int(self._one[0])

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all ranks; raise Elsewhere if one has reported an error instead of a value."""
        return self._gathered("", value)

    def tell(self, error: str) -> None:
        """Report an error instead of this rank's next value."""
        self._gathered(error, None)

    def _gathered(self, error: str, value: Any) -> list[Any]:
        told: list[tuple[str, Any]] = self.world.allgather((error, value))
        failed = next((rank for rank, (words, _) in enumerate(told) if words), None)
        self.failed = failed is not None
        if failed is not None and not error:
            raise Elsewhere(f"rank {failed}: {told[failed][0]}")
        return [value for _, value in told]

    def first(self, function: Callable[[], Value]) -> Value:
        """Let rank 0 call a function, and return its result on each."""
        result: Value = self.gather(None if self.rank else function())[0]  # type: ignore[assignment]
        return result

    def one_before_others(self, function: Callable[[], Value]) -> Value:
        """Call a function on rank 0 first, and then on the others."""
        if self.rank == 0:
            result = function()
        self.gather(None)
        return function() if self.rank else result

    def abort(self, status: int) -> None:
        """End all ranks at once."""
        self.world.Abort(status)


class Pulse:
    """Signs of life that a thread in each rank sends to the others, from now until all have called ``stop``.

    lost: called in that thread if a rank has sent none for SILENCE seconds: it was killed, it is stopped, or the link
    to it is cut. MPI itself may then wait for ever.
    """

    def __init__(self, ranks: MPICommunicator, lost: Callable[[], None]) -> None:
        self.mpi, self.lost, self.stopping = ranks.mpi, lost, threading.Event()
        self.world = ranks.world.Dup()
        self.thread = threading.Thread(target=self._beat, name="minidl-pulse", daemon=True)
        if self.mpi.Query_thread() == self.mpi.THREAD_MULTIPLE:
            self.thread.start()

    def _beat(self) -> None:
        stopping = np.zeros(1, np.int64)
        while not stopping[0]:  # the least of all ranks, so that they leave together
            self.stopping.wait(BEAT)
            stopping[0] = self.stopping.is_set()
            request = self.world.Iallreduce(self.mpi.IN_PLACE, stopping, self.mpi.MIN)
            silent, last = 0.0, time.monotonic()
            while not request.Test():
                now = time.monotonic()
                silent, last = silent + min(now - last, BEAT), now  # not while this process itself was stopped
                if silent > SILENCE:
                    self.lost()
                time.sleep(0.01)

    def stop(self) -> None:
        """Stop when all ranks do."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
