"""Ranks that share a batch compute what one process computes with the whole of it."""

import sys
from types import ModuleType

import numpy as np
import pytest
from mpi_curves import Case, curve
from thread_ranks import ThreadRank, on_ranks

import train
from minidl import synchronized
from minidl.communicator import Communicator
from minidl.data.batches import Batches, share_of, shares_of
from minidl.data.dataset import Dataset
from minidl.data.pixel_batches import PixelBatches
from minidl.exchange import Exchange
from minidl.experiment.cli.command import sentence_of
from minidl.experiment.cli.stop import Stop, Terminated
from minidl.experiment.ranks import launcher
from minidl.experiment.sharing import check_alike, check_equal, first_word, share_batches
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.kernels.running import Running
from minidl.layers import Convolution, Flatten, FullyConnected, ReLU, Sequential
from minidl.mpi import MPICommunicator
from minidl.net import Net
from minidl.normalizations import register
from minidl.optimizers import SGD

TOTALS = 4


def split(array, rank):
    """Return a rank's part of an array."""
    own = share_of(len(array), rank.share)
    return np.ascontiguousarray(array[own.start : own.stop])


@pytest.mark.parametrize("count, ranks", [(7, 3), (4, 4), (9, 2), (3, 5), (50, 1)])
def test_shares_are_parts_of_the_whole_and_nearly_equal(count, ranks):
    parts = [list(share_of(count, (rank, ranks))) for rank in range(ranks)]
    assert [sample for part in parts for sample in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_shares_of_an_epoch_are_those_of_its_batches():
    assert list(shares_of([4, 4, 3], (1, 2))) == [2, 3, 6, 7, 9, 10]
    assert list(np.arange(10)[shares_of([4, 4, 2], (0, 3))]) == [0, 4]  # none of the last batch


def noise(random, count=11, masks=False):
    images = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    truth = random.integers(0, 3, (count, 8, 8)).astype(np.uint8)
    return Dataset(
        "noise",
        images,
        random.integers(0, 3, count),
        ("x", "y", "z"),
        truth if masks else None,
        ("x", "y", "z") * masks,
    )


@pytest.mark.parametrize("source, masks", [(Batches, False), (PixelBatches, True)])
def test_the_batches_of_all_ranks_together_are_the_epoch(source, masks, random):
    dataset, kernels = noise(random, masks=masks), load("cpu")

    def seen(share):
        batches = source(dataset, 4, kernels, np.float64, share)
        sizes = batches.shuffle(np.random.default_rng(1))
        trained = [tuple(array.copy() for array in batches.next(size)) for size in sizes]
        return sizes, trained, [tuple(array.copy() for array in pair) for pair in batches.in_order()]

    sizes, trained, tested = seen((0, 1))
    shares = [seen((rank, 3)) for rank in range(3)]
    assert all(share[0] == sizes == [4, 4, 3] for share in shares)
    for i, pair in enumerate(trained):
        for part in range(2):
            np.testing.assert_array_equal(np.concatenate([share[1][i][part] for share in shares]), pair[part])
    for part in range(2):
        whole = np.concatenate([pair[part] for pair in tested])
        parts = [pair[part] for share in shares for pair in share[2]]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("shape", [(9,), (5, 4, 3)])
def test_the_loss_is_weighted_by_what_is_labelled(device, shape, random):
    kernels = load(device)
    logits, labels = random.standard_normal((*shape, 4)), random.integers(0, 4, shape)
    labels.reshape(-1)[:4] = -1  # all labels on the first rank, or most of them
    expected, totals = np.empty_like(logits), np.zeros(TOTALS)
    kernels.softmax_loss.forward(logits, labels, expected, totals)

    def forward(rank):
        loss = synchronized.with_loss(kernels, rank).softmax_loss
        error, own = np.empty_like(split(logits, rank)), np.zeros(TOTALS)
        for _ in range(2):
            loss.forward(split(logits, rank), split(labels, rank), error, own)
        return error, own

    found = on_ranks(3, forward)
    np.testing.assert_allclose(np.concatenate([error for error, _ in found]), expected, rtol=1e-13, atol=1e-16)
    for _, own in found:
        np.testing.assert_allclose(own, 2 * totals, rtol=1e-13)


@pytest.mark.parametrize("function", ["center", "standardize", "rescale"])
@pytest.mark.parametrize("view", ["channel", "global"])
def test_a_normalization_over_a_batch_is_that_of_the_whole(function, view, random):
    x = 3 + random.standard_normal((7, 2, 3, 4))
    shapes = {"channel": (1, -1, 4, 1), "global": (1, -1, 1, 24)}
    expected = x.copy().reshape(shapes[view])
    getattr(load("reference").normalize, function)(expected, expected)

    def normalize(rank):
        own = split(x, rank).reshape(shapes[view])
        getattr(synchronized.Normalize(rank), function)(own, own)
        return own.reshape(-1, 2, 3, 4)

    found = np.concatenate(on_ranks(3, normalize))
    np.testing.assert_allclose(found, expected.reshape(x.shape), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("relu", [False, True])
def test_bn_of_ranks_is_that_of_the_whole_batch(device, relu, random):
    x, error = 5 + random.standard_normal((7, 2, 3, 4)), random.standard_normal((7, 2, 3, 4))
    view, kernels = (1, -1, 4, 1), load(device)
    gamma, beta = random.random(4), random.random(4)

    def bn(op, x, error):
        x, error = x.reshape(view), error.reshape(view)
        out, back, grads = np.empty_like(x), np.empty_like(x), np.zeros((2, 4))
        mean, variance, updates = np.zeros(4), np.ones(4), np.array([3])
        statistics = op.forward(x, gamma, beta, 1e-4, out, Running(mean, variance, updates, 100), relu)
        sums = op.comp_grads(error, x, statistics, *grads)
        op.backward(error, x, gamma, statistics, sums, back)
        assert updates == 4
        return out.reshape(-1, 4), back.reshape(-1, 4), grads, np.stack([mean, variance])

    out, back, grads, running = bn(kernels.data_norm, x, error)

    def of_rank(rank):
        return bn(synchronized.DataNorm(kernels.data_norm, rank), split(x, rank), split(error, rank))

    found = on_ranks(3, of_rank)
    np.testing.assert_allclose(np.concatenate([part[0] for part in found]), out, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(np.concatenate([part[1] for part in found]), back, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(sum(part[2] for part in found), grads, rtol=1e-12)
    for part in found:
        np.testing.assert_allclose(part[3], running, rtol=1e-12)


def net_of(method="Baseline", place="hooks", **options):
    root = Sequential(Convolution(4, 3), ReLU(), Convolution(3, 3), Flatten(), FullyConnected(3))
    return Net(root, (6, 6, 3), load("cpu"), method=method, dtype=np.float64, place=place, **options)


def test_the_exchange_sums_gradients_and_keeps_each_in_its_place(random):
    def exchanged(rank):
        net = net_of()
        before = [p.value.copy() for p in net.parameters]
        exchange = Exchange(net, rank)
        for number, p in enumerate(net.parameters):
            p.grads[...] = 10 * number + rank.rank
        exchange()
        assert [p.value.tolist() for p in net.parameters] == [value.tolist() for value in before]
        return [p.grads.copy() for p in net.parameters]

    for grads in on_ranks(3, exchanged):
        for number, array in enumerate(grads):
            np.testing.assert_array_equal(array, 30 * number + 3)


def test_running_statistics_are_the_mean_of_the_ranks():
    def stats(rank):
        net = Net(
            Sequential(Convolution(4, 3), *together_bn(), Flatten(), FullyConnected(3)),
            (6, 6, 3),
            load("cpu"),
            dtype=np.float64,
        )
        exchange = Exchange(net, rank)
        (norm,) = [layer for layer in net.layers if layer.kind == "bn"]
        norm.mean[...] = rank.rank
        exchange()
        return norm.running()["bn1.mean"]

    def together_bn():
        from minidl.layers import BatchNorm

        return [BatchNorm()]

    for mean in on_ranks(2, stats):
        np.testing.assert_array_equal(mean, 0.5)


@pytest.mark.parametrize(
    "mode, place", [("projection", "hooks"), ("projection", "optimizer"), ("reparametrization", "hooks")]
)
def test_curves_of_two_ranks_are_those_of_one(mode, place):
    case = Case("c", "sgd", "WC, GC, fully", mode, place, steps=8)
    expected = curve(case, Communicator())
    for found in on_ranks(2, lambda rank: curve(case, rank)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_a_hook_of_gradients_that_is_not_linear_is_refused(names):
    register("GS", "grads", "tensor", "standardize")
    with pytest.raises(MinidlError, match="GS at the gradients of conv1 is not known to be linear"):
        Exchange(net_of("GS"), Communicator())
    Exchange(net_of("gradient channel"), Communicator())


def test_a_user_defined_function_over_a_batch_cannot_be_synchronized(names):
    register("OWN", "error", "channel", lambda x: x - x.mean())
    with pytest.raises(MinidlError, match="OWN at the errors of conv2 is a function of your own over a whole batch"):
        synchronized.synchronize(net_of("OWN"), Communicator())


SETTINGS = {"seed": 1, "trace": None, "sync_bn": False, "import": [], "quiet": False, "batch_size": 4}
ONE_SET = {"classes": ["a", "b"], "train": {"images": 4, "fingerprint": "x"}, "test": {"images": 2, "fingerprint": "y"}}


@pytest.mark.parametrize(
    "settings, data, seed, message",
    [
        ({"seed": 2}, {}, 0, "rank 1 has seed 2, and rank 0 has 1"),
        ({}, {"train": {"images": 5, "fingerprint": "x"}}, 0, "there were 4 training images and are 5 now"),
        ({}, {"train": {"images": 4, "fingerprint": "z"}}, 0, "the training images, their labels or their order"),
        ({}, {}, 5, "rank 1 has other weights than rank 0"),
    ],
)
def test_settings_that_differ_between_ranks_are_noticed(settings, data, seed, message):
    def check(rank):
        other = rank.rank == 1
        net = net_of(seed=seed if other else 0)
        with pytest.raises(MinidlError, match=message):
            check_alike(rank, SETTINGS | (settings if other else {}), ONE_SET | (data if other else {}), net)

    on_ranks(2, check)


def test_settings_that_may_differ_between_ranks():
    on_ranks(2, lambda rank: check_alike(rank, SETTINGS | {"quiet": rank.rank == 1}, ONE_SET, net_of()))


def test_nets_that_are_no_longer_equal_are_noticed():
    def check(rank):
        net = net_of()
        check_equal(rank, net)
        net.parameters[0].value.flat[0] += 1e-12 * rank.rank
        with pytest.raises(MinidlError, match="the net of rank 1 differs from that of rank 0"):
            check_equal(rank, net)

    on_ranks(2, check)


@pytest.mark.parametrize(
    "changes, method, message",
    [
        ({"trace": 50}, "Baseline", "each of 2 ranks has only a share; trace on one rank"),
        ({}, "BN", "leaves a single one to some of 2 ranks"),
        ({}, "EB", "larger batches"),
    ],
)
def test_trainings_that_a_share_of_a_batch_is_not_enough_for(changes, method, message, random):
    from minidl.layers import BatchNorm

    rank = ThreadRank(0, 2, None, [])
    kind = [BatchNorm()] if method == "BN" else []
    root = Sequential(Convolution(4, 1), *kind, ReLU(), Convolution(3, 1), Flatten(), FullyConnected(3))
    net = Net(root, (1, 1, 3), load("cpu"), method=method)
    batches = Batches(noise(random, 9), 3, net.kernels, net.dtype, rank.share)
    with pytest.raises(MinidlError, match=message):
        share_batches(SETTINGS | changes, net, batches, rank)


def test_an_interrupt_of_one_rank_is_that_of_all():
    def asked(rank):
        stop = Stop()
        assert stop.on_any(rank) is None
        stop.asked = Terminated() if rank.rank == 1 else None
        return stop.on_any(rank)

    assert all(isinstance(found, Terminated) for found in on_ranks(3, asked))


def test_the_first_error_of_the_ranks_is_reported():
    assert on_ranks(3, lambda rank: first_word(rank, ["", "b", "c"][rank.rank])) == ["b"] * 3


def test_a_rank_that_is_alone_computes_as_before(random):
    """All its operations are those of the device."""
    from minidl.experiment.trainer import Trainer

    net = net_of()
    batches = Batches(noise(random), 4, net.kernels, net.dtype)
    trainer = Trainer(net, SGD(net.parameters, net.kernels, 0.1), batches, batches, 10, 0)
    assert trainer.loss.kernels is net.kernels
    assert share_batches(SETTINGS, net, batches, Communicator()) == ()


@pytest.mark.parametrize("error", [ImportError("no library"), RuntimeError("no library\nof many names")])
def test_mpi4py_without_mpi_is_one_sentence(error, monkeypatch):
    def missing(name):
        raise error

    broken = ModuleType("mpi4py")
    broken.__getattr__ = missing
    monkeypatch.setitem(sys.modules, "mpi4py", broken)
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    with pytest.raises(MinidlError, match=r"they need mpi4py and a library of MPI \(no library\); "):
        MPICommunicator(2)


def test_other_ranks_get_the_error_in_a_command_line(capsys):
    with pytest.raises(SystemExit) as left:
        train.main(["--nonsense"])
    assert left.value.code == 2
    said = sentence_of(left.value)
    assert said == "no option is called --nonsense; see: python train.py --help"
    assert capsys.readouterr().err == f"train.py: {said}\n"


def test_a_training_has_no_tasks_to_give(monkeypatch, capsys):
    monkeypatch.setattr(launcher, "gives_tasks", lambda: True)
    assert train.main(["--device", "cpu"]) == 2
    assert capsys.readouterr().err == "train.py: ranks train together without -m mpi4py.futures; leave it out\n"
