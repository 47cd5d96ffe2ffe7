"""The benchmarks of the GPU, at sizes at which they measure nothing: every call in them is one that works."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minidl.experiment import recipes
from minidl.kernels import Kernels

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the benchmarks, as a script of theirs does."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "kernels", raising=False)


def test_every_kernel_has_a_row(backend: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    import kernels as benchmark

    monkeypatch.setattr(benchmark, "IN_A_ROW", 1)
    rows = benchmark.measure(backend, megabytes=0.02, rounds=1)
    assert rows[0]["kernel"] == "copy"
    assert len({row["kernel"] for row in rows}) == len(rows) > 45
    assert all(row["ms"] > 0 and row["mb"] > 0 for row in rows)
    assert len(benchmark.table(rows).splitlines()) == len(rows) + 2
    names = [row["kernel"] for row in rows]
    plain = [i for i, name in enumerate(names) if name.endswith(", elementwise")]
    assert len(plain) == (30 if backend.device == "gpu" else 0)
    assert all(names[i] == f"{names[i - 1]}, elementwise" for i in plain)


def test_a_step_on_the_gpu(gpu: Kernels, small: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_step
    import step

    small("c", filters=(3, 4, 8), hidden=20)
    settings: Any = recipes.RECIPES["cifar10"]
    monkeypatch.setitem(recipes.RECIPES, "cifar10", type(settings)(**{**vars(settings), "batch_size": 2}))
    monkeypatch.setitem(step.CASES, "c", step.CASES["c"]._replace(shape=(8, 8, 3)))
    monkeypatch.setattr(gpu_step, "IN_A_ROW", 1)
    row = gpu_step.measure("c", "WC, GC, fully", "fp32", rounds=1, compiled=False)
    assert row["recorded"]
    assert row["precision"] == "fp32"
    assert min(row["ours_ms"], row["ours_eager_ms"], row["without_wc_gc_ms"]) > 0
    assert row["recipe_hours"] == pytest.approx(25_000 * 300 * row["ours_ms"] / 3.6e6, abs=0.01)
    assert gpu_step.table([row]).count("\n") == 2


def test_make_gpu_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import gpu as job

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(job, "CHECKOUT", tmp_path)
    with pytest.raises(SystemExit) as exit_status:
        job.main()
    assert exit_status.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("make gpu: no GPU can be used: the package CuPy is missing")
    assert shown.count("\n") == 1
    assert (tmp_path / "minidl" / "kernels" / "relu.py").exists()
    assert (tmp_path / "minidl" / "layer.py").exists()
