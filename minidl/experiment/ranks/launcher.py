"""Launcher: what mpiexec and srun set in a process's environment, read before MPI is loaded."""

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout

# Size and rank by MPICH and Intel MPI, Open MPI, MVAPICH, and a step of Slurm.
TOLD = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)
OF_RANKS = (
    *("PMI_", "PMIX_", "PMI2_", "MPI_LOCAL", "OMPI_", "PRTE_", "MV2_", "HYDI_", "HYDRA_"),
    *("SLURM_STEP_", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_TASK_PID"),
)
FUTURES = "mpi4py.futures"  # with python -m of this, one rank runs the program and gives tasks to the others


def told() -> tuple[int, int]:
    """Return the number of this rank and the number of ranks: 0 of 1 without a launcher."""
    for size, rank in TOLD:
        count, number = os.environ.get(size, ""), os.environ.get(rank, "")
        if count.isdecimal() and number.isdecimal():
            return int(number), int(count)
    return 0, 1


def gives_tasks() -> bool:
    """Return whether this is the rank that gives tasks to the others."""
    return FUTURES in sys.modules and told()[1] > 1


def refuse_tasks() -> None:
    """Raise MinidlError in a command that has no runs to give to other ranks."""
    if gives_tasks():
        from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

        raise MinidlError(f"ranks train together without -m {FUTURES}; leave it out")


def leave_it_to_the_first() -> None:
    """End all ranks except the first, for a command that starts runs itself and must not run on each rank.

    They end with status 0: some launchers end all ranks at the first failure, and rank 0 must print its messages first.
    """
    if told()[0]:
        raise SystemExit(0)


def refuse_copies(name: str) -> None:
    """Raise MinidlError in a command that starts runs itself if a launcher has started several copies of it."""
    size = told()[1]
    if size == 1 or gives_tasks():
        return
    from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

    raise MinidlError(
        f"{size} copies of {name} would each do all the work; to spread its runs over the ranks, write -m {FUTURES} "
        f"after python: {call(size)} python -m {FUTURES} {'-m ' if name.startswith('minidl ') else ''}{name} …"
    )


def call(ranks: int) -> str:
    """Return the words before a command that start it on so many ranks again."""
    return f"{'srun' if 'SLURM_STEP_NUM_TASKS' in os.environ else 'mpiexec'} -n {ranks}"


def for_a_child(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the launcher's variables, for a child that is no rank."""
    return {name: value for name, value in environment.items() if not name.startswith(OF_RANKS)}


@contextmanager
def one_voice(rank: int) -> Iterator[None]:
    """Let only the first rank print, as all would print the same."""
    silent = io.StringIO()
    with redirect_stdout(silent) if rank else nullcontext(), redirect_stderr(silent) if rank else nullcontext():
        yield
