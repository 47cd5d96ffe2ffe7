"""Parts of a compiled loop: each is called once, with its number, and they run in parallel."""

import gc

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from numba.core.caching import NullCache  # noqa: E402

from minidl.kernels.cpu.loops.numba_compiler import compiled, parallel, ready  # noqa: E402
from minidl.kernels.cpu.loops.numba_parts import in_parts  # noqa: E402
from minidl.kernels.cpu.loops.numba_threads import add_at, let_others_run  # noqa: E402

PATIENCE = 1_000_000  # checks whether the others have begun


@parallel
def together(weights, numbers, seen, met, counter, parts):
    in_parts(meet, (weights, numbers, seen, met, counter), parts)


@compiled
def meet(weights, numbers, seen, met, counter, part, parts):
    """Record the part and its arguments, and wait until as many parts have begun as there are threads."""
    threads, factor = numbers
    seen[part] += factor * weights[part] + parts
    add_at(counter.ctypes.data, 1)
    patience = PATIENCE
    while add_at(counter.ctypes.data, 0) < min(threads, parts) and patience > 0:
        patience -= 1
        let_others_run()
    met[part] = patience > 0


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_each_part_is_called_once_in_parallel_with_the_others(random, parts):
    ready()
    weights, seen, met = random.standard_normal(parts), np.zeros(parts), np.zeros(parts, bool)
    together(weights, (numba.get_num_threads(), 0.5), seen, met, np.zeros(1, np.int64), parts)
    np.testing.assert_array_equal(seen, 0.5 * weights + parts)
    assert met.all()


def test_the_garbage_collector_is_off_only_while_a_loop_is_compiled(monkeypatch):
    collects = []

    def add(total, parts):
        total[0] += parts

    loop = parallel(add)
    loop.compiled._cache = NullCache()
    whole = loop.compiled.targetctx.codegen
    monkeypatch.setattr(loop.compiled.targetctx, "codegen", lambda: collects.append(gc.isenabled()) or whole())
    total = np.zeros(1)
    for _ in range(2):
        loop(total, 2)
    assert total[0] == 4
    assert collects
    assert not any(collects)
    assert gc.isenabled()


def test_forms_that_two_processes_save_at_the_same_time_have_different_files(tmp_path, monkeypatch):
    """Each process has read the index before the other one wrote to it."""
    from minidl.kernels.cpu.loops.numba_compiler import _Files

    files = [_Files(str(tmp_path), "loop", "stamp") for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(_Files, "_load_index", lambda self: {})
        for one, kind in zip(files, ("float32", "float64"), strict=True):
            one.save((kind, "cpu"), f"code for {kind}")
    assert len(list(tmp_path.glob("*.nbc"))) == 2
    assert files[0].load(("float64", "cpu")) == "code for float64"
    assert files[0].load(("float32", "cpu")) is None  # missing in the index, and compiled again
