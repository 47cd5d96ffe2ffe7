"""Ranks as processes that mpiexec starts: they train like a single process, and end together."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from image_folder import write_images
from mpi_curves import CASES, PIXELS, QUICK, curve
from safetensors.numpy import load_file

from minidl.communicator import Communicator
from minidl.experiment.saving import records
from minidl.kernels.cpu import loops, threads

HERE = Path(__file__).parent
BESIDE = Path(sys.executable).parent / "mpiexec"  # of pip install mpich
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
MISSING = not MPIEXEC or importlib.util.find_spec("mpi4py") is None
if MISSING and os.environ.get("MINIDL_MPI") == "required":
    raise RuntimeError(
        "mpi4py or mpiexec is missing, and MINIDL_MPI=required wants tests on ranks; pip install -e '.[mpi]'"
    )
pytestmark = pytest.mark.skipif(MISSING, reason="mpi4py or mpiexec is missing: pip install -e '.[mpi]'")
TRAIN = [sys.executable, str(HERE.parent / "train.py")]
SMALL = ["--batch-size", "5", "--threads", "1", "--loops", "numpy", "--device", "cpu", "--quiet"]
# Tolerance of the loss. Training in float32 amplifies rounding errors; this is about its difference from float64.
BOUNDS = {"float64": 1e-12, "float32": 1e-6}
WHOLE_NET_IN_FLOAT32 = 0.03


def mpi(ranks, *command):
    """Start a command on ``ranks`` ranks; its output goes to a pipe."""
    command = [MPIEXEC, "-n", str(ranks), *map(str, command)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process, timeout=300):
    """Return the exit status of a process, and its output."""
    out, error = process.communicate(timeout=timeout)
    return process.returncode, out, error


def compare(ranks, cases, path, *words):
    """Train on ranks and in one process, and compare the losses."""
    status, _, error = said(mpi(ranks, sys.executable, HERE / "mpi_curves.py", path, *words))
    assert status == 0, error
    found = np.load(path)
    threads.set_workers(1)
    loops.use("numpy")
    try:
        for case in cases:
            difference = abs(found[str(case)] - curve(case, Communicator()))
            whole = (case.model, case.dtype) == ("whole c", "float32")
            assert difference[: case.steps].max() <= (WHOLE_NET_IN_FLOAT32 if whole else BOUNDS[case.dtype]), case
            assert difference[case.steps :].max() <= (WHOLE_NET_IN_FLOAT32 if case.dtype == "float32" else 1e-10), case
    finally:
        loops.use_best()


def test_two_ranks_train_as_one_process(tmp_path):
    compare(2, QUICK, tmp_path / "curves.npz", "quick")


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_fifty_steps_of_ranks_are_those_of_one_process(ranks, tmp_path):
    compare(ranks, CASES, tmp_path / "curves.npz")


@pytest.mark.slow
def test_labelled_pixels_weigh_the_same_on_ranks(tmp_path):
    """With net (d), on batches of which one rank has nearly all labelled pixels, or more images than the other."""
    compare(2, PIXELS, tmp_path / "curves.npz", "pixels")


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "set", 12, np.random.default_rng(7))
    return tmp_path


def settled(folder, epochs=2):
    """Wait until a run has finished some epochs."""
    for _ in range(1200):
        time.sleep(0.05)
        if len(records.read_log(folder)) >= epochs:
            return
    raise AssertionError("the run does not come forward")


def ranks_of(launcher):
    """Return the processes of the ranks, in their order; there is one process between the launcher and them."""

    def children(pid):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    (proxy,) = children(launcher.pid)
    return children(proxy)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job_with_a_sentence_and_a_checkpoint(folder, rank):
    out = folder / "run"
    process = mpi(2, *TRAIN, "--data", folder / "set", *SMALL, "--epochs", 1000, "--out", out)
    settled(out)
    os.kill(ranks_of(process)[rank], signal.SIGKILL)
    since = time.monotonic()
    status, _, error = said(process)
    assert time.monotonic() - since < 30
    assert status != 0
    (line,) = [line for line in error.splitlines() if line.startswith("train.py")]
    assert line == (
        "train.py: one of 2 ranks was ended, and the job with it; go on with: mpiexec -n 2 python train.py --resume "
        f"{out}"
    )
    done = len(records.read_log(out))
    assert said(mpi(3, *TRAIN, "--resume", out, "--epochs", done + 2, "--quiet"))[0] == 0
    assert records.read_result(out)["epochs"] == done + 2
    assert subprocess.run([*TRAIN, "--resume", str(out), "--epochs", str(done + 3), "--quiet"]).returncode == 0


@pytest.mark.slow
def test_a_rank_that_hangs_ends_the_job_within_half_a_minute(folder):
    out = folder / "run"
    process = mpi(2, *TRAIN, "--data", folder / "set", *SMALL, "--epochs", 100000, "--out", out)
    settled(out)
    stopped = ranks_of(process)[1]
    os.kill(stopped, signal.SIGSTOP)
    since = time.monotonic()
    status, _, error = said(process)
    assert time.monotonic() - since < 30
    assert status == 2
    assert "train.py: rank 0: a rank gave no sign of life for 20 s" in error
    assert f"go on with: mpiexec -n 2 python train.py --resume {out}" in error


def test_a_rank_on_which_nccl_fails_ends_the_ranks_that_wait_for_it(folder, monkeypatch):
    """While they wait there, they cannot receive messages, but still give signs of life."""
    monkeypatch.setenv("PYTHONPATH", str(HERE / "emulation"))
    status, _, error = said(mpi(2, sys.executable, HERE / "mpi_nccl_fails.py", "--out", folder / "run"), timeout=60)
    assert status == 2
    assert "rank 1: NCCL cannot connect the GPUs of the ranks (NCCL_ERROR_SYSTEM_ERROR" in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_run_that_was_interrupted_continues_to_the_same_bits(folder):
    whole, out = folder / "whole", folder / "run"
    words = ["--data", folder / "set", *SMALL, "--epochs", 60, "--model", "a", "--method", "WC, GC, BN"]
    assert said(mpi(2, *TRAIN, *words, "--out", whole))[0] == 0
    process = mpi(2, *TRAIN, *words, "--out", out)
    settled(out)
    process.send_signal(signal.SIGINT)
    status, _, error = said(process)
    assert status == 130
    assert f"interrupted; go on with: mpiexec -n 2 python train.py --resume {out}" in error
    assert said(mpi(2, *TRAIN, "--resume", out, "--quiet"))[0] == 0
    one, other = (load_file(path / "checkpoint.safetensors") for path in (whole, out))
    for name, array in one.items():
        if name.startswith(("net/", "optimizer/")):
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "first, second, message",
    [
        (["--seed", 1], ["--seed", 2], "train.py: rank 1 has seed 2, and rank 0 has 1; give all ranks the same"),
        ([], ["--train-size", 20], "train.py: rank 1 has train-size 20, and rank 0 has None; give all ranks the same"),
        ([], ["--data", "nowhere"], "train.py: rank 1: "),
        (["--method", "XY"], ["--method", "XY"], "train.py: the method 'XY' has the unknown word 'XY'"),
        (["--nonsense"], ["--nonsense"], "train.py: no option is called --nonsense"),
        ([], ["--nonsense"], "train.py: rank 1: no option is called --nonsense; see: python train.py --help"),
        (["--nonsense"], [], "train.py: no option is called --nonsense"),
        (["--trace"], ["--trace"], "train.py: a trace needs whole batches"),
    ],
)
def test_an_error_of_all_ranks_is_printed_once(folder, first, second, message):
    out = folder / "run"
    words = [*TRAIN, "--data", folder / "set", *SMALL, "--epochs", 1, "--out", out]
    status, printed, error = said(mpi(1, *words, *first, ":", "-n", 1, *words, *second))
    assert status == 2
    assert not printed
    (line,) = [line for line in error.splitlines() if line.startswith("train.py")]
    assert line.startswith(message)
    assert not out.exists()


@pytest.mark.slow
def test_ranks_share_the_cores_and_say_so(folder):
    words = [word for word in SMALL if word not in ("--quiet", "--threads", "1")]
    words += ["--data", folder / "set", "--epochs", 1, "--out", folder / "run"]
    status, printed, _ = said(mpi(2, *TRAIN, *words))
    assert status == 0
    assert "2 ranks on 1 host" in printed
    assert printed.count("test accuracy") == 1
    assert records.read_result(folder / "run")["machine"].startswith(
        "CPU, 1 of 1 cores" if os.cpu_count() == 2 else "CPU"
    )


SWEEP = """
from minidl.experiment.sweeps.process_run import carry_out

class Run:
    def carry_out(self, surroundings):
        return str(surroundings["threads"])

if __name__ == "__main__":
    print(*carry_out([Run(), Run(), Run()], 1, {}, lambda run: None))
"""


@pytest.mark.slow
def test_the_rank_that_gives_out_runs_takes_no_core(tmp_path):
    (tmp_path / "sweep.py").write_text(SWEEP)
    for ranks, share in ((2, 1), (3, 2)):
        status, printed, error = said(mpi(ranks, sys.executable, "-m", "mpi4py.futures", tmp_path / "sweep.py"))
        assert status == 0, error
        assert printed.split() == [str(max(1, threads.available_cores() // share))] * 3


SLOW_TO_SAY = """
import builtins, os, runpy, sys, time

def late(*words, say=print, **options):
    time.sleep(1)
    say(*words, **options)

if os.environ["PMI_RANK"] == "0":
    builtins.print = late
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["--nonsense", "--trace", "--method=XY"])
def test_other_ranks_exit_after_rank_0_has_printed_its_error(mistake, folder):
    """A launcher may end all ranks as soon as one of them has exited with an error."""
    (folder / "slow.py").write_text(SLOW_TO_SAY)
    wrapped = f'if [ $PMI_RANK = 0 ]; then "$@" 2> {folder}/said; else "$@"; [ -s {folder}/said ] || echo early; fi'
    words = ["--data", folder / "set", *SMALL, "--epochs", 1, "--out", folder / "run", mistake]
    process = mpi(2, "sh", "-c", wrapped, "sh", sys.executable, folder / "slow.py", TRAIN[1], *words)
    _, printed, _ = said(process)
    assert printed == ""
    assert (folder / "said").read_text().startswith("train.py: ")


def ended_at_the_first_failure(ranks, *command):
    """Run a command like a launcher that ends all ranks when the first one fails; return the output of each rank."""
    late = ["sh", "-c", '[ $PMI_RANK = 0 ] && sleep 1; exec "$@"', "sh", sys.executable, *command]
    started = []
    for rank in range(ranks):
        told = {"PMI_SIZE": str(ranks), "PMI_RANK": str(rank)}
        started.append(subprocess.Popen(late, env=os.environ | told, stderr=subprocess.PIPE, text=True))
    while any(process.poll() is None for process in started):
        time.sleep(0.01)
        if any(process.poll() for process in started):
            for process in started:
                process.kill()
    assert started[0].returncode == 2
    return [process.communicate()[1] for process in started]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, message",
    [
        (["reproduce.py", "--table", "2"], "reproduce.py: 3 copies of reproduce.py would each do all the work"),
        (["reproduce.py", "--table", "9"], "reproduce.py: argument --table: "),
        (["-m", "minidl", "compare", "--methods", "WC; GC"], "minidl compare: 3 copies of minidl compare would each"),
    ],
)
def test_the_error_of_a_refused_sweep_appears_with_any_launcher(command, message, monkeypatch):
    monkeypatch.chdir(HERE.parent)
    first, *others = ended_at_the_first_failure(3, *command)
    assert first.startswith(message)
    assert others == ["", ""]
