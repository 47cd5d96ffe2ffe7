"""SGD and Adam compared with Algorithms 2 and 3 written out in float64, and their treatment of tiny numbers."""

import numpy as np
import pytest

from minidl import MinidlError, checkpoint, models
from minidl.optimizers import SGD, Adam, Optimizer, step_decay
from minidl.parameter import Parameter

STEPS, RATE, DECAY = 5, 0.05, 0.01


def make(backend, random, shape=(3, 2, 2, 5), decay=True):
    xp = backend.xp
    return Parameter("p", xp.asarray(random.standard_normal(shape)), xp.full(shape, np.nan), decay)


def run(optimizer, parameter, gradients):
    for gradient in gradients:
        parameter.grads[...] = optimizer.kernels.xp.asarray(gradient)
        optimizer.step()


def written_out(kind, w, gradients, decay, gc=False, wc=False):
    """Return the weights after Algorithm 2 or 3, line by line as printed (or as DLIB and Kingma have it)."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    axes = tuple(range(1, w.ndim))
    for t, g in enumerate(gradients, 1):
        g = g - g.mean(axes, keepdims=True) if gc else g
        g = g + decay * w
        if kind == "paper":
            m = 0.9 * m + (1 - 0.9) * g
            w = w - RATE * m
        elif kind == "dlib":
            m = 0.9 * m - RATE * g
            w = w + m
        else:
            m = 0.9 * m + (1 - 0.9) * g
            v = 0.999 * v + (1 - 0.999) * g * g
            m_hat = m / (1 - 0.9**t)
            if kind == "as_printed":
                w = w - RATE * m_hat / np.sqrt(0.999 * v / (1 - 0.999**t) + 1e-8)
            else:
                w = w - RATE * m_hat / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - w.mean(axes, keepdims=True) if wc else w
    return w


@pytest.mark.parametrize("gc, wc", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("kind", ["paper", "dlib", "standard", "as_printed"])
def test_the_algorithms_line_by_line(backend, random, kind, gc, wc):
    parameter = make(backend, random)
    start = backend.host(parameter.value).copy()
    gradients = random.standard_normal((STEPS, *start.shape))
    optimizer = (SGD if kind in SGD.variants else Adam)(
        [parameter],
        backend,
        learning_rate=RATE,
        weight_decay=DECAY,
        variant=kind,
        gc=[parameter] if gc else (),
        wc=[parameter] if wc else (),
    )
    run(optimizer, parameter, gradients)
    np.testing.assert_allclose(
        backend.host(parameter.value), written_out(kind, start, gradients, DECAY, gc, wc), atol=1e-12
    )
    assert optimizer.step_count == STEPS


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("variant", ["paper", "dlib"])
def test_the_momentum_may_change_between_steps(backend, random, variant, recorded):
    """Also where the step is recorded as a graph, which is launched again from the fourth call on."""
    parameter, gradient = make(backend, random), random.standard_normal((3, 2, 2, 5))
    parameter.grads[...] = backend.xp.asarray(gradient)
    w, m = backend.host(parameter.value).copy(), np.zeros(gradient.shape)
    optimizer = SGD([parameter], backend, learning_rate=RATE, variant=variant)
    step = backend.record(optimizer.step, lambda: 0) if recorded else optimizer.step
    for t in range(7):
        optimizer.momentum = psi = 0.9 - 0.1 * t
        assert optimizer.momentum == psi
        step()
        m = psi * m + (1 - psi) * gradient if variant == "paper" else psi * m - RATE * gradient
        w = w - RATE * m if variant == "paper" else w + m
    np.testing.assert_allclose(backend.host(parameter.value), w, atol=1e-12)
    for wrong in (1.0, -0.1, None, "0.9"):
        with pytest.raises(MinidlError, match="the momentum must be a number of at least 0 and below 1, not"):
            optimizer.momentum = wrong
    assert optimizer.momentum == psi


def test_biases_do_not_decay(backend, random):
    bias = make(backend, random, (7,), decay=False)
    start = backend.host(bias.value).copy()
    gradients = random.standard_normal((STEPS, 7))
    run(Adam([bias], backend, learning_rate=RATE, weight_decay=DECAY), bias, gradients)
    np.testing.assert_allclose(backend.host(bias.value), written_out("standard", start, gradients, 0.0), atol=1e-12)


def test_a_tensor_larger_than_a_piece(backend, random):
    parameter = make(backend, random, (3, 70_001))
    start, gradients = backend.host(parameter.value).copy(), random.standard_normal((2, 3, 70_001))
    run(Adam([parameter], backend, learning_rate=RATE), parameter, gradients)
    np.testing.assert_allclose(
        backend.host(parameter.value), written_out("standard", start, gradients, 0.0), atol=1e-12
    )


@pytest.mark.parametrize("optimizer", [SGD, Adam])
@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-20])
def test_nothing_becomes_subnormal(backend, random, optimizer, size):
    if backend.device != "cpu":
        pytest.skip("a GPU computes as fast with subnormal numbers, and the reference is slow anyway")
    shape = (4, 1000)
    value = (size * random.standard_normal(shape)).astype(np.float32)
    parameter = Parameter("p", value, np.zeros(shape, np.float32), decay=True)
    chosen = optimizer([parameter], backend, learning_rate=1e-3, weight_decay=5e-5)
    for _ in range(50):
        parameter.grads[...] = size * random.standard_normal(shape)
        chosen.step()
        for array in (parameter.value, *chosen.moments().values()):
            assert not np.any((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny))


@pytest.mark.quick_on("reference", "numba")
@pytest.mark.parametrize("gc", [False, True])
@pytest.mark.parametrize("variant", ["standard", "as_printed"])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-12, 1e-20, 1e-60, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_of_any_epsilon_and_of_gradients_of_any_size(backend, dtype, epsilon, variant, gc):
    """Weights begin at zero, so that every step is visible; gradients whose squares underflow make smaller steps."""
    if backend.device == "reference" and not dtype(epsilon):
        pytest.skip("the formula as it stands is 0/0 where gradients were 0")
    exponents = np.arange(-16, 17) if dtype is np.float32 else np.arange(-140, 141, 5)
    tiny = 10.0 ** (np.arange(-45, -16) if dtype is np.float32 else np.arange(-320, -150, 5))
    known = np.concatenate([10.0**exponents, [0.0]])
    gradient = np.concatenate([known, tiny])
    gradient = np.stack([gradient, -gradient], axis=1).astype(dtype)  # filters whose mean is zero
    parameter = Parameter("p", *(backend.xp.zeros(gradient.shape, dtype) for _ in range(2)), decay=True)
    adam = Adam(
        [parameter],
        backend,
        learning_rate=RATE,
        epsilon=epsilon,
        variant=variant,
        gc=[parameter] if gc else (),
    )
    m = v = w = np.zeros(gradient.shape, np.longdouble)
    signs, g = [1, 1, -1, 1], gradient.astype(np.longdouble)
    run(adam, parameter, [sign * gradient for sign in signs])
    for t, sign in enumerate(signs, 1):
        m, v = 0.9 * m + 0.1 * sign * g, 0.999 * v + 0.001 * g * g
        v_hat = (0.999 if variant == "as_printed" else 1) * v / (1 - np.longdouble(0.999) ** t)
        root = np.sqrt(v_hat + epsilon) if variant == "as_printed" else np.sqrt(v_hat) + epsilon
        w = w - RATE * (m / (1 - np.longdouble(0.9) ** t)) / np.where(root > 0, root, 1)
    found = backend.host(parameter.value)
    count = len(known)
    np.testing.assert_allclose(found[:count], w[:count].astype(float), rtol=2e-5 if dtype is np.float32 else 1e-9)
    assert np.isfinite(found).all()
    assert (np.abs(found[count:]) <= 1.001 * np.abs(w[count:]).astype(float) + 4 * RATE * 1e-3).all()


def test_a_filter_of_equal_gradients_has_none_after_gc(backend):
    gradient = np.array([[3.0] * 4, [1e-9] * 4, [1e-19] * 4, [7.0] * 4], np.float32)
    epsilon = 1e-30 if backend.device == "reference" else 0.0  # the formula would be 0/0
    for optimizer, options in ((SGD, {}), (Adam, {"epsilon": epsilon})):
        parameter = Parameter("p", *(backend.xp.zeros(gradient.shape, np.float32) for _ in range(2)), decay=True)
        made = optimizer([parameter], backend, learning_rate=RATE, gc=[parameter], **options)
        run(made, parameter, [gradient] * 3)
        assert not backend.host(parameter.value).any()


def test_the_learning_rate_is_divided_by_ten_after_each_fifty_epochs():
    rates = [step_decay(1e-3, epoch, 50) for epoch in (1, 50, 51, 100, 101)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])


@pytest.mark.parametrize(
    "optimizer, options, message",
    [
        (SGD, {"learning_rate": 0.0}, "learning rate must be a number above 0"),
        (SGD, {"learning_rate": float("nan")}, "learning rate must be a number above 0"),
        (Adam, {"learning_rate": 1.0, "weight_decay": -1.0}, "weight decay must be a number of at least 0"),
        (SGD, {"learning_rate": 1.0, "momentum": 1.0}, "momentum must be"),
        (Adam, {"learning_rate": 1.0, "betas": (0.9, -0.1)}, "betas must be"),
        (Adam, {"learning_rate": 1.0, "variant": "dlib"}, "use standard or as_printed"),
        (Adam, {"learning_rate": 1.0, "epsilon": -1e-8}, "epsilon must be a number of at least 0, not -1e-08"),
        (Adam, {"learning_rate": 1.0, "epsilon": float("nan")}, "epsilon must be"),
        (Adam, {"learning_rate": 1.0, "variant": "as_printed", "betas": (0.9, 0)}, "must be above 0 and not 0"),
    ],
)
def test_bad_settings_are_refused(backend, optimizer, options, message):
    with pytest.raises(MinidlError, match=message):
        optimizer([], backend, **options)


def test_parameters_may_come_one_by_one_and_not_twice(backend, random):
    weights, biases = make(backend, random), make(backend, random, (7,), decay=False)
    biases.name = "q"
    optimizer = SGD((p for p in (weights, biases)), backend, learning_rate=RATE, gc=(p for p in (weights,)))
    assert [state.gc for state in optimizer.states] == [True, False]
    assert len(optimizer.moments()) == 2
    with pytest.raises(MinidlError, match="is given twice, and would be updated twice"):
        SGD([weights, biases, weights], backend, learning_rate=RATE)
    for name in ("gc", "wc"):
        with pytest.raises(MinidlError, match=f"^{name.upper()} is for .*whose filters are single numbers"):
            SGD([weights, biases], backend, learning_rate=RATE, **{name: [weights, biases]})
    with pytest.raises(MinidlError, match="the betas must be two numbers of at least 0"):
        Adam([weights], backend, learning_rate=RATE, betas=0.9)


def test_the_moments_of_two_nets_are_not_mixed_up():
    """One optimizer may train both, but their parameters have the same names, and so its moments could not be saved."""
    nets = [models.build("a", shape=(8, 8, 3), classes=3, device="cpu", seed=seed) for seed in (1, 2)]
    both = Adam([p for net in nets for p in net.parameters], nets[0].kernels, learning_rate=RATE)
    both.step()
    with pytest.raises(MinidlError, match=r"two parameters .* are called conv1.weights, .*; give each net"):
        both.moments()


def test_a_net_is_saved_with_its_own_optimizer(tmp_path):
    """With another optimizer, the file could not be read."""
    path = tmp_path / "net.safetensors"
    small, large = (models.build("a", shape=(n, n, 3), classes=3, device="cpu") for n in (8, 16))
    other = models.build("c", shape=(16, 16, 3), classes=3, device="cpu")
    twin = models.build("a", shape=(8, 8, 3), classes=3, device="cpu", seed=1)
    part = SGD(small.parameters[2:], small.kernels, learning_rate=RATE)
    for net in (large, other, twin):
        with pytest.raises(MinidlError, match=r"the optimizer has a parameter \w+\.weights of shape .*; save a net"):
            checkpoint.save(path, small, SGD(net.parameters, net.kernels, learning_rate=RATE), 0)
    with pytest.raises(MinidlError, match=r"optimizer of checkpoint.save must be of the kind Optimizer, not NoneType"):
        checkpoint.save(path, small, None, 0)
    assert not path.exists()
    checkpoint.save(path, small, part, 0)
    assert checkpoint.resume(path, small, part) == 0


def test_an_optimizer_of_ones_own_never_leaves_out_gc_and_wc_in_silence(backend):
    """Where a net leaves them to the update, one that does neither is refused, and one that does both is not."""

    class Plain(Optimizer):
        kind = "plain"
        moment_count = 0

        def step(self):
            for state in self.states:
                state.weights -= self.alpha * state.grads

    class Centralizing(Plain):
        centralizes = True

    def net(method, place):
        return models.build("c", method=method, device=backend, place=place)

    for method in ("WC", "GC", "WC, GC, fully"):
        parameters = net(method, "optimizer").parameters
        with pytest.raises(MinidlError, match="plain does not do GC and WC in its update, as conv1"):
            Plain(parameters, backend, 0.1)
        Centralizing(parameters, backend, 0.1)
    for method, place in (("Baseline", "optimizer"), ("WC, GC", "hooks")):
        Plain(net(method, place).parameters, backend, 0.1).step()
