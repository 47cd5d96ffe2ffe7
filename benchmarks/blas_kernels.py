"""Which kernels BLAS runs: OpenBLAS picks them by the processor, unless a variable of the environment names others."""

import os
import sys

import numpy  # noqa: F401  loads its BLAS
from threadpoolctl import threadpool_info

OVERRIDE = "OPENBLAS_CORETYPE"


def in_use() -> str:
    """Return the libraries that this process has loaded and their kernels, such as "openblas 0.3.31 SkylakeX"."""
    found = {
        f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return ", ".join(sorted(found))


def announce() -> None:
    """Print what is in use, and warn if somebody chose: on a Zen 5, kernels for AVX2 made a step 1.5 times as long."""
    print(f"BLAS: {in_use()}")
    if OVERRIDE in os.environ:
        print(
            f"warning: {OVERRIDE}={os.environ[OVERRIDE]} chooses the kernels of OpenBLAS here; to measure those for "
            f"this processor, begin the command with: env -u {OVERRIDE}",
            file=sys.stderr,
        )
