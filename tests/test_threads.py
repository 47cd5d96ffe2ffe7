"""Correct results in several threads, and in the child of a fork."""

import gc
import multiprocessing
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl.kernels import load
from minidl.kernels.cpu import loops, threads
from minidl.kernels.cpu.prefetch import Prefetcher
from minidl.kernels.errors import MinidlError
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.models import a, d
from minidl.net import Net
from minidl.optimizers import SGD

ROUNDS = 15


@pytest.fixture(params=["numpy", "numba"])
def compute_by(request: pytest.FixtureRequest) -> Any:
    if request.param == "numba":
        pytest.importorskip("numba")
    loops.use(request.param)
    yield request.param
    loops.use_best()


def all_at_once(*functions: Callable[[], None]) -> None:
    """Run functions in threads that begin together; raise the exception of any of them."""
    raised: list[BaseException] = []
    together = threading.Barrier(len(functions))

    def run(function: Callable[[], None]) -> None:
        try:
            together.wait()
            function()
        except BaseException as error:
            raised.append(error)

    started = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if raised:
        raise raised[0]


def build(seed: int = 0) -> Net:
    method = "WC, GC, BN"
    root = a.net(10, parse(method), filters=(12, 16, 24), hidden=64)
    return Net(root, (32, 32, 3), load("cpu"), method=method, seed=seed)


def data_of(seed: int, samples: int = 6) -> Any:
    return np.random.default_rng(seed).standard_normal((samples, 32, 32, 3)).astype(np.float32)


def answers(net: Net, seed: int, ask: str) -> Callable[[], None]:
    """Return a function that repeatedly predicts batches of two sizes and expects the results of a single thread."""
    batches = [data_of(seed), data_of(seed + 100, 2 + seed % 3)]
    expected = [getattr(net, ask)(batch).copy() for batch in batches]

    def run() -> None:
        for i in range(ROUNDS):
            np.testing.assert_array_equal(getattr(net, ask)(batches[i % 2]), expected[i % 2])

    return run


@pytest.mark.parametrize(
    "nets, ask",
    [
        (1, "forward"),
        (2, "predict"),
        pytest.param(1, "predict", marks=pytest.mark.thorough),
        pytest.param(2, "forward", marks=pytest.mark.thorough),
    ],
)
def test_nets_answer_several_threads(compute_by, nets, ask):
    several = [build(seed) for seed in range(nets)]
    for net in several:
        net.eval()
    all_at_once(*(answers(several[i % nets], i, ask) for i in range(4)))


def test_images_of_other_sizes_in_other_threads(compute_by):
    net = Net(d.net(3, parse("BN"), filters=(2, 3, 4, 5), count=1), (67, 67, 3), load("cpu"), method="BN")
    net.eval()
    images = [np.random.default_rng(i).random((1, 67 + 2 * i, 70, 3), np.float32) for i in range(3)]
    expected = [net.forward(image).copy() for image in images]

    def ask(i: int) -> Callable[[], None]:
        return lambda: [np.testing.assert_array_equal(net.forward(images[i]), expected[i]) for _ in range(5)]

    all_at_once(*map(ask, range(3)))


def trained(net: Net, seed: int) -> list[Any]:
    """Return the weights after some steps."""
    optimizer, loss = SGD(net.parameters, net.kernels, 0.01), SoftmaxCrossEntropy(net.kernels)
    for step in range(4):
        loss(net.forward(data_of(seed + step)), np.arange(6))
        net.backpropagate(loss.error)
        optimizer.step()
    return [p.value.copy() for p in net.parameters]


def test_two_nets_train_in_two_threads(compute_by):
    expected = [trained(build(seed), seed) for seed in range(2)]
    found: list[Any] = [None, None]

    def train(seed: int) -> None:
        found[seed] = trained(build(seed), seed)

    all_at_once(lambda: train(0), lambda: train(1))
    for one, other in zip(found, expected, strict=True):
        for weights, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(weights, same)


def test_a_training_step_belongs_to_one_thread():
    net = build()
    output = net.forward(data_of(0))
    all_at_once(lambda: net.forward(data_of(1)))
    with pytest.raises(MinidlError, match="follows a forward pass of another thread"):
        net.backpropagate(np.ones_like(output))
    net.backpropagate(np.ones_like(net.forward(data_of(0))))


def test_threads_that_have_ended_leave_no_memory_behind(compute_by):
    net = build()
    net.eval()
    made: list[weakref.ref[Any]] = []

    def ask() -> None:
        net.forward(data_of(0))
        made.extend(weakref.ref(array) for buffers in net.context.buffers.of.values() for array in buffers.values())

    all_at_once(ask, ask, ask)
    net.forward(data_of(0))  # layers keep the output of the last call
    gc.collect()
    assert made
    assert not any(array() is not None for array in made)


def test_the_number_of_workers_may_change_while_others_compute(compute_by):
    net = build()
    net.eval()

    def change() -> None:
        for i in range(10):
            threads.set_workers(1 + i % 3)

    # Sums over other shares have other rounding errors.
    batch = data_of(0)
    expected = net.forward(batch).copy()

    def ask() -> None:
        for _ in range(ROUNDS):
            np.testing.assert_allclose(net.forward(batch), expected, atol=1e-4)

    all_at_once(ask, change, ask)


@pytest.mark.parametrize("count", [0, -1, 1.5, "two"])
def test_a_number_of_workers_that_there_cannot_be(count: Any) -> None:
    with pytest.raises(MinidlError, match="the number of worker threads must be a whole number of at least 1"):
        threads.set_workers(count)


# -- forks ------------------------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_a_fork(function: Callable[[], Any]) -> Any:
    """Return the result of a function in the child of a fork; fail if the child does not end."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(_call, (function,)).get(timeout=60)


def _call(function: Callable[[], Any]) -> Any:
    return function()


_net: Net
_batch: Any


def _predict_here() -> Any:
    return threads.workers(), _net.predict(_batch)


def _train_here() -> Any:
    return trained(_net, 3)


def _hire_here() -> Any:
    try:
        threads.set_workers(2)
    except MinidlError as error:
        return str(error)
    return "hired"


@needs_fork
def test_a_net_answers_and_trains_in_the_child_of_a_fork(compute_by):
    global _net, _batch
    _net, _batch = build(), data_of(0)
    expected = _net.predict(_batch)
    workers, found = in_a_fork(_predict_here)
    assert workers == 1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for found, wanted in zip(in_a_fork(_train_here), trained(build(), 3), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@needs_fork
def test_a_child_says_why_it_has_one_worker(compute_by):
    build().predict(data_of(0))
    assert "works on one core instead of 2" in in_a_fork(_hire_here)


_ahead: Prefetcher


def _prefetch_here() -> list[int]:
    _ahead.start([1, 2, 3])
    return [_ahead.next(i) for i in (1, 2, 3)]


@needs_fork
def test_batches_are_prefetched_in_the_child_of_a_fork():
    global _ahead
    _ahead = Prefetcher(lambda buffer, request: 10 * request)
    assert _prefetch_here() == [10, 20, 30]
    _ahead.start([7, 8])  # a batch is being prefetched
    assert in_a_fork(_prefetch_here) == [10, 20, 30]
    assert _ahead.next(7) == 70


def test_a_child_of_a_fresh_process_has_all_workers():
    code = (
        "import os, sys\n"
        "from minidl.kernels.cpu import threads\n"
        "if os.fork() == 0:\n"
        "    threads.set_workers(2)\n"
        "    os._exit(threads.workers())\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 2
