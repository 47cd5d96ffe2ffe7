"""The benchmarks at tiny sizes, where they measure nothing: every call in them works."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import EMULATED

from minidl import kernels, optimizers
from minidl.experiment import recipes
from minidl.kernels import Kernels

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benchmarks be imported, as from a script in their folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "kernels", raising=False)


@pytest.mark.quick_on("reference", "numpy", "numba")
def test_every_kernel_has_a_row(
    backend: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import kernels as benchmark

    monkeypatch.setattr(benchmark, "IN_A_ROW", 1)
    rows = benchmark.measure(backend, megabytes=0.02, rounds=1)
    assert not caplog.records, "it was not recorded, and the time includes Python's"
    assert rows[0]["kernel"] == "copy"
    assert len({row["kernel"] for row in rows}) == len(rows) > 45
    assert all(row["ms"] > 0 and row["mb"] > 0 for row in rows)
    assert len(benchmark.table(rows).splitlines()) == len(rows) + 2
    names = [row["kernel"] for row in rows]
    plain = [i for i, name in enumerate(names) if name.endswith(", elementwise")]
    assert len(plain) == (30 if backend.device == "gpu" else 0)
    assert all(names[i] == f"{names[i - 1]}, elementwise" for i in plain)


@pytest.mark.parametrize("ms, times", [(1, 20), (100, 5), (60_000, 3)])
def test_a_slow_kernel_is_measured_less_often(monkeypatch: pytest.MonkeyPatch, ms: float, times: int) -> None:
    import kernels as benchmark

    runs: list[Any] = []
    monkeypatch.setattr(benchmark, "timer", lambda k: lambda work: runs.append(work) or ms)
    monkeypatch.setattr(benchmark, "cases", lambda k, make: [benchmark.Case("copy", lambda: None, 1000)])
    (row,) = benchmark.measure(kernels.load("cpu"), megabytes=0.02, rounds=20)
    assert row["ms"] == ms / benchmark.IN_A_ROW
    assert len(runs) == benchmark.WARM_UPS + times


@pytest.mark.thorough
def test_a_step_on_the_gpu(gpu: Kernels, small: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_step
    import step

    small("c", filters=(3, 4, 8), hidden=20)
    settings: Any = recipes.RECIPES["cifar10"]
    monkeypatch.setitem(recipes.RECIPES, "cifar10", type(settings)(**{**vars(settings), "batch_size": 2}))
    monkeypatch.setitem(step.CASES, "c", step.CASES["c"]._replace(shape=(8, 8, 3)))
    monkeypatch.setattr(gpu_step, "IN_A_ROW", 1)
    monkeypatch.setattr(gpu_step, "has_torch", lambda: False)  # whose net does not accept such small images
    row = gpu_step.measure("c", "WC, GC, fully", "fp32", rounds=1, compiled=False)
    assert row["recorded"]
    assert row["precision"] == "fp32"
    assert min(row["ours_ms"], row["ours_eager_ms"], row["without_wc_gc_ms"]) > 0
    assert row["recipe_hours"] == pytest.approx(25_000 * 300 * row["ours_ms"] / 3.6e6, abs=0.01)
    assert gpu_step.table([row]).count("\n") == 2


def test_the_profile_of_a_step(small: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    import step

    small("c", filters=(3, 4, 8), hidden=20)
    monkeypatch.setitem(step.CASES, "c", step.CASES["c"]._replace(shape=(8, 8, 3)))
    update = optimizers.SGD.step
    spent = step.profile("c", "WC, GC, fully, BN", rounds=2)
    assert spent.keys() >= {"conv", "bn", "relu", "fc", "optimizer"}
    assert spent["conv"].keys() == {"forward", "backward", "comp_grads"}
    assert sum(spent["conv"].values()) > 0
    assert optimizers.SGD.step is update


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the script of ``make gpu``, with a separate checkout, in a process without CuPy."""
    import gpu

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(gpu, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    return gpu


def test_make_gpu_without_a_gpu(job: Any, monkeypatch: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('no CuPy')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit) as exit_status:
        job.main([])
    assert exit_status.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("make gpu: no GPU can be used: the package CuPy is missing")
    assert shown.count("\n") == 1
    assert (tmp_path / "checkout" / "minidl" / "kernels" / "relu.py").exists()
    assert (tmp_path / "checkout" / "minidl" / "layer.py").exists()


def test_make_gpu_leaves_the_gpu_to_its_children(job: Any, monkeypatch: Any, tmp_path: Path) -> None:
    """Here is no CuPy; a child process has the stand-in and a PyTorch without CUDA, and finds no conflict."""
    if not EMULATED or not sys.platform.startswith("linux"):
        pytest.skip("the stand-in is made for Linux, and for one CUDA alone")
    (tmp_path / "cupy").symlink_to(Path(__file__).parent / "emulation" / "cupy")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise AssertionError('nobody needs it here')")
    (tmp_path / "torch" / "version.py").write_text("cuda: str | None = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job.lay_out()
    assert job.card(job.Job()) == "an emulated GPU"
    (tmp_path / "torch" / "version.py").write_text("__version__ = '3.0'\ncuda: str | None = '13.2'\n")
    with pytest.raises(SystemExit):
        job.card(job.Job())


def test_cudas_that_do_not_agree(job: Any) -> None:
    assert job.disagreement({"CuPy": 12, "PyTorch": 12, "cuDNN (nvidia-cudnn-cu12)": 12}, 13) == ""
    assert job.disagreement({"CuPy": 12, "PyTorch": 13}, 13).startswith("CuPy for CUDA 12, PyTorch for CUDA 13: they")
    assert job.disagreement({"CuPy": 12, "cuDNN (nvidia-cudnn-cu13)": 13}, 13)
    assert job.disagreement({"CuPy": 13}, 12).startswith("CuPy is made for CUDA 13, and the driver knows CUDA 12")


def test_a_part_that_takes_too_long_keeps_what_it_has_found(job: Any, monkeypatch: Any, tmp_path: Path) -> None:
    """Even if a process that it has started keeps the output open."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "benchmarks" / "slow.py").write_text(
        "import subprocess, sys, time\nfrom pathlib import Path\n"
        'Path(sys.argv[4]).write_text(\'[{"kernel": "copy"}]\')\n'
        "subprocess.Popen(['sleep', '60'])\nprint('one', flush=True)\ntime.sleep(60)\n"
    )
    (tmp_path / "benchmarks" / "fails.py").write_text("raise SystemExit('no memory')")
    monkeypatch.setattr(job, "ROOT", tmp_path)
    work = job.Job()
    work.ends = time.monotonic() + 1
    assert job.rows(work, "slow.py", [], 100) == [{"kernel": "copy"}]
    assert work.left() > -5
    assert job.rows(work, "fails.py", ["--model", "c"], 100) == []
    assert work.failed == ["slow.py: out of time", "fails.py --model c: FAILED (1): no memory"]


@pytest.mark.thorough
def test_tests_that_are_stopped_have_said_what_failed(job: Any, monkeypatch: Any, tmp_path: Path) -> None:
    """With the settings of this project's pytest."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_bytes((Path(__file__).parents[1] / "pyproject.toml").read_bytes())
    (tmp_path / "tests" / "test_gpu_some.py").write_text(
        "import time\n\n\ndef test_one():\n    pass\n\n\ndef test_two():\n    assert False\n\n\n"
        "def test_three(request):\n    time.sleep(60 if (request.config.rootpath / 'wait').exists() else 0)\n"
    )
    monkeypatch.setattr(job, "ROOT", tmp_path)
    monkeypatch.setattr(job, "PROCESSES", 1)
    assert job.tests(job.Job()).startswith("FAILED (1): 1 failed, 2 passed in ")
    (tmp_path / "wait").touch()
    work = job.Job()
    work.ends = time.monotonic() + 10
    assert job.tests(work).startswith("out of time after: 1 failed, 1 passed in ")


@pytest.mark.parametrize("failed, status", [("1 failed, ", 1), ("", 0)])
def test_make_gpu_fails_if_a_test_has_failed_before_it_was_stopped(
    job: Any, monkeypatch: Any, failed: str, status: int
) -> None:
    monkeypatch.setattr(job, "card", lambda job: "NVIDIA Test")
    monkeypatch.setattr(job, "tests", lambda job: f"out of time after: {failed}1 passed in 6.00s")
    with pytest.raises(SystemExit) as exit_status:
        job.main(["--parts", "tests"])
    assert exit_status.value.code == status


def test_no_part_begins_without_time(job: Any, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    begun: list[str] = []
    monkeypatch.setattr(job, "LIMIT", job.ENOUGH - 1)
    monkeypatch.setattr(job, "card", lambda job: "NVIDIA Test")
    monkeypatch.setattr(job.Job, "run", lambda self, command, seconds: begun.append(command[0]) or ("", 0))
    with pytest.raises(SystemExit) as exit_status:
        job.main([])
    assert exit_status.value.code == 0
    assert begun == []
    assert "- racecheck: not begun for lack of time" in capsys.readouterr().out


def test_some_parts_join_what_was_found_of_the_same_commit(job: Any, monkeypatch: Any, tmp_path: Path) -> None:
    ours = {"model": "c", "ours_ms": 0.5}
    monkeypatch.setattr(job, "card", lambda job: "NVIDIA Test")
    monkeypatch.setattr(job, "tests", lambda job: "5 passed")
    monkeypatch.setattr(job, "rows", lambda job, script, arguments, seconds: [{**ours, "model": arguments[1]}])
    for arguments in (["--parts", "tests"], ["--parts", "steps", "--model", "a", "c"], ["--parts", "compiled"]):
        with pytest.raises(SystemExit):
            job.main(arguments)
    monkeypatch.setattr("minidl.experiment.saving.commit.commit", lambda: "abc with changes")
    with pytest.raises(SystemExit):
        job.main(["--parts", "tests"])
    assert len(list((tmp_path / "results").glob("Test-*-abc-with-changes.json"))) == 1
    (found,) = (json.loads(p.read_text()) for p in (tmp_path / "results").glob("Test-*.json") if "abc" not in p.name)
    assert found["tests"] == "5 passed"
    assert sorted(row["model"] for row in found["steps"]) == sorted(job.MODELS)
    assert "kernels" not in found
    (page,) = (p for p in (tmp_path / "results").glob("Test-*.md") if "abc" not in p.name)
    assert "- tests: 5 passed" in page.read_text()


def test_a_benchmark_says_which_kernels_blas_has(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import blas_kernels

    monkeypatch.delenv(blas_kernels.OVERRIDE, raising=False)
    blas_kernels.announce()
    printed = capsys.readouterr()
    assert printed.out.startswith("BLAS: ")
    assert not printed.err
    monkeypatch.setenv(blas_kernels.OVERRIDE, "Haswell")
    blas_kernels.announce()
    assert "OPENBLAS_CORETYPE=Haswell" in capsys.readouterr().err
