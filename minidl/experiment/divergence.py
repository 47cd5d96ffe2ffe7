"""Divergence: find the step and the layer in which a training first computed inf or nan.

During training, the loss is checked only now and then, since a check waits for the device. When it is inf or nan, the
weights are useless. So the training goes back to its last checkpoint, makes the steps since then again, one by one,
and checks each result in order.
"""

from collections.abc import Iterable

import numpy as np

from minidl.experiment.sharing import first_word
from minidl.experiment.trainer import Array, Trainer
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net


def is_finite(net: Net) -> bool:
    """Return whether all learned numbers of a net are finite."""
    return _first(net, ((p.name, p.value) for p in net.parameters)) == ""


def first_fault(trainer: Trainer, done: int, epoch: int) -> str:
    """Repeat the steps up to an epoch's end from the trainer's state; return where a number first is not finite.

    done: the number of finished epochs. The net is left in the middle of that step.
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
    """Make a step and return which of its arrays is not finite first, or ""."""
    net, loss = trainer.net, SoftmaxCrossEntropy(trainer.loss.kernels)
    score = loss.score_of(net.forward(data), labels)
    if not np.isfinite(score.loss):
        return first_word(trainer.ranks, _in_forward(net, data)) or "the loss"
    net.backpropagate(loss.error)
    learned = [p for layer in reversed(net.layers) for p in layer.own_parameters()]
    if name := _first(net, ((p.name, p.grads) for p in learned)):
        return f"the gradient of {name}"
    trainer.optimizer.step()
    name = _first(net, ((p.name, p.value) for p in net.parameters))
    return f"the update of {name}" if name else ""


def _in_forward(net: Net, data: Array) -> str:
    """Return which of the data, the normalized weights and the layers' outputs is not finite first, or ""."""
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
    """Return the name of the first array that is not finite, or ""."""
    return next((name for name, array in arrays if not bool(net.kernels.xp.isfinite(array).all())), "")
