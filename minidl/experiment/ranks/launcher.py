"""Launcher: what mpiexec and srun tell a process by its environment, before anything of MPI is loaded."""

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout

# Of MPICH and Intel MPI, Open MPI, MVAPICH, and of a step of Slurm: how many ranks there are, and which this one is.
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
FUTURES = "mpi4py.futures"  # by whose -m one rank works and gives tasks to the others


def told() -> tuple[int, int]:
    """Return the number of this rank and how many there are: 0 of 1 where no launcher says anything else."""
    for size, rank in TOLD:
        count, number = os.environ.get(size, ""), os.environ.get(rank, "")
        if count.isdecimal() and number.isdecimal():
            return int(number), int(count)
    return 0, 1


def gives_tasks() -> bool:
    """Return whether this is the rank that gives tasks to the others."""
    return FUTURES in sys.modules and told()[1] > 1


def refuse_tasks() -> None:
    """Raise MinidlError in a command that has no runs to give to the others."""
    if gives_tasks():
        from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

        raise MinidlError(f"ranks train together without -m {FUTURES}; leave it out")


def leave_it_to_the_first() -> None:
    """End all ranks but the first of a command that starts runs of its own, and is not to run on each.

    They end well: some launchers end all ranks at the first that does not, and rank 0 has something to say before.
    """
    if told()[0]:
        raise SystemExit(0)


def refuse_copies(name: str) -> None:
    """Raise MinidlError in a command that starts runs of its own where a launcher has started several of it."""
    size = told()[1]
    if size == 1 or gives_tasks():
        return
    from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

    raise MinidlError(
        f"{size} copies of {name} would each do all the work; to spread its runs over the ranks, write -m {FUTURES} "
        f"behind python: {call(size)} python -m {FUTURES} {'-m ' if name.startswith('minidl ') else ''}{name} …"
    )


def call(ranks: int) -> str:
    """Return what is typed before a command to start it on so many ranks again."""
    return f"{'srun' if 'SLURM_STEP_NUM_TASKS' in os.environ else 'mpiexec'} -n {ranks}"


def for_a_child(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what makes a process a rank, for a child that is a program of its own."""
    return {name: value for name, value in environment.items() if not name.startswith(OF_RANKS)}


@contextmanager
def one_voice(rank: int) -> Iterator[None]:
    """Let nothing be printed by another rank than the first: they would all say the same."""
    silent = io.StringIO()
    with redirect_stdout(silent) if rank else nullcontext(), redirect_stderr(silent) if rank else nullcontext():
        yield
