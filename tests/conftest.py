"""Fixtures and settings of all tests."""

import atexit
import ctypes
import gc
import importlib.util
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    # Several processes run tests: each gets one core for its two threads, which so do not wait for threads of other
    # processes. And they do not wait in a busy loop for each other. Numba reads these variables when it is imported.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % len(cores)]})
    os.environ |= {"NUMBA_NUM_THREADS": "2", "GOMP_SPINCOUNT": "0"}

import numpy as np
import pytest
from code_blocks import python_blocks
from PIL import Image

import train
from minidl import kernels
from minidl.__main__ import main as minidl
from minidl.context import Context
from minidl.data import shapes
from minidl.experiment.sweeps import process_run
from minidl.kernels import Kernels
from minidl.kernels.cpu import loops, threads
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.models import c
from minidl.models.registry import MODELS
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS
from minidl.optimizers import OPTIMIZERS

# Tests send signals, which programs in the background or after nohup ignore, and those that they start.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)


def pytest_configure(config: pytest.Config) -> None:
    """Let Python 3.10 leave a socket to the garbage collector where a proxy refuses a tunnel, as later ones do not."""
    if sys.version_info < (3, 11):
        config.addinivalue_line("filterwarnings", r"ignore:unclosed <socket.socket \[closed\]:ResourceWarning")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test as thorough on all devices except those where it is quick, before pytest selects tests by marks."""
    for item in items:
        quick = item.get_closest_marker("quick_on")
        if quick and not set(quick.args) & {item.callspec.params.get(name) for name in ("backend", "fast")}:
            item.add_marker(pytest.mark.thorough)


@pytest.fixture
def random() -> np.random.Generator:
    """Return a source of random numbers, the same in every run."""
    return np.random.default_rng(7)


def has_gpu() -> bool:
    """Return whether there are a GPU, its driver and CuPy."""
    try:
        return importlib.util.find_spec("cupy") is not None and ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


# Without a GPU, its kernels run on the CPU, behind a stand-in for CuPy.
EMULATED = not has_gpu()
if EMULATED:
    sys.path.insert(0, str(Path(__file__).parent / "emulation"))
    import blas

    from minidl.kernels.gpu import cublas, libraries

    cublas.library = blas.Library
    # Which plan is fastest in the stand-ins means nothing, so it is not kept.
    os.environ["CUPY_CACHE_DIR"] = tempfile.mkdtemp(prefix="minidl-")
    atexit.register(shutil.rmtree, os.environ["CUPY_CACHE_DIR"], True)
    libraries.load = lambda name, library: ""  # only the stand-in for cuDNN is present
    from minidl.kernels.gpu import trial

    trial.TIMES = trial.ROUNDS = 1  # the stand-in says how long a plan takes
NO_GPU = "no GPU with CuPy, and no g++ on Linux to emulate one"


def load(device: str) -> Kernels:
    """Return the kernels of a device, with products in full precision; skip the test if there is no such device."""
    if device == "gpu" and EMULATED and not (sys.platform == "linux" and shutil.which("g++")):
        pytest.skip(NO_GPU)
    return kernels.load(device, "fp32")


def needs_cudnn() -> None:
    """Skip a test on a GPU if cuDNN does not work there; the stand-in always works."""
    from minidl.kernels.gpu import products

    if why := products.cudnn_fails():
        assert not EMULATED, why
        pytest.skip(f"cuDNN: {why}")


BEST = loops.name()
# The CPU by NumPy alone and with compiled loops, the GPU, and the reference on CuPy's arrays.
FAST = ("numpy", "numba", "gpu", "cupy")


@pytest.fixture(params=FAST)
def fast(request: pytest.FixtureRequest) -> Iterator[Kernels]:
    """Return the kernels of each device in turn that is compared with the reference."""
    yield from in_turn(request.param)


@pytest.fixture(params=["reference", "numpy", "numba", "gpu"])
def backend(request: pytest.FixtureRequest) -> Iterator[Kernels]:
    """Return the kernels of each device in turn."""
    yield from in_turn(request.param)


def in_turn(name: str) -> Iterator[Kernels]:
    """Yield the kernels of a device, or of the CPU with the loops of that name."""
    if name == "cupy":
        gpu = load("gpu")
        yield replace(load("reference"), xp=gpu.xp, array=gpu.array, host=gpu.host, memory_pool=gpu.memory_pool)
        return
    if name not in loops.NAMES:
        yield load(name)
        return
    pytest.importorskip(name)
    loops.use(name)
    yield load("cpu")
    loops.use_best()


@pytest.fixture
def gpu() -> Kernels:
    """Return the kernels of the GPU."""
    return load("gpu")


@pytest.fixture
def elementwise() -> Kernels:
    """Return the kernels of the GPU, with the formulas of elementwise.py in place of the CUDA sources."""
    device = load("gpu")
    from minidl.kernels.gpu import elementwise as e

    return replace(device, normalize=e, data_norm=e, sgd=e.sgd, adam=e.adam)


@pytest.fixture
def context(backend: Kernels, random: np.random.Generator) -> Context:
    """Return what a layer needs to be set up in float64."""
    return Context(backend, np.dtype(np.float64), random)


@pytest.fixture
def names() -> Iterator[None]:
    """Remove after a test the normalizations, models, optimizers and modules (of ``--import``) that it registered."""
    tables: tuple[dict[str, Any], ...] = (NORMALIZATIONS, MODELS, OPTIMIZERS)
    known, modules = [dict(table) for table in tables], set(sys.modules)
    yield
    for table, before in zip(tables, known, strict=True):
        table.clear()
        table.update(before)
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__spec__", name) is None:
            del sys.modules[name]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes the model of a name with other widths, until the test ends."""

    def make(name: str, **widths: Any) -> None:
        model = MODELS[name]
        monkeypatch.setitem(MODELS, name, replace(model, layers=partial(model.layers, **widths)))

    return make


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in this process what would otherwise be separate processes, because this is faster."""

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        with redirect_stderr(io.StringIO()) as said:
            status = minidl([*command[3:], "--device", "cpu"])
        return SimpleNamespace(returncode=status, stderr=said.getvalue())

    monkeypatch.setattr(process_run, "finished", run)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Let files be written without fsync, because no file of a test must survive a loss of power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def drawn_once() -> Iterator[None]:
    """Draw the built-in data set once for all tests, as it takes seconds."""
    draw, whole = shapes.load, cache(shapes.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "load", lambda *how, **options: draw(*how, **options) if how or options else whole())
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_once(two_workers_from_the_beginning: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """If several processes run tests, let each of the first two compile the loops for one number type.

    Otherwise all of them, and the processes that they start, would compile everything at the same time. Compiled code
    is kept in files, from which the others load it.
    """
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)) == 1:
        return
    done = {f"gw{i}": tmp_path_factory.getbasetemp().parent / dtype for i, dtype in enumerate(("float32", "float64"))}
    worker = os.environ["PYTEST_XDIST_WORKER"]
    if worker in done:
        _compile(done[worker].name)
        done[worker].touch()
    end = time.monotonic() + 120  # a process that cannot compile fails in its own tests
    while time.monotonic() < end and not all(path.exists() for path in done.values()):
        time.sleep(0.05)


def _compile(dtype: str) -> None:
    """Take a training step of a small net with each optimizer, which has most of the loops."""
    for optimizer in OPTIMIZERS.values():
        net = Net(c.net(10, parse("WC, GC, BN"), (4, 4, 4), 8), (16, 16, 3), kernels.load("cpu"), dtype=dtype)
        loss, update = SoftmaxCrossEntropy(net.kernels), optimizer(net.parameters, net.kernels, learning_rate=0.1)
        loss(net.forward(np.ones((2, 16, 16, 3), dtype)), np.arange(2))
        net.backpropagate(loss.error)
        update.step()


@pytest.fixture(scope="session", autouse=True)
def looked_at_once(compiled_once: None) -> None:
    """Let the garbage collector ignore objects that exist before the first test, as they stay until the last one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def two_workers_from_the_beginning() -> None:
    """Run fixtures for several tests with two worker threads as well, because sums depend on the number of threads."""
    threads.set_workers(2)


@pytest.fixture(autouse=True)
def two_workers() -> None:
    """Run with two worker threads, wherever the tests run."""
    if threads.workers() != 2:
        threads.set_workers(2)


@pytest.fixture(autouse=True)
def best_loops() -> None:
    """Use the default loops, whatever a run of an earlier test has chosen."""
    if loops.name() != BEST:
        loops.use_best()


@pytest.fixture
def folder(tmp_path: Path, random: np.random.Generator) -> Path:
    """Return a folder of two classes of tiny images, told apart by their colour."""
    for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(10):
            pixels = random.integers(0, 100, (16, 16, 3)) + np.array(colour) // 2
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / label / f"{i}.png")
    return tmp_path / "set"


@pytest.fixture(scope="session", autouse=True)
def no_pictures() -> Iterator[Callable[..., bytes]]:
    """Let runs write empty files for their curves, whose drawing takes most of the time of a small run."""
    from minidl.experiment import plots  # which brings Matplotlib

    drawn = plots.curves
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "curves", lambda epochs, title: b"")
        yield drawn


@pytest.fixture
def pictures(no_pictures: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs draw their curves: for tests that look at them."""
    monkeypatch.setattr("minidl.experiment.plots.curves", no_pictures)


@pytest.fixture
def narrow(small: Callable[..., None]) -> None:
    """Let net (c) be made with few filters."""
    small("c", filters=(6, 8, 12), hidden=24)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return the file of docs/your-own.md, of which the first eight blocks are the parts."""
    blocks = python_blocks(Path(__file__).parents[1] / "docs" / "your-own.md")
    assert all(len(list(filter(None, block.code.splitlines()))) <= 22 for block in blocks[:8])
    path = tmp_path / "my_own.py"
    path.write_text("\n\n".join(block.code for block in blocks[:8]))
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a file for ``--import``, and returns its path."""

    def call(text: str, name: str = "my_norm.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return call


@pytest.fixture
def sentence(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function that returns the one sentence that was printed last as an error."""

    def read() -> str:
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1
        return shown

    return read


@pytest.fixture
def run(folder: Path, tmp_path: Path, narrow: None) -> Callable[..., int]:
    """Return a function that trains on the folder with more arguments and returns the exit status."""

    def call(*arguments: Any, out: str = "run") -> int:
        place = [] if "--resume" in arguments else ["--data", str(folder), "--out", str(tmp_path / out)]
        small = [] if "--resume" in arguments else ["--epochs", "2", "--batch-size", "5"]
        return train.main([*place, *small, "--device", "cpu", *map(str, arguments)])

    return call
