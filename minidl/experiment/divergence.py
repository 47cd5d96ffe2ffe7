"""Divergence: at which step, and in which layer first, a training got a number that is infinite or none.

While a net trains, its loss is looked at now and then, since a look makes a device wait. Once it is lost, all weights
are: the training is brought back to its last checkpoint and makes the steps since then once more, one by one, and what
each computes is looked at in its order.
"""

from collections.abc import Iterable

import numpy as np

from minidl.experiment.sharing import first_word
from minidl.experiment.trainer import Array, Trainer
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net


def is_finite(net: Net) -> bool:
    """Return whether all that a net has learned are numbers, and finite."""
    return _first(net, ((p.name, p.value) for p in net.parameters)) == ""


def first_fault(trainer: Trainer, done: int, epoch: int) -> str:
    """Make the steps up to an epoch's end again from where the trainer is; say where something first is not finite.

    done: epochs that it has finished. The net is left in the middle of that step.
    """
    after = trainer.progress.batches
    with np.errstate(all="ignore"):
        for number in range(done + 1, epoch + 1):
            for step, size in enumerate(trainer.begin(number, after), after + 1):
                if where := first_word(trainer.ranks, _fault(trainer, *trainer.train.next(size))):
                    return f"at step {step} of epoch {number}, in {where}"
            after = 0
    return f"somewhere in epoch {epoch}, where all was finite when its steps were made again"


def _fault(trainer: Trainer, data: Array, labels: Array) -> str:
    """Make a step and return what of it is not finite first, or nothing."""
    net, loss = trainer.net, SoftmaxCrossEntropy(trainer.loss.kernels)
    score = loss.score_of(net.forward(data), labels)
    if not np.isfinite(score.loss):
        return first_word(trainer.ranks, _in_forward(net, data)) or "the loss"
    net.backpropagate(loss.error)
    learned = [p for layer in reversed(net.layers) for p in layer.parameters()]
    if name := _first(net, ((p.name, p.grads) for p in learned)):
        return f"the gradient of {name}"
    trainer.optimizer.step()
    name = _first(net, ((p.name, p.value) for p in net.parameters))
    return f"the update of {name}" if name else ""


def _in_forward(net: Net, data: Array) -> str:
    """Return the first of the data, the normalized weights and the outputs of the layers that is not finite."""
    seen: list[tuple[str, Array]] = [("the data", data)]
    for layer in net.layers:
        if layer.weights is not None:
            seen.append((f"the normalized {layer.weights.name}", layer.normalized_copy()))

        def look(output: Array, name: str = layer.name) -> None:
            seen.append((f"the output of {name}", output))

        layer.at_output.after.append(look)
    net.forward(data)
    for layer in net.layers:
        layer.at_output.after.pop()
    return _first(net, seen)


def _first(net: Net, arrays: Iterable[tuple[str, Array]]) -> str:
    """Return the name of the first array that is not finite, or nothing."""
    return next((name for name, array in arrays if not bool(net.kernels.xp.isfinite(array).all())), "")
