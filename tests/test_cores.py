"""Which processes share cores, and how many threads the runs of a sweep get on ranks."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from minidl.experiment.ranks.cores import Place, place, sharing_cores
from minidl.experiment.sweeps import process_run


def places(*told):
    return [Place(host, frozenset(cores)) for host, cores in told]


@pytest.mark.parametrize(
    "told, expected",
    [
        ([("x", range(4))], [[0]]),
        ([("x", range(4)), ("x", range(4)), ("y", range(4))], [[0, 1], [0, 1], [2]]),
        ([("x", [0, 1]), ("x", [2, 3]), ("y", [0, 1])], [[0], [1], [2]]),  # each rank bound to separate cores
        ([("x", [0, 1]), ("x", [2, 3]), ("x", [0, 1]), ("x", [2, 3])], [[0, 2], [1, 3], [0, 2], [1, 3]]),  # to sockets
    ],
)
def test_ranks_share_cores_on_their_host_where_they_are_not_bound(told, expected):
    assert [sharing_cores(places(*told), number) for number in range(len(told))] == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be bound to cores here")
def test_a_process_knows_its_cores():
    one = min(os.sched_getaffinity(0))
    told = "from minidl.experiment.ranks.cores import place; print(place())"
    program = f"import os; os.sched_setaffinity(0, {{{one}}}); {told}"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(Place(place().host, frozenset({one})))


@pytest.mark.parametrize(
    "told, number, threads",
    [
        ([("x", range(8)), ("x", range(8))], 0, 4),  # a third rank distributes the runs, and needs no core
        ([("x", range(8)), ("y", range(8))], 1, 8),
        ([("x", range(4)), ("x", range(4, 8))], 1, 4),  # divided by the launcher already, and not again
        ([("x", [0]), ("x", [0]), ("x", [0])], 2, 1),
    ],
)
def test_runs_have_the_cores_of_the_rank_that_carries_them_out(told, number, threads, monkeypatch):
    workers = SimpleNamespace(allgather=lambda own: places(*told), Get_rank=lambda: number)
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mpi4py.futures", SimpleNamespace(get_comm_workers=lambda: workers))
    monkeypatch.setattr(process_run, "available_cores", lambda: len(told[number][1]))
    process_run._shares.cache_clear()
    run = SimpleNamespace(carry_out=lambda surroundings: surroundings["threads"])
    try:
        assert process_run._on_a_rank(run, {}) == threads
    finally:
        process_run._shares.cache_clear()
