"""Preparation of a run: builds everything from its settings, before anything is written."""

from dataclasses import dataclass, field

import numpy as np

from minidl import data, kernels, models
from minidl.communicator import ALONE, Communicator
from minidl.data import labels
from minidl.data.batches import DIVISOR, MEAN, Batches
from minidl.data.pixel_batches import PixelBatches
from minidl.experiment import initial, sources
from minidl.experiment.idle import idle
from minidl.experiment.initial import Initial
from minidl.experiment.saving.commit import commit
from minidl.experiment.saving.fingerprint import Description, describe
from minidl.experiment.settings import Settings
from minidl.experiment.sharing import check_alike, share_batches
from minidl.experiment.trainer import Trainer
from minidl.kernels import Kernels
from minidl.kernels.cpu import loops, threads
from minidl.kernels.errors import MinidlError
from minidl.layers import AnySize
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS, Optimizer
from minidl.preprocessing import KEEP, Preprocessing
from minidl.study.trace import Tracer
from minidl.words import check_known


@dataclass(frozen=True)
class Experiment:
    """A run that is ready to begin.

    data: the name of its set; trainer: with the net, its optimizer, the batches and the ranks that share them;
    description: of the data, for the checkpoint; notes: for the user, on the data, on the ranks and on options without
    effect; commit: of the code that trains.
    """

    settings: Settings
    data: str
    trainer: Trainer
    description: Description
    notes: tuple[str, ...]
    commit: str = field(default_factory=commit)


def prepare(settings: Settings, begins: bool = True, ranks: Communicator = ALONE) -> Experiment:
    """Return the experiment that the settings describe; its batch size may be reduced to the size of the set.

    begins: True if a new training begins, with the weights of ``--init``, False if an earlier run will be resumed.
    ranks: that train it together. Raises MinidlError for settings that are unknown, do not fit together, do not fit the
    data, or are not the same on all ranks.
    """
    operations = choose_device(settings, ranks)
    check_names(settings)
    ranks.serve(operations)
    start = initial.read(settings["init"]) if settings["init"] and begins else None
    train_set, test_set = ranks.one_before_others(lambda: sources.load(settings))
    notes = (*train_set.notes, *test_set.notes, *sources.cut_batch(settings, train_set))
    train, test = sources.batches(settings, train_set, test_set, operations, ranks)
    net = build_net(settings, train, start)
    check_sizes(settings, net, train, test)
    notes += share_batches(settings, net, train, ranks)
    notes += start.notes(net) if start else ()
    notes += tuple(idle(settings, net, ranks.size))
    optimizer = build_optimizer(settings, net)
    tracer = build_tracer(settings, train, net, optimizer, start)
    trainer = Trainer(net, optimizer, train, test, settings["drop_every"], settings["seed"], tracer, ranks)
    description = describe(train.classes, train_set, test_set)
    check_alike(ranks, settings, description, net)
    return Experiment(settings, train_set.name, trainer, description, notes)


def choose_device(settings: Settings, ranks: Communicator = ALONE) -> Kernels:
    """Return the operations of the device; on the CPU, with the loops and threads of the settings.

    If a host has several GPUs, each rank takes the one with its number on the host.
    """
    if ranks.size > 1 and settings["device"] in ("auto", "gpu"):
        kernels.take_gpu(ranks.here)
    if settings["loops"]:
        loops.use(settings["loops"])
    if settings["threads"]:
        threads.set_workers(settings["threads"])
    return kernels.load(settings["device"], settings["precision"])


def check_names(settings: Settings) -> None:
    """Raise MinidlError for unknown or conflicting settings, before a data set is read or downloaded."""
    check_known("optimizer", settings["optimizer"], OPTIMIZERS)
    models.check(settings["model"], settings["method"], settings["mode"], settings["device"], settings["place"])
    labels.check_name(settings["data"], models.per_pixel(settings["model"]))
    data.check_sizes(*(settings[name] for name in ("data", "image_size", "fit", "shrink", "crop")))


def build_net(settings: Settings, train: Batches, start: Initial | None = None) -> Net:
    """Return the net for the batches of the training, with its initial weights, if given.

    Raises MinidlError if it has no parameters.
    """
    net = _build(settings, train)
    if not net.parameters:
        raise MinidlError(
            f"the model {settings['model']!r} has no parameters, so that there is nothing to train; give it a layer "
            "that learns, such as FullyConnected(classes)"
        )
    net.check_batches(train.sizes)
    if start:
        start.give(net)
    y, x, _ = train.shape
    fit = KEEP if train.per_pixel else settings["fit"] or "stretch"
    mean = tuple(map(float, MEAN))
    net.preprocessing = Preprocessing(mean, DIVISOR, (y, x), train.classes, fit, settings["shrink"], train.white)
    return net


def _build(settings: Settings, train: Batches) -> Net:
    chosen = {name: settings[name] for name in ("method", "mode", "place", "device", "seed")}
    return models.build(settings["model"], classes=len(train.classes), shape=train.shape, **chosen)


def check_sizes(settings: Settings, net: Net, train: Batches, test: Batches) -> None:
    """Raise MinidlError if a test has images of other sizes than training and the net cannot take them.

    If this is not known of a net, a copy of it is tried on one black image before the training.
    """
    if not isinstance(test, PixelBatches) or isinstance(net.root, AnySize):
        return
    others = [size for size in map(tuple, test.extents.tolist()) if size != net.shape[:2]]
    if not others:
        return
    copy = _build(settings, train)
    copy.eval()
    try:
        labelled = copy.forward(np.zeros((1, *others[0], *net.shape[2:]), np.float32)).shape[1:3] == others[0]
    except MinidlError:
        labelled = False
    if not labelled:
        trained, tested = ("×".join(map(str, size)) for size in (net.shape[:2], others[0]))
        raise MinidlError(
            f"the model {settings['model']!r} takes only images of {trained} pixels, but the test has others, such as "
            f"{tested}; put its layers into AnySize(Sequential(...), least=..., step=...), as models/d.py does"
        )


def build_optimizer(settings: Settings, net: Net) -> Optimizer:
    """Return the optimizer of the net's parameters."""
    return OPTIMIZERS[settings["optimizer"]](
        net.parameters,
        net.kernels,
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        variant=settings["variant"] or "",
    )


def build_tracer(
    settings: Settings, train: Batches, net: Net, optimizer: Optimizer, start: Initial | None
) -> Tracer | None:
    """Return the tracer of the training, or None without --trace.

    WC in the optimizer is applied to the initial weights when a net is built. A hook applies WC only in the first
    forward, so that a net with hooks still has the weights before it.
    """
    if settings["trace"] is None:
        return None
    centered = {p.name for p in net.parameters if p.wc}
    beginning = build_net(settings | {"place": "hooks"}, train, start).parameters if centered else []
    raw = {p.name: p.value for p in beginning if p.name in centered}
    return Tracer(net, optimizer, settings["trace"], raw)
