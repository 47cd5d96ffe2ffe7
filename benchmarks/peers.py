"""Compare the time of net (c)'s middle convolution with other frameworks on NumPy, in turn in one run.

    python benchmarks/peers.py [--python DIR/bin/python ...] [--json FILE]

The work: 50 images of 16×16×64, 64 filters of 3×3 with padding 1, one forward pass and the gradients of data and
weights, in float32. Every framework gets the same data and cotangent, and must find the same gradients. Frameworks that
need another NumPy are installed in separate virtual environments, whose interpreters --python names; each environment
is asked for the frameworks that it has.
"""

import argparse
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH, SIZE, CHANNELS = 50, 16, 64
Pass = Callable[[], tuple[Any, Any]]  # one forward and backward pass; returns the gradients of data and weights
PEERS: dict[str, Callable[..., Pass]] = {}


def peer(build: Callable[..., Pass]) -> Callable[..., Pass]:
    """Register a framework under the name of its module."""
    PEERS[build.__name__] = build
    return build


@peer
def minidl(data: np.ndarray, weights: np.ndarray, cotangent: np.ndarray) -> Pass:
    """Return our pass: data (s, y, x, c), weights (out, y, x, in); the loops are those of ``--loops``."""
    convolution = importlib.import_module("minidl.kernels.cpu.convolution")
    way = convolution.plan(convolution.Geometry(data.shape[1:], CHANNELS, (3, 3), 1, 1))
    biases, out, error, grads = np.zeros(CHANNELS, "f4"), np.empty_like(data), np.empty_like(data), weights.copy()

    def step() -> tuple[Any, Any]:
        way.forward(data, weights, biases, out)
        way.comp_grads(cotangent, data, grads, biases)
        way.backward(cotangent, weights, error)
        return error, grads

    return step


def channels_first(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return arrays (n, y, x, c) as (n, c, y, x)."""
    return [np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for array in arrays]


@peer
def mygrad(data: np.ndarray, weights: np.ndarray, cotangent: np.ndarray) -> Pass:
    """Return MyGrad's pass."""
    mg = importlib.import_module("mygrad")
    conv_nd = importlib.import_module("mygrad.nnet.layers").conv_nd
    x, w, e = channels_first(data, weights, cotangent)

    def step() -> tuple[Any, Any]:
        tx, tw = mg.tensor(x), mg.tensor(w)
        conv_nd(tx, tw, stride=1, padding=1).backward(e)
        return tx.grad.transpose(0, 2, 3, 1), tw.grad.transpose(0, 2, 3, 1)

    return step


@peer
def autograd(data: np.ndarray, weights: np.ndarray, cotangent: np.ndarray) -> Pass:
    """Return Autograd's pass: its convolution rotates the filters, has no padding, and sums over axes."""
    grad = importlib.import_module("autograd").grad
    anp = importlib.import_module("autograd.numpy")
    convolve = importlib.import_module("autograd.scipy.signal").convolve
    x, w, e = channels_first(data, weights, cotangent)

    def loss(both: tuple[Any, Any]) -> Any:
        padded = anp.pad(both[0], ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")
        turned = both[1][:, :, ::-1, ::-1]
        return anp.sum(convolve(padded, turned, axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid") * e)

    gradient = grad(loss)

    def step() -> tuple[Any, Any]:
        of_x, of_w = gradient((x, w))
        return of_x.transpose(0, 2, 3, 1), of_w.transpose(0, 2, 3, 1)

    return step


@peer
def smallpebble(data: np.ndarray, weights: np.ndarray, cotangent: np.ndarray) -> Pass:
    """Return SmallPebble's pass: filters are (y, x, in, out)."""
    sp = importlib.import_module("smallpebble")
    turned = np.ascontiguousarray(weights.transpose(1, 2, 3, 0))

    def step() -> tuple[Any, Any]:
        x, w = sp.Variable(data), sp.Variable(turned)
        gradients = sp.get_gradients(sp.sum(sp.mul(sp.conv2d(x, w, padding="SAME"), sp.Variable(cotangent))))
        return gradients[x], gradients[w].transpose(3, 0, 1, 2)

    return step


@peer
def chainer(data: np.ndarray, weights: np.ndarray, cotangent: np.ndarray) -> Pass:
    """Return Chainer's pass."""
    variable = importlib.import_module("chainer").Variable
    functions = importlib.import_module("chainer.functions")
    x, w, e = channels_first(data, weights, cotangent)

    def step() -> tuple[Any, Any]:
        vx, vw = variable(x), variable(w)
        out = functions.convolution_2d(vx, vw, pad=1)
        out.grad = e
        out.backward()
        return vx.grad.transpose(0, 2, 3, 1), vw.grad.transpose(0, 2, 3, 1)

    return step


@peer
def dezero(data: np.ndarray, weights: np.ndarray, cotangent: np.ndarray) -> Pass:
    """Return DeZero's pass."""
    framework = importlib.import_module("dezero")
    functions = importlib.import_module("dezero.functions")
    x, w, e = channels_first(data, weights, cotangent)

    def step() -> tuple[Any, Any]:
        vx, vw = framework.Variable(x), framework.Variable(w)
        out = functions.conv2d(vx, vw, pad=1)
        out.grad = framework.Variable(e)
        out.backward()
        return vx.grad.data.transpose(0, 2, 3, 1), vw.grad.data.transpose(0, 2, 3, 1)

    return step


def serve(name: str) -> None:
    """Do a pass for each line on the standard input; answer with its milliseconds and a digest of its gradients."""
    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal((n, *size, CHANNELS)).astype("f4")
        for n, size in ((BATCH, (SIZE, SIZE)), (CHANNELS, (3, 3)), (BATCH, (SIZE, SIZE)))
    ]
    directions = [random.standard_normal(array.shape) for array in arrays[:2]]
    step = PEERS[name](*arrays)
    for _ in sys.stdin:
        start = time.perf_counter()
        gradients = step()
        milliseconds = 1000 * (time.perf_counter() - start)
        digest = [float(np.sum(g * d)) for g, d in zip(gradients, directions)]  # noqa: B905 (old Pythons serve, too)
        print(json.dumps([milliseconds, *digest]), flush=True)


def installed(python: str) -> list[str]:
    """Return the frameworks that an interpreter has."""
    code = f"import importlib.util as u; print(*[n for n in {list(PEERS)} if u.find_spec(n)])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--python", nargs="+", default=[], metavar="FILE", help="interpreters with other frameworks")
    cli.add_argument("--rounds", type=int, default=7, help="passes of each (default: 7)")
    cli.add_argument("--json", type=Path, metavar="FILE", help="write the table here")
    cli.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.serve:
        serve(options.serve)
        return
    pythons = {name: python for python in [*options.python, sys.executable] for name in installed(python)}
    command = [__file__, "--serve"]
    peers = {
        name: subprocess.Popen([python, *command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, python in pythons.items()
    }
    times: dict[str, list[float]] = {name: [] for name in peers}
    digests: dict[str, list[float]] = {}
    for _ in range(options.rounds + 1):
        for name, process in peers.items():
            assert process.stdin
            assert process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            milliseconds, *digests[name] = json.loads(process.stdout.readline())
            times[name].append(milliseconds)
    for process in peers.values():
        process.communicate()
    for name, digest in digests.items():
        if not np.allclose(digest, digests["minidl"], rtol=1e-2):
            sys.exit(f"{name} finds other gradients: {digest}, not {digests['minidl']}")
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    rows = [
        {"framework": name, "ms": round(value, 1), "times_ours": round(value / medians["minidl"], 1)}
        for name, value in sorted(medians.items(), key=lambda item: item[1])
    ]
    for row in rows:
        print(f"{row['framework']:12} {row['ms']:9.1f} ms {row['times_ours']:7.1f} times ours")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
