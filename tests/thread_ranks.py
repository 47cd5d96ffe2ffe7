"""Ranks that are threads of one process, for tests of what ranks compute, without MPI."""

import threading
from collections.abc import Callable
from typing import Any

from minidl.communicator import Communicator


class ThreadRank(Communicator):
    """One of several ranks, which meet at a barrier."""

    def __init__(self, rank: int, size: int, meeting: threading.Barrier, table: list[Any]) -> None:
        self.rank, self.size, self.meeting, self.table = rank, size, meeting, table

    def gather(self, value: Any) -> list[Any]:
        self.table[self.rank] = value
        self.meeting.wait()
        told = list(self.table)
        self.meeting.wait()
        return told

    def sum(self, array: Any) -> None:
        array[...] = sum(self.gather(array.copy()))

    def total(self, number: int) -> int:
        return sum(self.gather(number))

    def most(self, number: int) -> int:
        return max(self.gather(number))

    def first(self, function: Callable[[], Any]) -> Any:
        return self.gather(None if self.rank else function())[0]

    def one_before_others(self, function: Callable[[], Any]) -> Any:
        return function()


def on_ranks(size: int, function: Callable[[Communicator], Any]) -> list[Any]:
    """Return the results of a function on each of ``size`` ranks; raise the exception of the first rank that failed."""
    meeting, table = threading.Barrier(size), [None] * size
    results: list[Any] = [None] * size
    raised: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = function(ThreadRank(rank, size, meeting, table))
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                raised.append(error)
            meeting.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return results
