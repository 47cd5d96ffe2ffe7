"""Random nets give PyTorch's numbers on every device, and the same numbers whatever they have computed before.

Compared are outputs, losses, gradients, the error at the input, and all parameters over three steps with batches of
different sizes. A failing test shows its net as a line of Python that makes it again:

    from random_nets import RandomNet
    net = RandomNet(root="Sequential(…)", …).build("cpu", "float64")
"""

import copy
import os
from functools import lru_cache

import numpy as np
import pytest
import test_memory
from random_nets import draw
from test_fuse import poison

from minidl.fold import fold
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import OPTIMIZERS

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
TRIALS = 3
MORE = int(os.environ.get("RANDOM_NETS", "50"))  # RANDOM_NETS=1000 in the environment takes a thousand nets
seeds = pytest.mark.parametrize(
    "seed",
    [
        *range(6),
        *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(6, 20)),
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 100 + MORE)),
    ],
)
quick = pytest.mark.quick_on("numba")


class Ours:
    """A net and its optimizer, with the functions of torch_mirror.Mirror."""

    def __init__(self, net, kind, settings):
        self.net, self.host = net, lambda array: net.kernels.host(array).copy()
        self.loss = SoftmaxCrossEntropy(net.kernels)
        self.optimizer = OPTIMIZERS[kind](net.parameters, net.kernels, **settings)

    def step(self, data, labels):
        """Train on a batch; return outputs and gradients by name."""
        self.net.train()
        output = self.net.forward(self.net.kernels.array(data, self.net.dtype))
        outputs = {"loss": np.array(self.loss.score_of(output, labels).loss), "output": self.host(output)}
        gradients = {"data": self.host(self.net.root.backpropagate(self.loss.error))}
        gradients |= {p.name: self.host(p.grads) for p in self.net.parameters}
        self.optimizer.step()
        return outputs, gradients

    def predict(self, data):
        """Return the output at inference."""
        return self.net.predict(data.astype(self.net.dtype))

    def arrays(self):
        """Return parameters and running statistics by name."""
        arrays = {p.name: p.value for p in self.net.parameters} | self.net.running()
        return {name: self.host(array) for name, array in arrays.items()}


@np.errstate(over="ignore", invalid="ignore")  # a training may diverge
def results_of(side, drawn, trial=0, noise=0.0):
    """Return all results of three steps and a prediction, as groups of arrays by name."""
    groups = {}
    for step, (data, labels) in enumerate(drawn.data(trial, noise), 1):
        groups[f"outputs {step}"], groups[f"gradients {step}"] = side.step(data, labels)
    return groups | {"arrays": side.arrays(), "prediction": {"": side.predict(data)}}


@lru_cache(500)  # on average 0.4 MB each
def expected_of(kind, seed, dtype, trial, noise=0.0):
    """Return the results of the other side, Ours on the reference device or a Mirror."""
    drawn = draw(seed)
    return results_of(kind(drawn.build("reference", dtype), drawn.optimizer, drawn.settings), drawn, trial, noise)


def difference(results, expected):
    """Return the largest distance of an array, by the length of the expected one, and where it is.

    If that is shorter than a hundredth of the longest one of its group, it counts as if it had this length: many
    gradients are zero but for rounding, as those of biases before a BN.
    """
    length, found = np.linalg.norm, []
    assert results.keys() == expected.keys()
    for group, wanted in expected.items():
        assert results[group].keys() == wanted.keys()
        least = max(0.1, *map(length, wanted.values())) / 100
        for name, array in wanted.items():
            assert results[group][name].shape == array.shape, name
            far = length(results[group][name] - array) / max(length(array), least)
            found.append((np.inf if np.isnan(far) else far, f"{group} {name}"))
    return max(found)


def check(other, kernels, seed, dtype):
    """Compare the net of a seed on a device with another side in float64.

    Some nets magnify rounding errors; so both sides' own errors count, with data whose last digit is another one: a
    fault stays the same then. And with some data, rounding decides whether a unit is on; but a fault shows with other
    data as well.
    """
    drawn, found, noise = draw(seed), [], np.finfo(dtype).eps

    def ours(trial, noise=0.0):
        return results_of(Ours(drawn.build(kernels, dtype), drawn.optimizer, drawn.settings), drawn, trial, noise)

    for trial in range(TRIALS):
        expected, results = expected_of(other, seed, "float64", trial), ours(trial)
        far, where = difference(results, expected)
        if far < TOLERANCE[dtype]:
            return
        errors, _ = difference(expected_of(other, seed, dtype, trial, noise), expected)
        own, _ = difference(ours(trial, noise), results)
        if far <= 30 * max(errors, own):
            return
        found.append(f"{where}: {far:.1e} where the other side is off by {errors:.1e}, and this one by {own:.1e}")
    raise AssertionError(f"{dtype}, {found}\n{drawn}")


@quick
@seeds
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_pytorch_finds_the_same(backend, seed, dtype):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e .[bench]")
    from torch_mirror import Mirror

    check(Mirror, backend, seed, dtype)


@quick
@seeds
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_device_finds_the_same(fast, seed, dtype):
    check(Ours, fast, seed, dtype)


@quick
@seeds
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_used_net_gives_what_its_copy_gives(backend, seed, dtype):
    """After batches of other sizes, inference and a freeze, in memory full of nan; on a CPU, to the last bit."""
    drawn = draw(seed)
    used = drawn.build(backend, dtype)
    results_of(Ours(used, drawn.optimizer, drawn.settings), drawn)
    used.freeze()
    used.train()
    twin = copy.deepcopy(used)
    poison(used.root)
    results, expected = (results_of(Ours(net, drawn.optimizer, drawn.settings), drawn, 1) for net in (used, twin))
    far, where = difference(results, expected)
    assert far <= (TOLERANCE[dtype] if backend.device == "gpu" else 0), f"{where}\n{drawn}"


@quick
@seeds
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_inference_frozen_and_folded(backend, seed, dtype):
    """A frozen net records the second pass of a shape, and replays it from then on."""
    drawn = draw(seed)
    net = drawn.build(backend, dtype)
    results_of(Ours(net, drawn.optimizer, drawn.settings), drawn)
    batches = [net.kernels.array(data, net.dtype) for data, _ in drawn.data(1)] * 3
    net.eval()
    folded = copy.deepcopy(net)
    fold(folded.root)
    expected, of_folded = (dict(enumerate(one.infer(batches))) for one in (net, folded))
    net.freeze()
    for results in (of_folded, dict(enumerate(net.infer(batches)))):
        far, where = difference({"pass": results}, {"pass": expected})
        assert far < TOLERANCE[dtype], f"{where}\n{drawn}"


@quick
@seeds
@pytest.mark.parametrize("backend", ["numpy", "numba"], indirect=True)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_nothing_is_overwritten_too_soon(backend, seed, dtype):
    test_memory.compare(lambda: draw(seed).build(backend, dtype))
