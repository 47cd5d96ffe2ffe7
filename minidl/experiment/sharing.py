"""Sharing: the preparation of ranks that share each batch, and the checks that they agree."""

from typing import Any
from zlib import crc32

import numpy as np

from minidl import __version__
from minidl.communicator import Communicator
from minidl.data.batches import Batches
from minidl.exchange import Exchange
from minidl.experiment.saving.fingerprint import Description, difference
from minidl.experiment.settings import Settings
from minidl.kernels.cpu import loops
from minidl.kernels.errors import MinidlError
from minidl.layers import BatchNorm
from minidl.net import Net
from minidl.synchronized import hooks_of_a_batch, synchronize

# Settings that may differ between ranks.
OWN = ("data", "data_root", "init", "out", "quiet", "save_every", "threads", "import")


def share_batches(settings: Settings, net: Net, train: Batches, ranks: Communicator) -> tuple[str, ...]:
    """Let the net's gradients be those of the whole batch; return notes for the user, none for a single rank.

    Build the optimizer after this. Raises MinidlError for a trace, and if a rank's share of a batch is too small.
    """
    if ranks.size == 1:
        return ()
    if settings["trace"] is not None:
        raise MinidlError(
            f"a trace needs whole batches, but each of {ranks.size} ranks has only a share; trace on one rank"
        )
    least, synchronized = min(train.sizes) // ranks.size, settings["sync_bn"]
    norms = any(isinstance(layer, BatchNorm) for layer in net.layers)
    if norms and least < 2:
        raise MinidlError(
            f"BN takes means over a batch, and a batch of {min(train.sizes)} images leaves a single one to some of "
            f"{ranks.size} ranks; use fewer ranks, or another --batch-size or --train-size"
        )
    of_a_batch = [*(["BN"] if norms else []), *sorted({str(hook) for _, hook in hooks_of_a_batch(net)})]
    net.check_batches([least])
    if synchronized:
        synchronize(net, ranks)
    Exchange(net, ranks, synchronized)
    how = (
        "over the batch of all ranks"
        if synchronized
        else "over each rank's share of a batch (--sync-bn: over all of it)"
    )
    means = [f"The means of {' and '.join(of_a_batch)} are taken {how}."] if of_a_batch else []
    return (*ranks.words, *means)


def check_alike(ranks: Communicator, settings: Settings, description: Description, net: Net) -> None:
    """Raise MinidlError, on all ranks, if one has other settings, data, weights or a device of another kind."""
    if ranks.size == 1:
        return
    kernels = net.kernels
    facts = {
        **{name.replace("_", "-"): value for name, value in settings.items() if name not in OWN},
        "imported files": [file["sha256"] for file in settings["import"]],
        "device": kernels.device,
        "precision": kernels.precision,
        "loops": loops.name() if kernels.device == "cpu" else None,
        "version of minidl": __version__,
        "version of NumPy": np.__version__,
    }
    told = ranks.gather((facts, description, checksum(net)))
    first, data, weights = told[0]
    for rank, (others, other_data, other_weights) in enumerate(told):
        for name, value in first.items():
            if others[name] != value:
                raise _unlike(rank, f"has {name} {others[name]!r}, and rank 0 has {value!r}")
        if changed := difference(data, other_data):
            raise _unlike(rank, f"has other data than rank 0: {changed}")
        if other_weights != weights:
            raise _unlike(rank, "has other weights than rank 0, though its settings and data are the same")


def _unlike(rank: int, what: str) -> MinidlError:
    return MinidlError(f"rank {rank} {what}; give all ranks the same command line, and the same data")


def checksum(net: Net) -> int:
    """Return a checksum of all learned numbers of a net."""
    found = 0
    for array in (*(p.value for p in net.parameters), *net.running().values()):
        found = crc32(np.ascontiguousarray(net.kernels.host(array)).data, found)
    return found


def check_equal(ranks: Communicator, net: Net) -> None:
    """Raise MinidlError, on all ranks, if a net is not the same on all of them, to the last bit."""
    told = ranks.gather(checksum(net)) if ranks.size > 1 else []
    for rank, other in enumerate(told):
        if other != told[0]:
            raise MinidlError(
                f"the net of rank {rank} differs from that of rank 0, as happens if different processors round "
                "differently; use ranks on machines of the same kind"
            )


def first_word(ranks: Communicator, words: str) -> str:
    """Return the message of the first rank that has one, or ""."""
    told: list[Any] = ranks.gather(words)
    return next(filter(None, told), "")
