"""Compare the time of a whole training step with PyTorch's, in turn in one run, with equal threads.

    python benchmarks/step.py [--model a b b-cifar c d] [--compile] [--json FILE]
    python benchmarks/step.py --device gpu [--compile] [--precision tf32]     see gpu_step.py

A step is forward, loss, backward, comp_grads and the optimizer's update, on a batch that is already built. PyTorch runs
in both memory layouts, with its fused optimizer and with subnormal numbers flushed to zero; ``torch_ms`` is the faster
layout. ``ratio`` is torch_ms/ours_ms: above 1 is faster than PyTorch; ``to_compiled`` is the same for its compiled
step, also in the faster layout. All times are medians. Memory is the peak of a separate process that does three steps,
with all its libraries.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from blas_kernels import announce, in_use
from clock import write

from minidl import models
from minidl.experiment.recipes import recipe
from minidl.experiment.trainer import Trainer
from minidl.kernels.cpu import loops, threads
from minidl.layers import Container
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS, Optimizer

LAYOUTS = ("contiguous", "channels_last")
REST = 0.01  # seconds after a step: PyTorch's threads spin on for a while and would slow down what comes next
Step = Callable[[], Any]


class Case(NamedTuple):
    """The data of a benchmark: the recipe's data set, a sample's shape, classes, and whether each pixel has a label."""

    data: str
    shape: tuple[int, int, int]
    classes: int
    per_pixel: bool = False


CIFAR = Case("cifar10", (32, 32, 3), 10)
CASES = {"a": CIFAR, "b": CIFAR, "b-cifar": CIFAR, "c": CIFAR, "d": Case("voc2012", (227, 227, 3), 21, per_pixel=True)}


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of random data and labels."""
    random, size = np.random.default_rng(0), recipe(case.data).batch_size
    data = random.normal(0, 0.3, (size, *case.shape)).astype(np.float32)
    labels = random.integers(0, case.classes, (size, *case.shape[:2]) if case.per_pixel else size)
    return data, labels.astype(np.int8) if case.per_pixel else labels


def ours(name: str, method: str, place: str = "optimizer", device: str = "cpu") -> tuple[Step, Net, Optimizer]:
    """Return our training step, its net and its optimizer; place: of WC and GC, as in train.py."""
    case = CASES[name]
    data, labels = batch(case)
    settings = recipe(case.data)
    net = models.build(name, method=method, classes=case.classes, shape=case.shape, place=place, device=device)
    optimizer = OPTIMIZERS[settings.optimizer](
        net.parameters, net.kernels, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    trainer = Trainer(net, optimizer, None, None, settings.drop_every, seed=0)  # type: ignore[arg-type]
    on_device = net.kernels.xp.asarray(data), net.kernels.xp.asarray(labels)
    return lambda: trainer.step(*on_device), net, optimizer


def theirs(name: str, method: str, layout: str, compiled: bool = False) -> Step:
    """Return PyTorch's training step in a memory layout; compiled: by torch.compile, which takes a minute or two."""
    import torch
    import torch_nets

    torch.set_num_threads(threads.workers())
    torch.set_flush_denormal(True)
    case = CASES[name]
    data, labels = batch(case)
    settings = recipe(case.data)
    net: Any = torch_nets.build(name, case.classes, "BN" in method, layout)
    optimizer = torch_nets.optimizer(settings.optimizer, net, settings.learning_rate, settings.weight_decay)
    net = torch.compile(net) if compiled else net
    images, targets = torch.tensor(data).permute(0, 3, 1, 2), torch.tensor(labels).long()
    images = images if layout == "channels_last" else images.contiguous()

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(images), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def interleaved(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each step, after two rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1000 * (time.perf_counter() - start))
            time.sleep(REST)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def peak_memory(name: str, method: str, side: str) -> float:
    """Return the peak memory of a process that does three steps, in MB; side: "ours" or one of LAYOUTS."""
    command = [sys.executable, __file__, "--model", name, "--method", method, "--peak-of", side]
    if side == "ours":  # PyTorch's process must not load the libraries of our loops
        command += ["--loops", loops.name()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_peak(name: str, method: str, side: str) -> None:
    """Do three steps, and print the peak memory of this process in MB."""
    step = ours(name, method)[0] if side == "ours" else theirs(name, method, side)
    for _ in range(3):
        step()
    status = Path("/proc/self/status").read_text()  # ru_maxrss would count the process that started this one
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def profile(name: str, method: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return the mean milliseconds of a step by kind of layer and pass."""
    step, net, optimizer = ours(name, method)
    spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def watch(owner: Any, method_name: str, kind: str, label: str) -> None:
        plain = getattr(owner, method_name)

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = plain(*arguments)
            spent[kind][label] += 1000 * (time.perf_counter() - start) / rounds
            return result

        setattr(owner, method_name, timed)

    for _ in range(2):
        step()
    for layer in net.layers:
        if not isinstance(layer, Container):
            watch(layer, "compute_output", layer.kind, "forward")
            watch(layer, "compute_error", layer.kind, "backward")
            watch(layer, "compute_grads", layer.kind, "comp_grads")
            for point in (layer.at_weights, layer.at_error, layer.at_grads):
                if point.hook is not None:
                    watch(point, "hook", "hooks", "")
    update = type(optimizer).step
    watch(type(optimizer), "step", "optimizer", "")  # the optimizer itself takes no other attributes
    for _ in range(rounds):
        step()
    type(optimizer).step = update  # type: ignore[method-assign]
    return {kind: {label: round(ms, 2) for label, ms in passes.items()} for kind, passes in spent.items()}


def measure(name: str, method: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Return the row of a net; compiled: with PyTorch's compiled step."""
    steps = {"ours": ours(name, method)[0]} | {layout: theirs(name, method, layout) for layout in LAYOUTS}
    if compiled:
        steps |= {f"compiled, {layout}": theirs(name, method, layout, compiled) for layout in LAYOUTS}
    medians = interleaved(steps, rounds)
    fastest = min(LAYOUTS, key=medians.__getitem__)
    best = min((ms for side, ms in medians.items() if side.startswith("compiled")), default=None)
    row = {
        "model": name,
        "method": method,
        "batch": recipe(CASES[name].data).batch_size,
        "threads": threads.workers(),
        "blas": in_use(),
        "ours_ms": round(medians["ours"], 2),
        "torch_ms": round(medians[fastest], 2),
        "torch_contiguous_ms": round(medians["contiguous"], 2),
        "torch_channels_last_ms": round(medians["channels_last"], 2),
        "ratio": round(medians[fastest] / medians["ours"], 3),
        "ours_peak_mb": round(peak_memory(name, method, "ours")),
        "torch_peak_mb": round(peak_memory(name, method, fastest)),
    }
    return row | ({"compiled_ms": round(best, 2), "to_compiled": round(best / medians["ours"], 3)} if best else {})


def print_scaling(name: str, method: str, rounds: int) -> None:
    """Print the median milliseconds of our step with one thread and with all of them, three steps of each in turn."""
    step, *_ = ours(name, method)
    times: dict[int, list[float]] = {1: [], threads.workers(): []}
    for _ in range(rounds):
        for count, spent in times.items():
            threads.set_workers(count)
            step()
            for _ in range(3):
                start = time.perf_counter()
                step()
                spent.append(1000 * (time.perf_counter() - start))
    one, several = (statistics.median(spent) for spent in times.values())
    print(f"net ({name}): {one:.1f} ms with 1 thread, {several:.1f} ms with {max(times)}: {one / several:.2f} times")


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--model", nargs="+", default=list(CASES), choices=list(CASES), help="nets of Figure 1")
    cli.add_argument("--method", help="default: the paper's best for the net; PyTorch's step has BN of it alone")
    cli.add_argument("--rounds", type=int, default=30, help="steps of each (default: 30)")
    cli.add_argument("--device", default="cpu", choices=("cpu", "gpu"), help="(default: cpu)")
    cli.add_argument("--precision", help="on a GPU, of both sides: fp32, tf32 or bf16 (default: tf32)")
    cli.add_argument("--compile", action="store_true", help="time a compiled PyTorch as well; takes minutes")
    cli.add_argument("--threads", type=int, help="of both (default: one for each core)")
    cli.add_argument("--loops", choices=loops.NAMES, help="our innermost loops (default: numba where it is installed)")
    cli.add_argument("--profile", action="store_true", help="show the time by kind of layer instead")
    cli.add_argument("--scaling", action="store_true", help="time our step on one core and on all of them instead")
    cli.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    cli.add_argument("--peak-of", choices=("ours", *LAYOUTS), help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.loops:
        loops.use(options.loops)
    if options.threads:
        threads.set_workers(options.threads)
    methods = {name: options.method or models.best_method(name) for name in options.model}
    rows: list[dict[str, Any]] = []
    if options.peak_of:
        print_peak(options.model[0], methods[options.model[0]], options.peak_of)
        return
    if options.device == "cpu":
        announce()
    if options.scaling:
        for name, method in methods.items():
            print_scaling(name, method, options.rounds)
        return
    if options.device == "gpu":
        import gpu_step

        for name, method in methods.items():
            rows.append(gpu_step.measure(name, method, options.precision, options.rounds, options.compile))
            write(rows, options.json)
        print(gpu_step.table(rows))
        return
    if not options.profile:
        compiled = "  compiled, ms  compiled/ours" if options.compile else ""
        print(
            f"net      ours, ms  PyTorch, ms  channels first  channels last  ratio  peak, MB  PyTorch's, MB{compiled}"
        )
    for name, method in methods.items():
        if options.profile:
            row = {"model": name, "method": method, "profile_ms": profile(name, method, options.rounds)}
            print(f"net ({name}), {method}, ms a step:")
            for kind, passes in sorted(row["profile_ms"].items(), key=lambda item: -sum(item[1].values())):
                print(f"  {kind:12} {sum(passes.values()):8.2f}  {passes}")
        else:
            row = measure(name, method, options.rounds, options.compile)
            compiled = f"{row['compiled_ms']:14.1f} {row['to_compiled']:14.2f}" if options.compile else ""
            print(
                f"{name:8} {row['ours_ms']:8.1f} {row['torch_ms']:12.1f} {row['torch_contiguous_ms']:15.1f} "
                f"{row['torch_channels_last_ms']:14.1f} {row['ratio']:6.2f} {row['ours_peak_mb']:9} "
                f"{row['torch_peak_mb']:14}{compiled}",
                flush=True,
            )
        rows.append(row)
    write(rows, options.json)


if __name__ == "__main__":
    main()
