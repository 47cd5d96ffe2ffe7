"""The emulated GPU itself: it must report mistakes that a real GPU would not notice."""

import os
import sys

import numpy as np
import pytest

from minidl.kernels.gpu import source

SOURCE = """
extern "C" __global__ void reverse(const float* x, float* out) {
    __shared__ float shared[64];
    shared[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = shared[63 - threadIdx.x];
}
extern "C" __global__ void race(const float* x, float* out) {
    __shared__ float shared[64];
    shared[threadIdx.x] = x[threadIdx.x];
    out[threadIdx.x] = shared[63 - threadIdx.x];
}
extern "C" __global__ void rotate(const float* x, float* out) {
    out[threadIdx.x] = __shfl_sync(0xffffffff, x[threadIdx.x], threadIdx.x + 1);
}
extern "C" __global__ void some_wait(float* out) {
    if (threadIdx.x < 5) __syncthreads();
    out[0] = 1;
}
extern "C" __global__ void some_shuffle(float* out) {
    if (threadIdx.x < 5) out[0] = __shfl_sync(0xffffffff, 1.0f, 0);
}
extern "C" __global__ void write_at(float* out, long long place) { out[place] = 1; }
extern "C" __global__ void read_at(const float* x, float* out, long long place) {
    __syncthreads();
    out[threadIdx.x] = x[threadIdx.x + place];
}
"""


@pytest.fixture
def cupy(gpu):
    """Return the stand-in."""
    if "emulation" not in str(gpu.xp.__file__):
        pytest.skip("here is a real GPU")
    return gpu.xp


@pytest.fixture
def launch(cupy):
    """Return a function that launches a kernel of SOURCE in one block."""
    module = cupy.RawModule(code=SOURCE)
    return lambda name, threads, *args: module.get_function(name)((1,), (threads,), args)


@pytest.fixture
def x(cupy):
    """Return the numbers from 0 to 63."""
    return cupy.arange(64, dtype=np.float32)


def test_threads_wait_for_each_other_and_shuffle(cupy, launch, x):
    out = cupy.empty(64, np.float32)
    launch("reverse", 64, x, out)
    assert out.tolist() == list(range(63, -1, -1))
    launch("rotate", 64, x, out)
    assert out.tolist() == [*range(1, 32), 0, *range(33, 64), 32]


def test_a_forgotten_barrier_shows(cupy, launch, x):
    out = cupy.empty(64, np.float32)
    launch("race", 64, x, out)
    assert np.isnan(out.get()).any()


@pytest.mark.parametrize("place, threads", [(5, 64), (4, 1), (5, 2), (1 << 40, 1), (-(1 << 40), 64)])
def test_reading_beyond_an_array_is_an_error(cupy, launch, x, place, threads):
    few, out = cupy.ones(4, np.float32), cupy.empty(64, np.float32)
    with pytest.raises(RuntimeError, match=r"read_at: it reads or writes at .*, outside of its arrays"):
        launch("read_at", threads, few, out, np.int64(place))
    test_threads_wait_for_each_other_and_shuffle(cupy, launch, x)


@pytest.mark.parametrize(
    "name, message", [("some_wait", "5 wait at __syncthreads, 59 have ended"), ("some_shuffle", "deadlock")]
)
def test_threads_that_wait_for_ever_are_an_error(cupy, launch, x, name, message):
    with pytest.raises(RuntimeError, match=message):
        launch(name, 64, cupy.empty(1, np.float32))
    test_threads_wait_for_each_other_and_shuffle(cupy, launch, x)


@pytest.mark.parametrize("place", [-1, 10])
def test_writing_outside_of_an_array_is_an_error(cupy, launch, place):
    with pytest.raises(RuntimeError, match="wrote outside"):
        launch("write_at", 1, cupy.empty(10, np.float32), np.int64(place))


@pytest.mark.parametrize(
    "args, message",
    [
        (lambda xp: (xp.empty(3, np.float32), np.int32(1)), "argument 1 is declared long long, and got int32"),
        (lambda xp: (xp.empty(3), np.int64(1)), "argument 0 is declared float.*, and got ndarray of float64"),
        (lambda xp: (np.empty(3, np.float32), np.int64(1)), "argument 0 is declared"),
        (lambda xp: (xp.empty(3, np.float32), 1), "got int"),
        (lambda xp: (xp.empty(3, np.float32),), "takes 2 arguments, not 1"),
    ],
)
def test_arguments_must_be_what_a_kernel_declares(cupy, launch, args, message):
    with pytest.raises(TypeError, match=message):
        launch("write_at", 1, *args(cupy))


def test_launch_refuses_what_no_kernel_takes(cupy):
    x = cupy.empty((4, 6))
    for wrong, message in ((x[:, ::2], "is not contiguous"), (3, "is a int"), (np.zeros(3), "is a ndarray")):
        with pytest.raises(TypeError, match=message):
            source.launch("relu", "forward", x.dtype, 1, 32, (wrong, x, np.int64(12)))


def test_blocks_that_no_gpu_accepts_are_an_error(cupy, launch, x):
    with pytest.raises(ValueError, match="no card takes a block"):
        launch("race", 1025, x, x)


def test_arrays_of_host_and_device_do_not_mix(cupy, x):
    host = np.zeros(64, np.float32)
    for mix in (lambda: x + host, lambda: host + x, lambda: np.asarray(x), lambda: x.__setitem__(..., host)):
        with pytest.raises(TypeError):
            mix()
    assert float(x[3] + np.float32(1)) == 4


def test_fresh_memory_is_poisoned(cupy):
    assert np.isnan(cupy.empty(3).get()).all()
    assert cupy.empty(3, np.int8).tolist() == [-1, -1, -1]


def test_a_capture_runs_nothing_until_it_is_launched(cupy, launch, x):
    out = cupy.zeros(64, np.float32)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        launch("reverse", 64, x, out)
        out += 1
        for forbidden in (lambda: out.get(), lambda: float(out[0]), lambda: cupy.asarray([1.0]), stream.synchronize):
            with pytest.raises(RuntimeError, match="captur"):
                forbidden()
        graph = stream.end_capture()
    assert not out.get().any()
    for _ in range(2):
        graph.launch()
        assert out.tolist() == list(range(64, 0, -1))


def test_a_compiled_library_is_complete_when_other_processes_find_it(cupy, tmp_path, monkeypatch):
    from cupy import raw

    found, replace = [], os.replace

    def note(part, path):
        assert not path.exists()
        found.append(path.suffix)
        replace(part, path)

    monkeypatch.setattr(raw, "CACHE", tmp_path)
    monkeypatch.setattr(os, "replace", note)
    cupy.RawModule(code='extern "C" __global__ void nothing(float* out) {}').get_function("nothing")
    assert found == [".ii", ".gch", ".so"]  # the library that other processes look for is written last


def test_a_missing_gpu_is_an_error_of_one_sentence(cupy, monkeypatch):
    from minidl import kernels
    from minidl.kernels import MinidlError

    monkeypatch.setattr(cupy.cuda, "is_available", lambda: False)
    with pytest.raises(MinidlError, match=r"finds no NVIDIA GPU.*--device cpu"):
        kernels.load("gpu")
    assert kernels.load("auto").device == "cpu"
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MinidlError, match=r"CuPy is missing; install it with.*cuda12.*--device cpu"):
        kernels.load("gpu")
