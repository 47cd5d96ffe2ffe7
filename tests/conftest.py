"""What the tests share."""

from collections.abc import Iterator

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import Kernels, loops, threads
from minidl.layer import Context


@pytest.fixture
def random() -> np.random.Generator:
    """Return a source of random numbers, the same in every run."""
    return np.random.default_rng(7)


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> Iterator[Kernels]:
    """Return the kernels of each device in turn: the CPU's by NumPy alone and with compiled loops."""
    if request.param == "numba":
        pytest.importorskip("numba")
    loops.use(request.param)
    yield kernels.load("cpu")
    loops.use_best()


@pytest.fixture
def context(backend: Kernels, random: np.random.Generator) -> Context:
    """Return what a layer needs to be set up in float64."""
    return Context(backend, np.dtype(np.float64), random)


@pytest.fixture(autouse=True)
def two_workers() -> None:
    """Run with two worker threads, wherever the tests run."""
    if threads.workers() != 2:
        threads.set_workers(2)
