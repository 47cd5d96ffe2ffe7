"""Prefetched batches are the same batches, whatever happens in the meantime."""

import subprocess
import sys
from threading import Event

import numpy as np
import pytest

from minidl import MinidlError
from minidl.data.batches import Batches
from minidl.data.shapes import load as load_shapes
from minidl.kernels.cpu import prefetch


def test_the_next_one_is_made_while_the_last_one_is_in_use():
    made, allowed = [], Event()

    def make(buffer, request):
        if request == "second":
            allowed.wait(60)
        made.append((buffer, request))
        return request

    calls = prefetch.Prefetcher(make)
    calls.start(["first", "second", "third"])
    assert calls.next("first") == "first"
    allowed.set()  # only now: the first result had to be returned before the second one was ready
    assert [calls.next("second"), calls.next("third")] == ["second", "third"]
    assert [request for _, request in made] == ["first", "second", "third"]
    buffers = [buffer for buffer, _ in made]
    assert buffers[0] == buffers[2] != buffers[1]


def test_an_exception_is_raised_where_the_result_is_requested():
    def make(buffer, request):
        if request == 2:
            raise MemoryError("full")
        return request

    calls = prefetch.Prefetcher(make)
    calls.start([1, 2])
    assert calls.next(1) == 1
    with pytest.raises(MemoryError, match="full"):
        calls.next(2)
    calls.start([3])
    assert calls.next(3) == 3


def test_an_epoch_that_was_broken_off_leaves_nothing_behind(backend):
    images, _ = load_shapes(60, 10)
    batches = Batches(images, 20, backend, "float32")

    def epoch(steps: int = 3):
        coming = batches.shuffle(np.random.default_rng(1))[:steps]
        return [tuple(backend.host(part).copy() for part in batches.next(size)) for size in coming]

    whole = epoch()
    assert not np.array_equal(whole[0][0], whole[1][0])
    epoch(1)
    for (data, labels), (again, same_labels) in zip(whole, epoch(), strict=True):
        assert np.array_equal(data, again)
        assert np.array_equal(labels, same_labels)


def test_a_batch_that_is_not_in_its_epoch_is_refused(backend):
    """Beyond its end, the CUDA would read whatever lies there in the order of the images."""
    images, _ = load_shapes(50, 10)
    batches, empty = Batches(images, 20, backend, "float32"), "the next batch is none, and not 20; begin an epoch"
    with pytest.raises(MinidlError, match=empty):
        batches.next(20)
    for _ in range(2):
        sizes = batches.shuffle(1)
        with pytest.raises(MinidlError, match="the next batch is 20, and not 21"):
            batches.next(21)
        taken = [backend.host(batches.next(size)[1]).copy() for size in sizes]
        assert sorted(np.concatenate(taken)) == sorted(images.labels)
        with pytest.raises(MinidlError, match=empty):
            batches.next(20)
    with pytest.raises(MinidlError, match="the next batch is none"):
        batches.next(0)


def test_a_share_of_a_batch_is_requested_by_the_size_of_the_whole(backend):
    images, _ = load_shapes(50, 10)
    batches = Batches(images, 20, backend, "float32", (1, 2))
    for size in batches.shuffle(1):
        with pytest.raises(MinidlError, match=rf"the next batch is {size}, and not 4;"):
            batches.next(4)
        assert len(batches.next(size)[0]) == size // 2


def test_a_recorded_step_takes_its_batches_without_python(gpu):
    """And none that comes after it in the epoch is refused for that."""
    images, _ = load_shapes(90, 10)
    batches = Batches(images, 20, gpu, "float32")
    step = gpu.record(lambda: batches.next(20) and None, lambda: 0)
    for epoch in range(3):
        for size in batches.shuffle(epoch):
            step() if size == 20 else batches.next(size)
        assert int(batches.crops.position[0]) == 90
        with pytest.raises(MinidlError, match="and not 10"):
            batches.next(10)
    assert step.graph is not None


def test_blas_uses_one_thread_whatever_started_first():
    """Otherwise its threads and ours compete for the cores, and a step takes three times as long."""
    program = """
import numpy as np, threadpoolctl
from minidl import models
from minidl.data.batches import Batches
from minidl.data import Dataset
images = Dataset("mine", np.zeros((60, 32, 32, 3), np.uint8), np.zeros(60, int), tuple("0123456789"))
net = models.build("c", method="Baseline", classes=10, device="cpu")
batches = Batches(images, 20, net.kernels, net.dtype)
net.forward(batches.next(batches.shuffle(np.random.default_rng(1))[0])[0])
print({pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "{1}\n"
