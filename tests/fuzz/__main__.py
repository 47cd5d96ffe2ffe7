"""Fuzzes functions that read files, answers of servers and words of users: python tests/fuzz [TARGET ...] [--minutes N]

Each target gets its share of the time in a separate process, which may use 3 GB of memory, and 20 s of processor time
for an input. If the extra "fuzz" is installed, atheris finds inputs by the code that they reach; otherwise, and with
--plain, inputs are random mutations. An input that ends in anything but a result or MinidlError is kept in build/fuzz,
with its traceback, and can be tried again: python tests/fuzz TARGET --input FILE
"""

import argparse
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
FOUND = HERE.parents[1] / "build" / "fuzz"
MEMORY, SECONDS = 3_000, 20  # megabytes, and of the processor for one input
LAST, LONGEST = "last", 1 << 20  # the input that is tried, and bytes of one
OURS = ["minidl.data", "minidl.method", "minidl.experiment", "minidl.study"]
INSTRUMENTED = [*OURS, "PIL", "tarfile", "zipfile", "http", "urllib"]


def memory() -> str | None:
    """Return a folder in memory, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def by_mutation(name: str, seconds: float, seed: int) -> int:
    """Try mutations until the time is over or one of them is a fault; print how many were tried."""
    from mutate import mutated
    from targets import TARGETS

    target, random, count = TARGETS[name], Random(seed), 0
    seeds, began = target.seeds(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory()) as folder, (FOUND / name / LAST).open("w+b") as file:
        file.truncate(LONGEST + 8)
        last = mmap.mmap(file.fileno(), LONGEST + 8)  # which is there even if an input ends the process
        while time.monotonic() - began < seconds:
            data = (seeds[count] if count < len(seeds) else mutated(seeds, target.words, random))[:LONGEST]
            last[: 8 + len(data)] = len(data).to_bytes(8, "little") + data
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor; both end the process
            signal.alarm(30 * SECONDS)  # of the clock, for what waits
            target.try_one(data, Path(folder))
            count += 1
    print(f"Done {count} runs in {time.monotonic() - began:.0f} second(s)", file=sys.stderr)
    return 0


def by_coverage(name: str, seconds: float, seed: int) -> int:
    """Let atheris look for inputs; libFuzzer ends the process, and prints how many were tried."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from targets import TARGETS

    target = TARGETS[name]
    corpus = FOUND / name / "corpus"
    corpus.mkdir(exist_ok=True)
    for i, data in enumerate(target.seeds()):
        (corpus / f"seed{i}").write_bytes(data)
    words = FOUND / name / "words"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words if word))
    folder = tempfile.mkdtemp(dir=memory())
    limits = [f"-rss_limit_mb={MEMORY}", f"-timeout={SECONDS}", f"-max_total_time={seconds:.0f}", "-max_len=20000"]
    places = [f"-artifact_prefix={FOUND / name}/fault-", *[f"-dict={words}"] * bool(target.words), str(corpus)]

    def one(data: bytes) -> None:
        target.try_one(data, Path(folder))

    atheris.Setup([sys.argv[0], f"-seed={seed}", "-print_final_stats=1", *limits, *places], one)
    atheris.Fuzz()
    return 0


def fuzz(name: str, seconds: float, plain: bool, seed: int) -> tuple[int, bool]:
    """Fuzz one target in a separate process; return the number of inputs, and whether none of them was a fault."""
    (FOUND / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE), name, "--seconds", str(seconds), "--seed", str(seed), *["--plain"] * plain]
    began, path = time.monotonic(), FOUND / name / "said"
    with path.open("wb") as said:
        status = subprocess.run(command, stdout=said, stderr=said, check=False).returncode
    text = path.read_text("utf-8", "replace")
    counts = re.findall(r"Done (\d+) runs|number_of_executed_units: (\d+)|^#(\d+)", text, re.MULTILINE)
    count = max((int("".join(found)) for found in counts), default=0)
    took = time.monotonic() - began
    end = "no fault" if status == 0 else f"A FAULT, see {path}"
    if status and plain:
        last = (FOUND / name / LAST).read_bytes()
        (FOUND / name / f"fault-{seed}").write_bytes(last[8:][: int.from_bytes(last[:8], "little")])
    print(f"{name:<14} {count:>10,} inputs {took:>7.0f} s {count / took:>9,.0f} a second   {end}", flush=True)
    return count, status == 0


def main() -> int:
    """Fuzz as the arguments say; the exit status is 1 if a fault was found."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("targets", nargs="*", metavar="TARGET", help="(default: all)")
    cli.add_argument("--minutes", type=float, default=5.0, metavar="N", help="for all of them (default: 5)")
    cli.add_argument("--seed", type=int, default=1, metavar="N", help="of the random numbers (default: 1)")
    cli.add_argument("--plain", action="store_true", help="mutations, even where atheris is installed")
    cli.add_argument("--input", type=Path, metavar="FILE", help="try one input again")
    cli.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    chosen = cli.parse_args()
    plain = chosen.plain or find_spec("atheris") is None
    if chosen.input or chosen.seconds:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    if chosen.seconds:
        if plain:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY << 20, MEMORY << 20))
        return (by_mutation if plain else by_coverage)(chosen.targets[0], chosen.seconds, chosen.seed)

    from targets import TARGETS

    if chosen.input:
        with tempfile.TemporaryDirectory() as folder:
            accepted = TARGETS[chosen.targets[0]].try_one(chosen.input.read_bytes(), Path(folder))
        print("accepted" if accepted else "refused")
        return 0
    names = chosen.targets or list(TARGETS)
    outcomes = [fuzz(name, 60 * chosen.minutes / len(names), plain, chosen.seed) for name in names]
    print(f"{sum(count for count, _ in outcomes):,} inputs by {'mutation' if plain else 'coverage'}")
    return 0 if all(good for _, good in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
