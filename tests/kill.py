"""Kills runs at random moments and resumes them: python tests/kill.py --count 100.

Each run is tiny. It must end as a run that was not killed, to the last bit, or it had not begun and says so. The
moments are chosen by the processor time of a run, so that they spread over the whole run however busy the machine is.
Only for Linux.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from image_folder import write_images
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent.parent
SMALL = (
    *("--batch-size", "5", "--epochs", "4", "--method", "WC, GC, BN", "--model", "a", "--place", "hooks"),
    *("--trace", "10", "--threads", "1", "--loops", "numpy", "--quiet", "--save-every", "0.002"),
)
IMAGES = 24  # of each of two classes
LOOK = 0.002  # seconds between two checks of a run that is to be killed


@dataclass
class Outcome:
    """The numbers of runs that were equal in the end, of runs that had not begun, and of kills, and what went wrong."""

    equal: int = 0
    not_begun: int = 0
    kills: int = 0
    wrong: list[str] = field(default_factory=list)


def start(*words: str) -> "subprocess.Popen[str]":
    """Start a training."""
    command = [sys.executable, str(HERE / "train.py"), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(*words: str) -> tuple[int, str]:
    """Train to the end; return the exit status and the error output."""
    with start(*words) as process:
        error = process.communicate()[1]
    return process.returncode, error


def seconds_of(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")


def seconds_of_children() -> float:
    """Return the processor time of all child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def difference(one: Path, other: Path) -> str:
    """Return what differs between two finished runs, or ""."""
    first, second = (load_file(path / "checkpoint.safetensors") for path in (one, other))
    if first.keys() != second.keys():
        return "the checkpoints hold other arrays"
    for name in first:
        if not name.startswith("run/") and not np.array_equal(first[name], second[name]):
            return f"{name} differs"
    logs = [[line.rpartition(",")[0] for line in (path / "log.csv").read_text().splitlines()] for path in (one, other)]
    if logs[0] != logs[1]:
        return "the logs differ"
    for name in ("trace.csv", "carry.csv"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            return f"{name} differs"
    return (
        "" if sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir()) else "files"
    )


def kill_runs(place: Path, count: int, seed: int = 0, more: float = 0.5) -> Outcome:
    """Kill ``count`` runs at random moments, some of them again after they were resumed, and compare them in the end.

    more: the probability that a resumed run is killed again.
    """
    write_images(place / "set", IMAGES, np.random.default_rng(seed))
    small, before = ("--data", str(place / "set"), *SMALL), seconds_of_children()
    assert finish(*small, "--out", str(place / "whole")) == (0, "")
    took, random_ = seconds_of_children() - before, random.Random(seed)
    outcome = Outcome()
    for number in range(count):
        folder = place / f"run{number}"
        words = (*small, "--out", str(folder))
        while True:
            process, moment = start(*words), random_.uniform(0, 1.1 * took)
            while process.poll() is None and seconds_of(process.pid) < moment:
                time.sleep(LOOK)
            process.kill()
            process.communicate()
            outcome.kills += process.returncode == -signal.SIGKILL
            if not folder.exists():
                break
            words = ("--resume", str(folder))
            if random_.random() > more:
                break
        status, error = finish("--resume", str(folder))
        if not folder.exists():
            said = status == 2 and "there is no run in" in error and "had not begun" in error and error.count("\n") == 1
            outcome.not_begun += said
            outcome.wrong += [] if said else [f"run {number}, not begun: {status}, {error}"]
            continue
        ended = status == 0 or (status == 2 and "has finished its 4 epochs" in error)
        wrong = "" if ended else f"status {status}, {error}"
        wrong = wrong or difference(folder, place / "whole")
        outcome.equal += not wrong
        outcome.wrong += [f"run {number}: {wrong}"] if wrong else []
        print(f"run {number}: {wrong or 'equal'}", flush=True)
        shutil.rmtree(folder)
    return outcome


def main() -> int:
    """Read the command line, and kill as many runs as it says."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--count", type=int, default=100)
    cli.add_argument("--seed", type=int, default=0)
    options = cli.parse_args()
    os.nice(10)
    with tempfile.TemporaryDirectory() as place:
        outcome = kill_runs(Path(place), options.count, options.seed)
    print(
        f"{outcome.equal} of {options.count} runs ended as one that was not killed, {outcome.not_begun} had not begun; "
        f"{outcome.kills} kills",
        *outcome.wrong,
        sep="\n",
    )
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
