"""Facts about centralization, each proved in float64 on small nets of odd shapes.

P subtracts from each filter its mean; it is linear, P² = P, and Pᵀ = P. WC replaces the weights W by PW, GC replaces
their gradient G by PG.
"""

import numpy as np
import pytest

from minidl import kernels
from minidl.layers import Convolution, Flatten, FullyConnected, ReLU, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS
from minidl.optimizers import SGD, Adam
from minidl.study.quantities import energy, mean_share, removed
from minidl.study.watch import watch

STEPS = 12
REFERENCE = kernels.load("reference")
SHAPE, CLASSES, SAMPLES = (7, 6, 3), 4, 5
SGD_SETTINGS = {"learning_rate": 0.1, "weight_decay": 0.3}
ADAM_SETTINGS = {"learning_rate": 1e-3}


def centered(filters):
    """Return PW, in float64 and without using the tested code."""
    return filters - filters.mean(axis=tuple(range(1, filters.ndim)), keepdims=True)


def batches(random, steps=STEPS):
    """Return batches of data with a large mean, as after a ReLU."""
    data = 1 + random.standard_normal((steps, SAMPLES, *SHAPE)) / 2
    return list(zip(data, random.integers(0, CLASSES, (steps, SAMPLES)), strict=True))


def small_net(method, mode="projection", place="hooks", backend=REFERENCE):
    norm = parse(method).norm
    layers = [Convolution(5, 3), *norm(), ReLU(), Convolution(6, 2, stride=2), *norm(), ReLU()]
    layers += [Flatten(), FullyConnected(9), ReLU(), FullyConnected(CLASSES)]
    return Net(Sequential(*layers), SHAPE, backend, method=method, mode=mode, place=place, dtype="float64", seed=3)


def backpropagate(net, data, labels):
    """Return the loss of a batch; its gradients are then in the parameters."""
    loss = SoftmaxCrossEntropy(net.kernels)
    loss(net.forward(net.kernels.array(data, np.float64)), labels)
    net.backpropagate(loss.error)
    return loss.score().loss


def trained(net, optimizer_type, settings, data):
    """Return the losses of a training with a decreasing learning rate, and the effective weights after it."""
    optimizer, losses = optimizer_type(net.parameters, net.kernels, **settings), []
    for step, batch in enumerate(data):
        optimizer.learning_rate *= 0.1 if step == STEPS // 2 else 1
        losses.append(backpropagate(net, *batch))
        optimizer.step()
    return losses, {name: net.kernels.host(array) for name, array in net.effective_weights().items()}


def distance(one, other):
    """Return the largest difference between two trainings: of their losses, or of their effective weights."""
    (losses, weights), (others, other_weights) = one, other
    gaps = [np.abs(weights[name] - other_weights[name]).max() for name in weights]
    return max(np.abs(np.subtract(losses, others)).max(), *gaps)


class TestUnderSgdGcAddsNothingToWc:
    """Under SGD, "WC, GC", "WC" and reparametrized "WC" are the same training, to which GC contributes nothing.

    An update W − αM applies the same linear rule to all elements of a filter, and so commutes with P:
    P(W − αM) = PW − αPM, where M = ψM + (1 − ψ)(G + λW) gives PM = ψPM + (1 − ψ)(PG + λPW). So the weights in use, PW,
    depend on G only through PG. As P² = P, centering G first changes nothing.

    The conditions are: an update that is linear, with one factor for all elements of a filter, for any α, ψ and λ, even
    if α changes; gradients of the weights in use; GC with the same area as WC. Weight decay may be coupled, as here,
    although it acts on PW in projection and on the raw weights in reparametrization, because P of both is the same.
    Other parts of the method do not matter, if both have them. It does not hold for Adam, which has a separate factor
    for each element.
    """

    @pytest.mark.parametrize("variant", SGD.variants)
    @pytest.mark.parametrize("momentum, decay", [(0.9, 0.0), (0.0, 0.3), (0.9, 0.3)])
    def test_it_is_one_training(self, random, variant, momentum, decay):
        self.check(random, "fully", SGD_SETTINGS | {"variant": variant, "momentum": momentum, "weight_decay": decay})

    @pytest.mark.parametrize("rest", ["BN", "EL, fully", "BN, EB"])
    def test_it_holds_whatever_else_both_methods_have(self, random, rest):
        self.check(random, rest, SGD_SETTINGS)

    @pytest.mark.thorough
    def test_on_every_device(self, random, fast):
        self.check(random, "fully", SGD_SETTINGS, fast)

    def check(self, random, rest, settings, backend=REFERENCE):
        data = batches(random)
        ways = [
            ("WC, GC", "projection", "hooks"),
            ("WC, GC", "projection", "optimizer"),
            ("WC", "projection", "hooks"),
            ("WC", "projection", "optimizer"),
            ("WC", "reparametrization", "hooks"),
            ("WC, GC", "reparametrization", "optimizer"),
        ]
        nets = [small_net(f"{method}, {rest}", *how, backend=backend) for method, *how in ways]
        first, *others = [trained(net, SGD, settings, data) for net in nets]
        assert len(set(first[0])) == STEPS
        assert max(distance(first, other) for other in others) < 1e-12
        without = small_net(", ".join(["Baseline", *(word for word in rest.split(", ") if word != "fully")]))
        assert distance(first, trained(without, SGD, settings, data)) > 1e-3

    def test_it_does_not_hold_for_adam(self, random):
        """With Adam, "WC, GC" and "WC" have different steps; reparametrized "WC" equals "WC, GC" even so, see below."""
        data = batches(random)
        one, other = (trained(small_net(method), Adam, ADAM_SETTINGS, data) for method in ("WC, GC", "WC"))
        assert distance(one, other) > 1e-3

    def test_it_does_not_hold_for_another_area(self, random):
        data = batches(random)
        tensor, mixed, channel, twice = (
            trained(small_net(method), SGD, SGD_SETTINGS, data)
            for method in ("WC", "WC, gradient channel", "weight channel", "weight channel, gradient channel")
        )
        assert distance(tensor, mixed) > 1e-4
        assert distance(channel, twice) < 1e-12

    @pytest.mark.parametrize("decay", [0.0, 0.3])
    def test_gc_alone_is_wc_for_weights_that_begin_centered(self, random, decay):
        """Without WC, the initial mean of the filters stays or decays: GC only keeps SGD from changing it."""
        settings, data = SGD_SETTINGS | {"weight_decay": decay}, batches(random)
        wc, gc, gc_centered = small_net("WC, fully"), small_net("GC, fully"), small_net("GC, fully")
        for weights in gc_centered.normalized_weights():
            weights.value[...] = centered(weights.value)
        wc_end, gc_end, gc_centered_end = (trained(net, SGD, settings, data) for net in (wc, gc, gc_centered))
        assert distance(wc_end, gc_centered_end) < 1e-12
        assert distance(wc_end, gc_end) > 1e-3


@pytest.mark.parametrize("variant", Adam.variants)
def test_wc_and_gc_are_reparametrized_wc_for_any_optimizer_without_decay(random, variant):
    """The steps depend only on the gradients, which are PG in both; decay would add raw weights in one case.

    So GC in projection is the same as back-propagation through WC in reparametrization.
    """
    data = batches(random)

    def distance_with(decay):
        settings = ADAM_SETTINGS | {"variant": variant, "weight_decay": decay}
        nets = small_net("WC, GC, fully"), small_net("WC, fully", "reparametrization")
        return distance(*(trained(net, Adam, settings, data) for net in nets))

    assert distance_with(decay=0.0) < 1e-12
    assert distance_with(decay=0.3) > 1e-4


def test_gc_is_the_backpropagation_through_wc(backend, random):
    """∂L(PV)/∂V = Pᵀ ∂L/∂W = P ∂L/∂W, by central differences of the loss of centered weights."""
    net = small_net("GC, fully", backend=backend)
    ((data, labels),) = batches(random, 1)
    raw = {p.name: backend.host(p.value).copy() for p in net.normalized_weights()}
    weights = {p.name: p for p in net.normalized_weights()}

    def loss_of(name, filters):
        """Return L at W = PV, where V are the raw weights, one parameter's replaced."""
        for other, parameter in weights.items():
            parameter.value[...] = backend.array(centered(filters if other == name else raw[other]), np.float64)
        return backpropagate(net, data, labels)

    assert len(weights) == 3
    for name, filters in raw.items():
        along = random.standard_normal(filters.shape)
        by_differences = (loss_of(name, filters + 1e-6 * along) - loss_of(name, filters - 1e-6 * along)) / 2e-6
        loss_of(name, filters)
        grads = backend.host(weights[name].grads)
        assert np.sum(grads * along) == pytest.approx(by_differences, rel=1e-6)
        assert abs(by_differences) > 1e-4
        assert np.abs(grads.mean(axis=tuple(range(1, grads.ndim)))).max() < 1e-15


def patches(data, size, stride, padding):
    """Return the patch at each place of a convolution, (samples, y, x, size·size·channels); zeros around the image."""
    around = np.pad(data, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)


@pytest.mark.parametrize("size, stride, padding", [(3, 1, 1), (3, 2, 0), (5, 1, 0), (2, 2, 1)])
def test_a_centered_filter_sees_each_patch_without_its_mean(context, random, size, stride, padding):
    """PW · x = W · (x − mean(x)) for a patch x: with WC, the output does not depend on the brightness of the patch."""
    backend, layer = context.kernels, Convolution(4, size, stride, padding)
    layer.setup((9, 8, 3), context)
    weights = backend.host(layer.weights.value).copy().reshape(4, -1)
    layer.at_weights.hook = NORMALIZATIONS["WC"].bind(backend)
    data = random.standard_normal((2, 9, 8, 3)) + 2
    seen = patches(data, size, stride, padding)
    expected = (seen - seen.mean(axis=-1, keepdims=True)) @ weights.T
    output = backend.host(layer.forward(backend.array(data, np.float64)))
    np.testing.assert_allclose(output, expected, atol=1e-12)
    assert np.abs(output - seen @ weights.T).max() > 0.1


def first_steps(optimizer_type, backend, random, **settings):
    """Return W(1) − W(0) of each normalized layer, and the gradient without mean that it was made from."""
    net = small_net("GC, fully", backend=backend)
    optimizer = optimizer_type(net.parameters, backend, **settings)
    backpropagate(net, *batches(random, 1)[0])
    grads = [backend.host(p.grads).copy() for p in net.normalized_weights()]
    before = [backend.host(p.value).copy() for p in net.normalized_weights()]
    optimizer.step()
    return [(backend.host(p.value) - w, g) for p, w, g in zip(net.normalized_weights(), before, grads, strict=True)]


class TestTheMeanOfAStep:
    """The mean of an optimizer's step, if the gradients have none."""

    def test_the_step_of_adam_has_a_mean(self, backend, random):
        """Its first step is −αG/(|G| + ε), about −α·sign(G); the mean is −α times the surplus of positive gradients."""
        for step, grads in first_steps(Adam, backend, random, **ADAM_SETTINGS):
            np.testing.assert_allclose(step, -1e-3 * grads / (np.abs(grads) + 1e-8), rtol=1e-6, atol=1e-15)
            surplus = np.sign(grads).mean(axis=tuple(range(1, grads.ndim)))
            np.testing.assert_allclose(step.mean(axis=tuple(range(1, grads.ndim))), -1e-3 * surplus, atol=1e-6)
            assert mean_share(grads, "tensor") < 1e-25
            assert mean_share(step, "tensor") > 1e-3

    @pytest.mark.parametrize("variant", SGD.variants)
    def test_the_step_of_sgd_has_no_mean(self, backend, random, variant):
        for step, grads in first_steps(SGD, backend, random, learning_rate=0.1, variant=variant):
            assert energy(grads) > 0
            assert mean_share(grads, "tensor") < 1e-25
            assert mean_share(step, "tensor") < 1e-25


def adams_steps(random, method):
    """Return the filter-mean energy of Adam's steps in each normalized layer, and what WC then takes away."""
    net = small_net(method)
    optimizer = Adam(net.parameters, net.kernels, **ADAM_SETTINGS)
    shares, taken, data = [], [], batches(random)
    backpropagate(net, *data[0])
    for batch in data[1:]:
        before = {p.name: p.value.copy() for p in net.normalized_weights()}
        optimizer.step()
        steps = {p.name: p.value - before[p.name] for p in net.normalized_weights()}
        with watch(net) as seen:
            backpropagate(net, *batch)
        weights = {layer.layer.weights.name: layer.weights for layer in seen.values()}
        for name, step in steps.items():
            shares.append(mean_share(step, "tensor"))
            lost = removed(weights[name].before, weights[name].after) ** 2 * energy(weights[name].before)
            taken.append(lost / energy(step))
    return np.array(shares), np.array(taken)


def test_under_wc_alone_the_next_forward_takes_back_what_adam_gives_to_the_mean(random):
    """That is its mean, here nearly half of its energy, in large nets more; with GC there is little to remove."""
    shares, taken = adams_steps(random, "WC, fully")
    np.testing.assert_allclose(taken, shares, rtol=1e-8)
    assert np.median(shares) > 0.4
    with_gc, taken = adams_steps(random, "WC, GC, fully")
    np.testing.assert_allclose(taken, with_gc, rtol=1e-8, atol=1e-20)
    assert np.median(with_gc) < 0.03
