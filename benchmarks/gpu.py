"""Test and measure on this machine's GPU, in under ten minutes, cold compilers included: make gpu.

    make gpu ARGS="--parts tests kernels --model c"         some parts; other results of this commit of today are kept

It uses the packages of the Python that runs it. CuPy for CUDA 12 or 13 and the packages of setup.cfg are needed;
pytest, pytest-xdist, PyTorch, nvidia-cudnn-frontend and compute-sanitizer are used if they are installed. minidl itself
need not be installed. Results are written to benchmarks/results/CARD-DATE-COMMIT.json and .md after each part; a part
that is stopped keeps the results that it has so far. Each part is a separate process; this process never uses the GPU,
so that the parts have all its memory.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = ROOT / "build" / "checkout"
RESULTS = ROOT / "benchmarks" / "results"
LIMIT = 570  # seconds for all parts
ENOUGH = 10  # with fewer seconds left, no part is started
GRACE = 10  # seconds in which a part that took too long may say what it has found
PARTS = ("tests", "kernels", "steps", "memcheck", "racecheck", "compiled")
PROCESSES = 8  # processes that run tests at the same time, at most
MODELS = ("c", "b", "a", "b-cifar", "d")
PACKAGES = (
    "numpy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cudnn-frontend",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "torch",
)
TESTS = (
    "-m",
    "pytest",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:benchmark",  # it warns if xdist is used
    "-m",
    "not slow",
    "-k",
    "gpu",
    "-o",
    f"pythonpath={CHECKOUT} .",
)


class Job:
    """The parts that run one after another, and the time that is left for them."""

    def __init__(self) -> None:
        self.ends = time.monotonic() + LIMIT
        self.failed: list[str] = []  # what failed or was not begun, except for tests
        self.environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{os.environ.get('PYTHONPATH', '')}"}

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.ends - time.monotonic()

    def run(self, command: list[str], seconds: float, folder: Path | None = None) -> tuple[str, int | None]:
        """Return the output and the exit status of a command in a folder; None if it took too long."""
        print(f"\n$ {' '.join(command)}", flush=True)
        options: dict[str, Any] = {"cwd": folder or ROOT, "env": self.environment, "text": True, "errors": "replace"}
        options["start_new_session"] = True
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options) as process:
            try:
                output, _ = process.communicate(timeout=max(1, min(seconds, self.left())))
            except subprocess.TimeoutExpired:
                output = _stopped(process)
                print(f"{output[-2000:]}\nstopped: out of time", flush=True)
                return output, None
        print(output[-4000:], flush=True)
        return output, process.returncode


def _stopped(process: subprocess.Popen[str]) -> str:
    """Stop a process, and the processes that it has started, and return its output.

    It is interrupted first, so that pytest names what has failed so far, and compute-sanitizer what it has found.
    """
    os.killpg(process.pid, signal.SIGINT)
    try:
        output, _ = process.communicate(timeout=GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    with suppress(ProcessLookupError):  # if none of them is left
        os.killpg(process.pid, signal.SIGKILL)
    return output


def lay_out() -> None:
    """Build the package from links, as if it were installed: the folders beside minidl/ are its subpackages."""
    package = CHECKOUT / "minidl"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for source in (*(ROOT / "minidl").iterdir(), *(ROOT / name for name in ("kernels", "models", "data"))):
        (package / source.name).symlink_to(source)


# Prints the GPU, and the CUDA version of each library that one process loads; or what is missing.
LOOK = """
import json, re
from importlib import metadata, util
from pathlib import Path
from minidl import kernels
from minidl.kernels.errors import MinidlError
try:
    device = kernels.load("gpu")
except MinidlError as error:
    raise SystemExit(json.dumps({"missing": str(error)}))
runtime = device.xp.cuda.runtime
made_for = {"CuPy": runtime.runtimeGetVersion() // 1000}
torch = util.find_spec("torch")
if torch and torch.origin:
    version = re.search(r"^cuda\\b.*= '(\\d+)", Path(torch.origin).with_name("version.py").read_text(), re.MULTILINE)
    made_for |= {"PyTorch": int(version[1])} if version else {}
for package in metadata.distributions():
    if number := re.fullmatch(r"nvidia-cudnn-cu(\\d+)", package.metadata["Name"] or ""):
        made_for[f"cuDNN ({number[0]})"] = int(number[1])
print(json.dumps({"about": device.describe(), "made_for": made_for, "driver": runtime.driverGetVersion() // 1000}))
"""


def card(job: Job) -> str:
    """Return the name of the GPU, or exit with status 2 and a sentence."""
    # Not in this folder, because Python looks for modules there first, and it contains only half of the package.
    output, status = job.run([sys.executable, "-c", LOOK], 100, CHECKOUT)
    lines = [line for line in output.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"missing": verdict(output, status or 1)}
    if "missing" not in found and (wrong := disagreement(found["made_for"], found["driver"])):
        found["missing"] = wrong
    if "missing" in found:
        print(f"make gpu: {found['missing']}", file=sys.stderr)
        sys.exit(2)
    return found["about"].split(",")[0]


def disagreement(made_for: dict[str, int], driver: int) -> str:
    """Return a sentence if libraries are for different CUDA versions, or if the driver is too old for CuPy; else ""."""
    if len(set(made_for.values())) > 1:
        all_of_them = ", ".join(f"{name} for CUDA {major}" for name, major in made_for.items())
        return f"{all_of_them}: they share libraries, so install all for one CUDA, each of its packages once"
    if driver < made_for["CuPy"]:
        return f"CuPy is made for CUDA {made_for['CuPy']}, and the driver knows CUDA {driver}; install another of them"
    return ""


def versions() -> dict[str, str]:
    """Return the versions of the relevant packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def tests(job: Job) -> str:
    """Return the results of the tests on the GPU."""
    at_once = min(PROCESSES, (os.cpu_count() or 2) // 2) if util.find_spec("xdist") else 1
    spread = ["-n", f"{at_once}", "--dist", "worksteal"] if at_once > 1 else []
    return verdict(*job.run([sys.executable, *TESTS, *spread, "tests"], 200))


def sanitizer(job: Job, tool: str, seconds: float) -> str:
    """Return the reports of compute-sanitizer on the kernel tests."""
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if program is None:
        return "compute-sanitizer is not installed"
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, *TESTS]
    output, status = job.run([*command, "tests/test_kernels.py", "tests/test_gpu_products.py"], seconds)
    summary = [line for line in output.splitlines() if "ERROR SUMMARY" in line or "RACECHECK SUMMARY" in line]
    return f"{verdict(output, status)}; {summary[-1].strip('= ') if summary else 'no summary'}"


def verdict(output: str, status: int | None) -> str:
    """Return the last line that is not empty, or that there was not enough time."""
    lines = [line for line in output.strip().splitlines() if not line.startswith("=====")]
    last = lines[-1] if lines else "no output"
    return f"out of time after: {last}" if status is None else last if status == 0 else f"FAILED ({status}): {last}"


def rows(job: Job, script: str, arguments: list[str], seconds: float) -> list[dict[str, Any]]:
    """Return the rows that a benchmark has written in its time."""
    path = ROOT / "build" / "rows.json"
    path.unlink(missing_ok=True)
    output, status = job.run(
        [sys.executable, f"benchmarks/{script}", "--device", "gpu", "--json", str(path), *arguments], seconds
    )
    if status != 0:
        why = "out of time" if status is None else verdict(output, status)
        job.failed.append(f"{' '.join([script, *arguments])}: {why}")
    return json.loads(path.read_text()) if path.exists() else []


def report(found: dict[str, Any]) -> str:
    """Return the results in Markdown."""
    import gpu_step

    import kernels

    about = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    parts = [
        f"# {', '.join(found[name] for name in ('card', 'date', 'commit') if found.get(name))}",
        f"`make gpu` with {about}.",
        *(f"- {name}: {found[name]}" for name in ("tests", "memcheck", "racecheck") if name in found),
        *(f"- {line}" for line in found.get("failed", [])),
        "## Training steps",
        gpu_step.table(found.get("steps", [])),
        "## Kernels",
        kernels.table(found.get("kernels", [])),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Run the requested parts, as long as there is time."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"{', '.join(PARTS)}")
    cli.add_argument("--model", nargs="+", choices=MODELS, default=MODELS, metavar="NET", help="nets whose steps count")
    options = cli.parse_args(arguments)
    job = Job()
    lay_out()
    sys.path.insert(0, str(CHECKOUT))
    from minidl.experiment.saving.commit import commit

    found: dict[str, Any] = {"card": card(job), "date": f"{date.today()}", "commit": commit(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    title = f"{found['card'].removeprefix('NVIDIA ')} {found['date']} {found['commit']}".strip()
    path = RESULTS / f"{re.sub(r'[^a-zA-Z0-9]+', '-', title)}.json"
    if path.exists():
        found = json.loads(path.read_text()) | found

    def step(model: str, seconds: float, *arguments: str) -> None:
        new = rows(job, "step.py", ["--model", model, "--rounds", "10", *arguments], seconds)
        found["steps"] = [row for row in found.get("steps", []) if row["model"] != model or not new] + new

    work: dict[str, list[Callable[[], Any]]] = {
        "tests": [lambda: found.update(tests=tests(job))],
        "kernels": [lambda: found.update(kernels=rows(job, "kernels.py", [], 60))],
        "steps": [partial(step, model, 100) for model in options.model],
        "memcheck": [lambda: found.update(memcheck=sanitizer(job, "memcheck", 100))],
        "racecheck": [lambda: found.update(racecheck=sanitizer(job, "racecheck", 200))],
        "compiled": [partial(step, model, 200, "--compile") for model in options.model],
    }
    chosen = [(name, part) for name in PARTS if name in options.parts for part in work[name]]
    for name, part in chosen:
        if job.left() > ENOUGH:
            part()
        else:
            job.failed.append(f"{name}: not begun for lack of time")
        found["failed"] = list(dict.fromkeys(job.failed))
        path.write_text(json.dumps(found, indent=2) + "\n")
        path.with_suffix(".md").write_text(report(found))
    print(f"\n{report(found)}\n{path}")
    sys.exit(1 if re.search(r"FAILED|\d failed", str(found)) else 0)  # the latter, where pytest was stopped


if __name__ == "__main__":
    main()
