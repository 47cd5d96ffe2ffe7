"""Ranks on GPUs: their sums are part of the recorded step. In the emulation, all ranks have the same arrays."""

import sys
from typing import Any

import numpy as np
import pytest
from conftest import EMULATED
from test_gpu_nets import BATCH, NETS, images

from minidl import synchronized
from minidl.communicator import Communicator
from minidl.data.batches import Batches
from minidl.exchange import Exchange
from minidl.experiment.trainer import Trainer
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError
from minidl.method import parse
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS


class Group(Communicator):
    """Ranks that all have the same images; on a real GPU, a single rank."""

    share = (0, 1)

    def __init__(self, size: int, gpu: Kernels) -> None:
        from minidl.kernels.gpu import nccl

        self.size, self.cuda = size, gpu.xp.cuda
        self.sums = nccl.Sums(nccl.unique_id(), 0, size)

    def sum(self, array: Any) -> None:
        self.sums(array)

    def total(self, number: int) -> int:
        """Ask the host, which a recorded step must not do: a rank that does not record it would wait for an answer."""
        assert not self.cuda.get_current_stream().is_capturing()
        return self.size * number


def train(gpu: Kernels, name: str, method: str, ranks: Communicator | None) -> dict[str, Any]:
    layers, size, optimizer, _ = NETS[name]
    net = Net(layers(parse(method)), (size, size, 3), gpu, method=method, dtype=np.float64)
    if ranks:
        synchronized.synchronize(net, ranks)
        Exchange(net, ranks, synchronized=True)
    batches = Batches(images(size), BATCH, gpu, np.float64)
    update = OPTIMIZERS[optimizer](net.parameters, gpu, 0.01)
    trainer = Trainer(net, update, batches, batches, drop_every=1, seed=0)
    if ranks:
        trainer.ranks = ranks
        trainer.loss.kernels = synchronized.with_loss(gpu, ranks)
    epochs = [trainer.run_epoch(epoch, test=False) for epoch in (1, 2)]
    assert trainer.full_step.graph is not None
    arrays = {p.name: gpu.host(p.value).copy() for p in net.parameters}
    arrays |= {key: gpu.host(value).copy() for key, value in net.running().items()}
    return arrays | {"loss": np.array([epoch.train_loss for epoch in epochs])}


@pytest.mark.parametrize("name, method", [("c", "WC, GC, fully"), ("a", "EB, WC, GC, BN")])
def test_the_sums_are_part_of_the_graph(gpu: Kernels, name: str, method: str) -> None:
    """Two ranks with the same images have the same means, and so the same training, as one."""
    if not EMULATED:
        pytest.importorskip("cupy.cuda.nccl")
    ranks = 2 if EMULATED else 1
    expected = train(gpu, name, method, None)
    found = train(gpu, name, method, Group(ranks, gpu))
    for key, value in expected.items():
        rows = ranks if key.endswith("variance") else 1  # unbiased: with twice the rows it is a little smaller
        # EB makes the gradients of biases zero but for rounding, and Adam makes up to 1e-9 of that.
        np.testing.assert_allclose(found[key], value, rtol=1e-9 if rows == 1 else 0.1, atol=1e-8, err_msg=key)


def test_sums_of_each_type(gpu: Kernels) -> None:
    ranks = Group(3 if EMULATED else 1, gpu)
    for dtype in (np.float32, np.float64, np.int64):
        array = gpu.xp.asarray(np.arange(5), dtype)
        ranks.sum(array)
        np.testing.assert_array_equal(gpu.host(array), ranks.size * np.arange(5))


def test_without_nccl_it_is_said_how_to_get_it(gpu: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.kernels.gpu import nccl

    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", None)
    with pytest.raises(MinidlError, match="ranks on GPUs need NCCL"):
        nccl.unique_id()
