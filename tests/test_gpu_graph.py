"""Steps that are recorded as a CUDA graph and launched again."""

import gc
import logging
import threading
import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from conftest import EMULATED, needs_cudnn

from minidl import kernels
from minidl.kernels import Kernels
from minidl.kernels.augment import Crops
from minidl.kernels.errors import MinidlError
from minidl.layers import Flatten, FullyConnected, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net

Array = Any


class Step:
    """A step that adds ``rate`` to each element of ``total``, and counts how often Python runs it."""

    def __init__(self, gpu: Kernels) -> None:
        self.xp = gpu.xp
        self.total, self.rate = gpu.xp.zeros(4, np.float32), gpu.xp.ones(4, np.float32)
        self.calls, self.version = 0, 0
        self.also: Callable[[], Any] = lambda: None
        self.recorded = gpu.record(self.run, lambda: self.version)

    def run(self) -> None:
        from minidl.kernels.gpu import bias

        self.calls += 1
        bias.add(self.rate, self.total)
        self.also()


@pytest.fixture
def step(gpu: Kernels) -> Step:
    """Return a step that is called repeatedly."""
    return Step(gpu)


def test_after_two_calls_the_graph_runs_without_python(gpu: Kernels, step: Step) -> None:
    for count in range(1, 7):
        step.recorded()
        np.testing.assert_array_equal(gpu.host(step.total), count)
        assert step.calls == min(count, 3)  # the third call only records


def test_values_on_the_device_may_change(gpu: Kernels, step: Step) -> None:
    for _ in range(4):
        step.recorded()
    step.rate[...] = 10
    step.recorded()
    np.testing.assert_array_equal(gpu.host(step.total), 14)


def test_another_version_is_recorded_again(gpu: Kernels, step: Step) -> None:
    for _ in range(4):
        step.recorded()
    old, step.total, step.version = step.total, gpu.xp.zeros(4, np.float32), 1
    for count in range(1, 6):
        step.recorded()
        np.testing.assert_array_equal(gpu.host(step.total), count)
    assert step.calls == 6
    np.testing.assert_array_equal(gpu.host(old), 4)


def test_a_version_that_settles_in_the_first_call(step: Step) -> None:
    """As in a training whose first step allocates the buffers."""
    step.also = lambda: setattr(step, "version", 1)
    for _ in range(5):
        step.recorded()
    assert step.calls == 3


def test_a_step_that_cannot_be_recorded_runs_directly_and_warns_once(
    gpu: Kernels, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []
    step.also = lambda: seen.append(float(gpu.host(step.total)[0]))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            step.recorded()
        step.version = 1
        for _ in range(4):
            step.recorded()
    np.testing.assert_array_equal(gpu.host(step.total), 8)
    assert seen == list(range(1, 9))
    assert len(caplog.records) == 1
    assert "run one kernel at a time" in caplog.records[0].message


def test_an_error_ends_the_recording(gpu: Kernels, step: Step) -> None:
    def fail() -> None:
        raise MinidlError("no")

    for _ in range(2):
        step.recorded()
    step.also = fail
    with pytest.raises(MinidlError, match="no"):
        step.recorded()
    step.also = lambda: None
    for _ in range(2):
        step.recorded()
    np.testing.assert_array_equal(gpu.host(step.total), 4)


@pytest.mark.parametrize("library", ["cuBLAS", "cuDNN"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_products_can_be_recorded(gpu: Kernels, random: np.random.Generator, library: str, precision: str) -> None:
    """Including their temporary memory: columns, workspaces, operands in bfloat16."""
    from minidl.kernels.gpu import products

    before = products.library()
    try:
        if library == "cuDNN":
            needs_cudnn()
        products.choose(precision, library)
        plan = gpu.convolution.plan(gpu.convolution.Geometry((6, 7, 4), 5, (3, 3), 2, 1))
        dense = gpu.fully_connected
        shapes = [(3, 6, 7, 4), (5, 3, 3, 4), (5,), (3, 3, 4, 5), (8, 60), (8,), (3, 8)]
        data, weights, biases, out, matrix, offsets, logits = (
            gpu.xp.asarray(random.standard_normal(shape), np.float32) for shape in shapes
        )
        grads, of_biases, of_matrix, of_offsets = map(gpu.xp.empty_like, (weights, biases, matrix, offsets))
        error, back = gpu.xp.empty_like(out), gpu.xp.empty_like(data)

        def step() -> None:
            plan.forward(data, weights, biases, out)
            dense.forward(out.reshape(3, -1), matrix, offsets, logits)
            dense.comp_grads(logits, out.reshape(3, -1), of_matrix, of_offsets)
            dense.backward(logits, matrix, error.reshape(3, -1))
            plan.comp_grads(error, data, grads, of_biases)
            plan.backward(error, weights, back)

        results = (out, logits, of_matrix, of_offsets, error, grads, of_biases, back)
        recorded = gpu.record(step, lambda: 0)
        for _ in range(5):
            data[...] = gpu.xp.asarray(random.standard_normal(data.shape), np.float32)
            step()
            expected = [gpu.host(result) for result in results]
            for result in results:
                result[...] = np.nan
            recorded()
            for result, wanted in zip(results, expected, strict=True):
                np.testing.assert_array_equal(gpu.host(result), wanted)
        assert recorded.graph is not None
    finally:
        products.choose("fp32", before)


def test_a_call_by_hand_can_be_recorded(
    gpu: Kernels, random: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """Its arrays are checked without reading their elements, which would end the recording."""
    xp, images = gpu.xp, random.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    stored, classes, made = gpu.augment.store(images), xp.arange(3), xp.zeros(3, np.int64)
    crops = Crops(xp.zeros(1, np.int64), xp.asarray([2, 0, 1]), xp.zeros((3, 2), np.int64))
    out = xp.empty((3, 4, 4, 3), np.float32)

    def crop() -> None:
        crops.position[...] = 0
        gpu.augment.crop(stored, classes, crops, np.zeros(3), 1.0, out, made)

    recorded = gpu.record(crop, lambda: 0)
    for _ in range(4):
        out[...] = np.nan
        recorded()
        np.testing.assert_array_equal(gpu.host(out), images[[2, 0, 1]])
    assert recorded.graph is not None
    assert not caplog.records
    crops.position[...] = 0
    crops.order[...] = 3
    with pytest.raises(MinidlError, match=r"crops\.order must be at least 0 and below 3"):
        crop()  # outside a recording, they are read


def test_on_a_cpu_record_returns_the_function_itself() -> None:
    calls = []
    recorded = kernels.load("cpu").record(lambda: calls.append(1), lambda: 0)
    for _ in range(5):
        recorded()
    assert len(calls) == 5


def test_a_lack_of_memory_in_a_recording_refuses_it(gpu: Kernels, step: Step, caplog: pytest.LogCaptureFixture) -> None:
    """A graph needs separate memory, which may be too large. CuPy's OutOfMemoryError is a MemoryError."""

    def out_of_memory() -> None:
        if gpu.xp.cuda.get_current_stream().is_capturing():
            raise MemoryError("Out of memory allocating 1,024 bytes\nand more")

    step.also = out_of_memory
    with caplog.at_level(logging.WARNING):
        for count in range(1, 6):
            step.recorded()
            np.testing.assert_array_equal(gpu.host(step.total), count)
    assert [record.message.split(": ")[1] for record in caplog.records] == ["Out of memory allocating 1,024 bytes"]


class TestRanks:
    """NCCL requires that a sum over ranks is recorded by all of them, or by none."""

    def test_a_refusal_of_another_rank_is_also_one_of_this_rank(
        self, gpu: Kernels, step: Step, caplog: pytest.LogCaptureFixture
    ) -> None:
        step.version = 7

        def total(number: int) -> int:
            return number if number == step.version else number + 1  # the other rank refuses

        recorded = gpu.record(step.run, lambda: step.version, total)
        with caplog.at_level(logging.WARNING):
            for count in range(1, 6):
                recorded()
                np.testing.assert_array_equal(gpu.host(step.total), count)
        assert "another rank" in caplog.text
        assert recorded.graph is None

    @pytest.mark.parametrize("other", [3, 50])
    def test_new_arrays_of_any_rank_let_all_ranks_record_again(self, gpu: Kernels, step: Step, other: int) -> None:
        """Whether the other rank has made more arrays so far, or fewer."""
        others = [other]
        step.version = 10

        def total(number: int) -> int:
            return number + others[0] if number == step.version else number  # no rank refuses

        recorded = gpu.record(step.run, lambda: step.version, total)
        for _ in range(4):
            recorded()
        assert step.calls == 3
        others[0] += 1
        for _ in range(4):
            recorded()
        assert step.calls == 6


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_collected_while_a_stream_records(step: Step, enabled: bool) -> None:
    """Objects that it frees may make calls that cannot be recorded; so they are freed before the recording."""
    freed, while_recording = [], []
    weakref.finalize(step_garbage := Garbage(), freed.append, 1)
    step_garbage.itself = step_garbage
    del step_garbage

    def look() -> None:
        if step.calls == 3:
            while_recording.append((gc.isenabled(), len(freed)))

    step.also = look
    (gc.enable if enabled else gc.disable)()
    try:
        for _ in range(3):
            step.recorded()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    assert while_recording == [(False, 1)]


class Garbage:
    """An object that refers to itself, so that only a collection frees it."""

    itself: Any


@pytest.mark.skipif(not EMULATED, reason="a card does not tell")
class TestStandIn:
    """Mistakes that only the stand-ins notice."""

    def test_a_graph_that_reads_what_was_freed_since(self, gpu: Kernels, step: Step) -> None:
        extra = [gpu.xp.ones(4, np.float32)]
        step.also = lambda: np.add(step.total, extra[0], out=step.total) if extra else None
        for _ in range(4):
            step.recorded()
        extra.clear()
        with pytest.raises(RuntimeError, match="freed since"):
            step.recorded()

    def test_a_kernel_of_a_graph_that_reads_what_was_freed_since(self, gpu: Kernels, step: Step) -> None:
        for _ in range(4):
            step.recorded()
        step.rate = None
        with pytest.raises(RuntimeError, match="freed since"):
            step.recorded()

    @pytest.mark.parametrize("library", ["cuBLAS", "cuDNN"])
    def test_a_product_of_a_graph_that_reads_what_was_freed_since(self, gpu: Kernels, step: Step, library: str) -> None:
        algorithm = "cudnn" if library == "cuDNN" else "im2col"
        plan = gpu.convolution.plan(gpu.convolution.Geometry((3, 3, 2), 2, (3, 3)), algorithm)
        weights = [gpu.xp.ones((2, 3, 3, 2), np.float32)]
        data, out = gpu.xp.ones((1, 3, 3, 2), np.float32), gpu.xp.ones((1, 1, 1, 2), np.float32)
        step.also = lambda: plan.product("fprop", data, weights[0], out) if weights else None
        for _ in range(4):
            step.recorded()
        weights.clear()
        with pytest.raises(RuntimeError, match="freed since"):
            step.recorded()

    def test_names_that_cupy_lacks_are_missing_here_too(self, gpu: Kernels) -> None:
        array = gpu.xp.ones(4, np.float32)
        for name in ("block", "ndenumerate", "spacing"):
            with pytest.raises(AttributeError, match=name):
                getattr(gpu.xp, name)
        with pytest.raises(AttributeError, match="setfield"):
            array.setfield(1, np.float32)
        with pytest.raises(TypeError, match=r"no np\.block"):
            np.block([array, array])
        assert gpu.xp.linalg.norm(array).shape == ()
        with pytest.raises(AttributeError, match="multi_dot"):
            gpu.xp.linalg.multi_dot([array, array])

    @pytest.mark.parametrize("block", [(2, 1, 65), (1, 1025), (512,), (257,)])
    def test_blocks_that_no_card_or_no_kernel_takes(self, gpu: Kernels, block: tuple[int, ...]) -> None:
        from minidl.kernels.gpu import source

        array = gpu.xp.ones(4, np.float32)
        with pytest.raises(ValueError, match="block"):
            source.launch("relu", "forward", np.float32, 1, block, (array, array, np.int64(4)))

    def test_only_the_default_stream_has_the_number_0(self, gpu: Kernels) -> None:
        cuda = gpu.xp.cuda
        assert cuda.Stream.null.ptr == 0
        assert cuda.get_current_stream().ptr != 0
        assert cuda.Stream(non_blocking=True).ptr not in (0, cuda.get_current_stream().ptr)

    def test_vectors_that_are_not_aligned(self, gpu: Kernels) -> None:
        code = """struct alignas(16) Vector { float at[4]; };
        extern "C" __global__ void copy(const float* x, float* out) { *(Vector*)out = *(const Vector*)x; }"""
        copy = gpu.xp.RawModule(code=code).get_function("copy")
        memory, out = gpu.xp.ones(9, np.float32), gpu.xp.zeros(4, np.float32)
        copy((1,), (1,), (memory[4:], out))
        with pytest.raises(RuntimeError, match="not aligned"):
            copy((1,), (1,), (memory[1:], out))


def test_read_later_does_not_wait_and_returns_the_earlier_values(gpu: Kernels) -> None:
    array = gpu.xp.zeros(3, np.float64)
    look = gpu.read_later(array)
    seen = []
    for i in range(1, 6):
        array[...] = i
        seen.append(look().tolist())
    assert seen == [[float(i)] * 3 for i in (1, 1, 2, 3, 4)]
    other, look = deepcopy((array, look))
    other[...] = 7
    assert look().tolist() == [7, 7, 7]


def test_on_other_devices_read_later_returns_the_present_values() -> None:
    for device in ("cpu", "reference"):
        array = np.zeros(3)
        look = kernels.load(device).read_later(array)
        array[...] = 7
        assert look().tolist() == [7, 7, 7]
        other, look = deepcopy((array, look))
        other[...] = 8
        assert look().tolist() == [8, 8, 8]


def test_a_diverged_training_is_noticed_one_look_later(gpu: Kernels) -> None:
    loss = SoftmaxCrossEntropy(gpu)
    output, labels = gpu.xp.zeros((2, 3), np.float32), gpu.xp.zeros(2, np.int64)
    losses = []
    for step in range(4):
        output[...] = np.nan if step == 1 else 0
        loss(output, labels)
        losses.append(loss.latest_score().loss)
    assert np.isfinite(losses).tolist() == [True, True, False, False]
    assert np.isnan(loss.score().loss)


class TestBeside:
    """Two parts of a step as branches of one graph."""

    def test_both_branches_run_and_later_work_waits_for_them(self, gpu: Kernels, step: Step) -> None:
        from minidl.kernels.gpu import bias

        one, both = gpu.xp.zeros(4, np.float32), gpu.xp.zeros(4, np.float32)

        def parts() -> None:
            bias.add(step.total, one)
            result = gpu.concurrently(
                lambda: bias.add(step.rate, one), lambda: bias.add(step.rate, step.total) or "second"
            )
            assert result == "second"
            bias.add(one, both)
            bias.add(step.total, both)

        step.also = parts
        expected_one, expected_both, total = 0, 0, 0
        for _ in range(5):
            step.recorded()
            total += 1
            expected_one += total + 1
            total += 1
            expected_both += expected_one + total
            assert [gpu.host(array)[0] for array in (one, step.total, both)] == [expected_one, total, expected_both]
        assert step.recorded.graph is not None  # type: ignore[attr-defined]

    @pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
    def test_a_layer_computes_gradients_and_error_concurrently(
        self, gpu: Kernels, random: np.random.Generator, precision: str
    ) -> None:
        from minidl.context import Context
        from minidl.kernels.gpu import products
        from minidl.layers import Convolution, Flatten, FullyConnected, Sequential

        products.choose(precision)
        try:
            root = Sequential(Convolution(8, 3), Convolution(8, 3), Flatten(), FullyConnected(8), FullyConnected(3))
            root.setup((5, 4, 8), Context(gpu, np.dtype(np.float32), random))
            data, error = (gpu.xp.asarray(random.standard_normal(s), np.float32) for s in ((6, 5, 4, 8), (6, 3)))
            grads = [parameter.grads for parameter in root.parameters()]
            back = gpu.xp.empty_like(data)

            def step() -> None:
                root.forward(data)
                back[...] = root.backpropagate(error)

            recorded = gpu.record(step, lambda: root.children[0].context.allocations)
            step()
            expected = [gpu.host(array) for array in (*grads, back)]
            for _ in range(6):
                for array in (*grads, back):
                    array[...] = np.nan
                recorded()
                for array, values in zip((*grads, back), expected, strict=True):
                    np.testing.assert_array_equal(gpu.host(array), values)
            assert recorded.graph is not None
        finally:
            products.choose("fp32")

    @pytest.mark.skipif(not EMULATED, reason="a card may run both parts in any order")
    def test_the_emulation_runs_branches_in_the_other_order(self, gpu: Kernels, step: Step) -> None:
        """So that branches that depend on each other give another result."""
        from minidl.kernels.gpu import bias

        copy = gpu.xp.zeros(4, np.float32)
        step.also = lambda: gpu.concurrently(
            lambda: bias.add(step.total, copy), lambda: bias.add(step.rate, step.total)
        )
        for _ in range(2):
            step.recorded()
        assert gpu.host(copy)[0] == 1 + 3
        step.recorded()
        assert gpu.host(copy)[0] == 1 + 3 + 6


def test_another_stream_for_a_while_changes_nothing(gpu: Kernels, step: Step) -> None:
    """CuPy itself enters another stream when it copies an array that is not contiguous to the host."""
    for count in range(1, 5):
        with gpu.xp.cuda.Stream(non_blocking=True) as other:
            assert gpu.xp.cuda.get_current_stream() == other
        assert gpu.xp.cuda.get_current_stream().ptr != 0
        step.recorded()
        np.testing.assert_array_equal(gpu.host(step.total), count)
    assert step.calls == 3


class TestTurns:
    """Threads that run nets on a GPU take turns, in one stream."""

    def test_a_net_leaves_the_default_stream_which_cannot_record(self, gpu: Kernels, step: Step) -> None:
        cuda = gpu.xp.cuda
        usual = cuda.get_current_stream()
        usual.synchronize()  # its arrays are there before another stream takes them
        for count in range(1, 6):
            with cuda.Stream.null:
                step.recorded()
                assert cuda.get_current_stream() == cuda.Stream.null
            assert cuda.get_current_stream() == usual
            np.testing.assert_array_equal(gpu.host(step.total), count)
        assert step.calls == 3

    @pytest.mark.parametrize("own", [False, True])
    def test_another_thread_computes_in_the_same_stream(self, gpu: Kernels, step: Step, own: bool) -> None:
        """Its turn begins after all earlier work in its own stream, which continues after the turn."""
        cuda = gpu.xp.cuda
        usual, seen = cuda.get_current_stream(), []
        usual.synchronize()  # its arrays are there before another stream takes them
        step.also = lambda: seen.append(cuda.get_current_stream().ptr)

        def compute() -> None:
            with cuda.Stream(non_blocking=True) if own else cuda.Stream.null as here:
                for _ in range(4):
                    step.rate *= 2
                    step.recorded()
                    step.total += 1
                    assert cuda.get_current_stream() == here
                here.synchronize()  # the last sum is there before another stream reads it

        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        assert seen == [usual.ptr] * 3
        assert step.recorded.graph is not None  # type: ignore[attr-defined]
        np.testing.assert_array_equal(gpu.host(step.total), 2 + 4 + 8 + 16 + 4)

    def test_a_turn_that_cannot_begin_releases_the_lock(self, gpu: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
        """Otherwise all other threads would wait for ever."""
        turn, found = gpu.lock(), []

        def fails(stream: Any) -> Any:
            raise RuntimeError("an illegal address")

        monkeypatch.setattr(gpu.xp.cuda.Stream, "wait_event", lambda *_: fails(None))
        with gpu.xp.cuda.Stream.null, pytest.raises(RuntimeError, match="illegal"):
            turn.__enter__()
        thread = threading.Thread(target=lambda: found.append(turn.lock.acquire(timeout=5)) or turn.lock.release())
        thread.start()
        thread.join()
        assert found == [True]

    def test_a_net_in_another_thread_waits_for_the_end_of_a_recording(self, gpu: Kernels, step: Step) -> None:
        """Otherwise its kernels would be recorded, too, and not run."""
        net = Net(Sequential(Flatten(), FullyConnected(3)), (2, 2, 1), gpu)
        data = np.ones((2, 2, 2, 1), np.float32)
        expected = net.predict(data)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(net.predict(data)))

        def while_recording() -> None:
            if step.calls == 3:
                thread.start()
                thread.join(0.3)
                assert not found

        step.also = while_recording
        for _ in range(4):
            step.recorded()
        thread.join()
        np.testing.assert_array_equal(found[0], expected)
        np.testing.assert_array_equal(gpu.host(step.total), 4)


def test_a_branch_is_waited_for_even_after_an_error(gpu: Kernels, step: Step) -> None:
    """While a stream records, a branch that is not joined again would break the recording."""
    out = gpu.xp.zeros(4, np.float32)

    def fails() -> None:
        raise ValueError("no")

    def both() -> None:
        for first, second in ((fails, lambda: None), (lambda: step.rate.sum(), fails)):
            with pytest.raises(ValueError, match="no"):
                gpu.concurrently(first, second)
        out[...] = step.rate

    recorded = gpu.record(both, lambda: 0)
    for _ in range(4):
        recorded()
    np.testing.assert_array_equal(gpu.host(out), 1)


def test_arrays_that_begin_between_vectors_are_copied(gpu: Kernels) -> None:
    flat = gpu.xp.arange(65, dtype=np.float32)
    for start in (0, 1, 4):
        view = flat[start : start + 60].reshape(3, 20)
        found = gpu.array(view, np.float32)
        assert found.data.ptr % 16 == 0
        np.testing.assert_array_equal(gpu.host(found), gpu.host(view))
