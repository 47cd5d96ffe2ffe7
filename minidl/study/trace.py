"""Trace: what every normalization does at its hook point while a net trains, in tables beside the log.

``trace.csv`` has a row for each traced step (from 0) and each layer with weights; see schedule.py for the steps. x̄ is
x with each element replaced by the mean of its filter or, for data, of its channel. ‖x‖² is the energy of x, and N the
normalization at a hook point; without one, N(x) = x. G is the gradient, the paper's ΔW; Step is what the optimizer adds
to the weights.

    data_mean   ‖x̄‖²/‖x‖² of the data that the layer gets
    alike       the mean cosine between the outputs of different samples, before the ReLU and after a data norm
                such as BN; at the end of a residual block, before the shortcut is added
    out_std     the standard deviation of this output
    active      the share of its elements above 0, which a ReLU right after it lets through
    dead        the share of its channels that are nowhere above 0 in the batch
    w_norm      ‖W‖ of the weights in use, after their normalization
    w_mean      ‖W̄‖²/‖W‖² before it
    w_removed   ‖W − N(W)‖/‖W‖ with W before it
    e_norm      ‖E‖ of the error that the layer passes back, after its normalization; a net's first layer computes none
    e_removed   ‖E − N(E)‖/‖E‖ with E before it
    g_norm      ‖G‖ of the gradient in use, after its normalization
    g_mean      ‖Ḡ‖²/‖G‖² before it
    g_removed   ‖G − N(G)‖/‖G‖ with G before it
    flips       the share of the elements of the gradient whose sign the normalization changes, among those that are
                not 0 but for rounding: more than a millionth of the largest
    angle       degrees between the gradient in use and the gradient that the same batch and weights give without any
                normalization of gradients and errors
    bias_angle  the same for the gradient of the biases
    step_ratio  ‖Step‖/‖W‖ with Step = W(t + 1) − W(t), as the optimizer makes it, before the next normalization of
                the weights
    step_mean   the energy of the means of Step, as in w_mean
    step_lost   ‖W(t + 1) − N(W(t + 1))‖/‖Step‖: how much of the step the next normalization of the weights takes back;
                not defined in reparametrization, which takes nothing back

W(t) are the weights after their normalization; in reparametrization, those before it. If the update of the optimizer
does WC, the weights before it are known from the previous step, and are kept in the checkpoint.

``carry.csv`` has, for some steps (detailed, see schedule.py), the loss of the step's batch at W + s·Step minus that at
W, with all parameters moved. ``filters.npz`` has for the same steps an array (filters, 6) for each STEP/LAYER/POINT/
WHEN, with POINT weights or grads and WHEN before or after their normalization: the percentiles 5, 25, 50, 75 and 95 of
each filter's elements, and their mean. In both files, weights before WC are missing if they are not known.
"""

from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.optimizers import Optimizer
from minidl.study import quantities as q
from minidl.study.probes import carry, normalized, true_grads
from minidl.study.rehearsal import Rehearsal
from minidl.study.schedule import detailed, traced
from minidl.study.trace_files import PERCENTILES, Carry, Filters, Row, Trace
from minidl.study.watch import Seen, watch

Array = Any


class Tracer:
    """Records a training without changing it: on a CPU and on the reference, results are the same to the last bit.

    On a GPU a traced step may differ by rounding, as the GPU may choose other algorithms for unfused layers.

    every: see schedule.py. raw: by the names of parameters, the weights before the last WC in the optimizer, if
    known.
    """

    def __init__(self, net: Net, optimizer: Optimizer, every: int, raw: Mapping[str, Array]) -> None:
        self.net, self.optimizer, self.every, self.raw = net, optimizer, every, raw
        self.rehearse = Rehearsal(optimizer)
        self.centered = [p.name for p in net.parameters if p.wc]
        self.trace = Trace()

    def go_on(self, trace: Trace, raw: Mapping[str, Array]) -> None:
        """Continue an earlier trace after the steps that the optimizer has made; raw: as it was then."""
        self.trace, self.raw = trace.until(self.optimizer.step_count), raw

    def due(self, step: int) -> bool:
        """Return whether the tracer makes a step: a traced one, or the one before, which shows what WC removes."""
        return traced(step, self.every) or self._before_a_traced(step)

    def step(self, number: int, loss: SoftmaxCrossEntropy, data: Array, labels: Array) -> None:
        """Train on one batch as ``Trainer.step`` does, and record it."""
        if traced(number, self.every):
            moved = self._traced_step(number, loss, data, labels)
        else:
            loss(self.net.forward(data), labels)
            self.net.backpropagate(loss.error)
            moved = self.rehearse()
        known = self.centered if self._before_a_traced(number) else []
        self.raw = {name: moved[name].copy() for name in known}
        self.optimizer.step()

    def _before_a_traced(self, step: int) -> bool:
        return bool(self.centered) and traced(step + 1, self.every)

    def _traced_step(self, number: int, loss: SoftmaxCrossEntropy, data: Array, labels: Array) -> dict[str, Array]:
        """Compute the gradients of a batch and record them; return the weights after the coming update."""
        with watch(self.net) as seen:
            output = self.net.forward(data)
            loss(output, labels)
            true = true_grads(self.net, loss.error)
            self.net.backpropagate(loss.error)
        moved = self.rehearse()
        for one in seen.values():
            if one.weights.before is None:
                one.weights.before = self.raw.get(one.layer.weights.name)
            self.trace.rows.append(row(number, one, true, moved[one.layer.weights.name], self.net.mode))
        if detailed(number, self.every):
            for one in seen.values():
                self.trace.filters |= filters(number, one)
            before = SoftmaxCrossEntropy(self.net.kernels).score_of(output, labels).loss
            losses = {0.0: before} | carry(self.net, data, labels, moved)
            self.trace.carries += [Carry(number, s, value - before) for s, value in losses.items()]
        return moved


def row(step: int, seen: Seen, true: Mapping[str, Array], moved: Array, mode: str) -> Row:
    """Return the row of a layer.

    true: the gradients without hooks by the names of parameters, empty if no hook of errors has changed them; moved:
    the weights W(t + 1) before their normalization; mode: of the net, "projection" or "reparametrization".
    """
    layer, weights, error, grads = seen.layer, seen.weights, seen.error, seen.grads
    name, value = layer.weights.name, layer.weights.value
    taken = normalized(layer, moved) if mode == "projection" else None
    step_made = moved - value
    biased = layer.biases is not None
    return Row(
        step=step,
        layer=layer.name,
        data_mean=q.mean_share(seen.data, "channel"),
        alike=q.alike(seen.output),
        out_std=q.deviation(seen.output),
        active=q.active(seen.output),
        dead=q.dead(seen.output),
        w_norm=q.norm(weights.after),
        w_mean=nan if weights.before is None else q.mean_share(weights.before, "tensor"),
        w_removed=nan if weights.before is None else q.removed(weights.before, weights.after),
        e_norm=nan if error.after is None else q.norm(error.after),
        e_removed=nan if error.after is None else q.removed(error.before, error.after),
        g_norm=q.norm(grads.after),
        g_mean=q.mean_share(grads.before, "tensor"),
        g_removed=q.removed(grads.before, grads.after),
        flips=q.flips(grads.before, grads.after),
        angle=q.angle(grads.after, true.get(name, grads.before)),
        bias_angle=q.angle(seen.bias_grads, true.get(layer.biases.name, seen.bias_grads)) if biased else nan,
        step_ratio=q.ratio(q.norm(step_made), q.norm(value)),
        step_mean=q.mean_share(step_made, "tensor"),
        step_lost=nan if taken is None else q.ratio(q.removed(moved, taken) * q.norm(moved), q.norm(step_made)),
    )


def filters(step: int, seen: Seen) -> dict[Filters, NDArray[np.float32]]:
    """Return the percentiles and the mean of each filter of a layer, (filters, 6), of weights and gradients."""
    arrays = {
        Filters(step, seen.layer.name, point, when): getattr(change, when)
        for point, change in (("weights", seen.weights), ("grads", seen.grads))
        for when in ("before", "after")
    }
    host = seen.layer.kernels.host
    return {name: percentiles(host(array)) for name, array in arrays.items() if array is not None}


def percentiles(weights: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the PERCENTILES of each filter's elements, and then their mean."""
    elements = np.sort(weights.reshape(len(weights), -1), axis=1)  # np.percentile is faster with sorted elements
    columns = [*np.percentile(elements, PERCENTILES, axis=1), elements.mean(axis=1, dtype=np.float64)]
    return np.stack(columns, axis=1).astype(np.float32)
