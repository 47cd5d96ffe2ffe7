"""Compare the time of inference with PyTorch's and ONNX Runtime's, in separate processes, in turn, with equal threads.

    python benchmarks/inference.py [--model a b c d] [--json FILE]

Ours is a net as ``checkpoint.load`` returns it: plain, with BN folded, and frozen. PyTorch runs in inference mode, in
both memory layouts, of which the faster one counts, with BN folded as well; ONNX Runtime runs what ``minidl export
--format onnx`` writes. Each answers one call after another for a while before it is the next one's turn, and then waits
without computing, because threads that wait in a busy loop would slow the others down. Times are medians of the
fastest half of the turns; ``ratio`` is the time of the fastest other one divided by ours: above 1 is faster than both.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from blas_kernels import announce, in_use

SIDES = ("ours", "contiguous", "channels_last", "onnxruntime")
SHAPES = {"a": (32, 32, 3), "b": (32, 32, 3), "c": (32, 32, 3), "d": (227, 227, 3)}
BATCHES = {"a": (1, 50), "b": (1, 50), "c": (1, 50), "d": (1, 10)}
TURN = 0.5  # seconds of calls; at least two calls are made
REST = 0.1  # seconds between turns: threads of PyTorch and of ONNX Runtime spin on for a while

Call = Callable[[], Any]


def net_of(name: str) -> Any:
    """Return our net, ready for inference."""
    from minidl import models
    from minidl.fold import fold

    norm = "Baseline" if name == "c" else "BN"
    classes = 21 if name == "d" else 10
    net = models.build(name, method=norm, classes=classes, shape=SHAPES[name], device="cpu")
    net.eval()
    fold(net.root)
    return net


def ours(name: str, batch: int, threads: int) -> Call:
    """Return a forward pass of ours."""
    from minidl.kernels.cpu.threads import set_workers

    set_workers(threads)
    net, data = net_of(name), images(name, batch)
    net.freeze()
    return lambda: net.forward(data)


def torch(name: str, batch: int, threads: int, layout: str) -> Call:
    """Return a forward pass of PyTorch's."""
    import torch
    import torch_nets
    from torch.fx.experimental.optimization import fuse  # folds BN

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    net = torch_nets.build(name, 21 if name == "d" else 10, name != "c", layout).eval()
    try:
        net = fuse(net)
    except Exception as error:  # for a net that it cannot trace
        print(f"{name}: BN is not folded in PyTorch ({error})", file=sys.stderr)
    data = torch.tensor(images(name, batch)).permute(0, 3, 1, 2)
    data = data if layout == "channels_last" else data.contiguous()

    def call() -> Any:
        with torch.inference_mode():
            return net(data)

    return call


def onnxruntime(name: str, batch: int, threads: int) -> Call:
    """Return a forward pass of ONNX Runtime's."""
    import onnxruntime

    from minidl import __version__
    from minidl.onnx_model import onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_model(net_of(name), {}, __version__), options, ["CPUExecutionProvider"])
    data = np.ascontiguousarray(images(name, batch).transpose(0, 3, 1, 2))
    (given,) = session.get_inputs()
    return lambda: session.run(None, {given.name: data})


def images(name: str, batch: int) -> np.ndarray:
    """Return a batch of random images."""
    return np.random.default_rng(0).normal(0, 0.3, (batch, *SHAPES[name])).astype(np.float32)


def serve(side: str, name: str, batch: int, threads: int) -> None:
    """Do a turn of calls for each line that is received, and answer with the milliseconds of each call."""
    makers = {"ours": ours, "onnxruntime": onnxruntime}
    call = makers[side](name, batch, threads) if side in makers else torch(name, batch, threads, side)
    for _ in range(3):
        call()
    for _ in sys.stdin:
        times: list[float] = []
        until = time.perf_counter() + TURN
        while len(times) < 2 or time.perf_counter() < until:
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)


def measure(name: str, batch: int, threads: int, turns: int, sides: list[str]) -> dict[str, Any]:
    """Return the row of a net and a batch."""
    case = ["--model", name, "--batch", str(batch), "--threads", str(threads)]
    processes = {
        side: subprocess.Popen(
            [sys.executable, __file__, "--serve", side, *case], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for side in sides
    }
    medians: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, process in processes.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("turn\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit(f"inference.py: {side} has ended; see above")
            medians[side].append(statistics.median(json.loads(answer)))
            time.sleep(REST)
    for process in processes.values():
        process.communicate()
    best = {side: statistics.median(sorted(values)[: -(-len(values) // 2)]) for side, values in medians.items()}
    others = {"torch": min((best[side] for side in best if side in SIDES[1:3]), default=None), "onnxruntime": None}
    others |= {side: best[side] for side in best if side == "onnxruntime"}
    fastest = min(filter(None, others.values()), default=None)
    row: dict[str, Any] = {
        "model": name,
        "batch": batch,
        "threads": threads,
        "blas": in_use(),
        "ours_ms": round(best["ours"], 3),
    }
    row |= {f"{side}_ms": value and round(value, 3) for side, value in others.items()}
    return row | {"ratio": fastest and round(fastest / best["ours"], 3)}


def main() -> None:
    """Run the command line."""
    from minidl.kernels.cpu.threads import available_cores

    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--model", nargs="+", default=list(SHAPES), choices=SHAPES)
    cli.add_argument("--batch", nargs="+", type=int, help="sizes (default: 1 and 50, for d 1 and 10)")
    cli.add_argument("--threads", type=int, default=available_cores(), help="(default: one for each core)")
    cli.add_argument("--turns", type=int, default=9, help="of each side (default: 9)")
    cli.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    cli.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    cli.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.serve:
        serve(options.serve, options.model[0], options.batch[0], options.threads)
        return
    announce()
    rows = []
    print("net  batch   ours, ms  PyTorch, ms  ONNX Runtime, ms   ratio")
    for name in options.model:
        for batch in options.batch or BATCHES[name]:
            row = measure(name, batch, options.threads, options.turns, options.sides)
            rows.append(row)
            cells = [f"{row[key]:.2f}" if row[key] else "·" for key in ("torch_ms", "onnxruntime_ms", "ratio")]
            print(f"{name:<5}{batch:5}{row['ours_ms']:11.2f}{cells[0]:>13}{cells[1]:>18}{cells[2]:>8}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
