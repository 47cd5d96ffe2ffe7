"""Hooks and observers that a hook point refuses, and its errors."""

import numpy as np
import pytest

from minidl import MinidlError
from minidl.hooks import Reparametrization
from minidl.layers import AnySize, Concat, Convolution, ReLU, Residual, Sequential
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS


class TestWhatIsNoHook:
    """Hooks that would silently do nothing, or something else."""

    @pytest.mark.parametrize("hook", ["WC", 3, ["WC"], np.zeros(3)])
    def test_a_hook_is_a_callable(self, hook):
        point = Convolution(2, 3).at_weights
        with pytest.raises(MinidlError, match=r"a hook is a callable .* chosen by its name with method="):
            point.hook = hook
        assert point.hook is None

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_observer_is_a_callable(self, context, random, when):
        layer = set_up(Convolution(2, 3), context)
        getattr(layer.at_weights, when).append("print")
        with pytest.raises(MinidlError, match=r"an observer is a callable that takes an array, not 'print'.*conv1"):
            layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))

    @pytest.mark.parametrize(
        "hook, got",
        [
            (lambda array: None, "NoneType"),
            (lambda array: 0.5, "float"),
            (lambda array: array[:1], r"float64 of shape \(1, "),
            (lambda array: array.mean(), r"float64 of shape \(\)"),
            (lambda array: array.T, r"float64 of shape"),
            (lambda array: array * 1j, "complex128 of shape"),
        ],
    )
    @pytest.mark.parametrize("point", ["weights", "error", "grads"])
    def test_a_hook_returns_an_array_of_the_shape(self, context, random, point, hook, got):
        layer = set_up(Convolution(2, 3), context)
        getattr(layer, f"at_{point}").hook = hook
        data = context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3)))
        with pytest.raises(
            MinidlError, match=f"the hook <lambda> at the {point} of conv1 returned {got}.* let it return"
        ):
            layer.backpropagate(layer.forward(data).copy())

    @pytest.mark.parametrize("kind", ["int8", "bool", "float32"])
    def test_real_numbers_of_any_type_are_accepted(self, context, random, kind):
        layer = set_up(Convolution(2, 3), context)
        layer.at_weights.hook = lambda array: (array > 0).astype(kind)
        layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))
        assert set(np.unique(context.kernels.host(layer.weights.value))) == {0.0, 1.0}

    def test_a_normalization_knows_its_device(self, context, random):
        layer = set_up(Convolution(2, 3), context)
        layer.at_weights.hook = NORMALIZATIONS["WC"]
        with pytest.raises(MinidlError, match=r"WC does not know its device yet; .*bind\(net.kernels\)"):
            layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))

    def test_reparametrization_is_for_weights(self, backend):
        layer = Convolution(2, 3)
        hook = Reparametrization(NORMALIZATIONS["WC"].bind(backend))
        layer.at_weights.hook = hook
        for point in (layer.at_error, layer.at_grads):
            with pytest.raises(MinidlError, match="is for weights alone"):
                point.hook = hook

    @pytest.mark.parametrize("point", ["at_weights", "at_grads"])
    def test_a_layer_without_weights_takes_no_hook_for_them(self, context, random, point):
        layer = set_up(ReLU(), context)
        getattr(layer, point).hook = np.sign
        with pytest.raises(MinidlError, match=r"relu1 \(relu\) has no weights, and the hook .* never be called"):
            layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))
        for container in (Sequential(ReLU()), Residual(ReLU()), Concat(ReLU()), AnySize(ReLU(), 1, 1)):
            with pytest.raises(MinidlError, match="has no weights of its own; hang the hook at one of its layers"):
                getattr(container, point).hook = np.sign

    def test_the_first_layer_takes_no_hook_for_errors(self, backend):
        root = Sequential(Residual(Convolution(2, 3), Convolution(2, 1)), Convolution(2, 3))
        net = Net(root, (4, 4, 3), backend)
        for part in (root, root.children[0], *net.layers[:3]):
            with pytest.raises(MinidlError, match=rf"{part.name} .* passes no error back, so .* never be called; hang"):
                part.at_error.hook = np.sign
        net.layers[3].at_error.hook = np.sign
        root = Sequential(Convolution(2, 3), Convolution(2, 3))
        root.children[0].at_error.hook = np.sign
        with pytest.raises(MinidlError, match=r"conv1 .* gets the net's own data and passes no error back"):
            Net(root, (4, 4, 3), backend)

    def test_a_hook_under_another_attribute_is_refused(self):
        with pytest.raises(AttributeError, match="has no attribute 'hooks'"):
            Convolution(2, 3).at_grads.hooks = np.sign

    @pytest.mark.parametrize("name", ["at_weights", "at_error", "at_grads", "at_output"])
    def test_a_hook_point_is_not_overwritten(self, name):
        layer = Convolution(2, 3)
        point = getattr(layer, name)
        with pytest.raises(
            MinidlError, match=rf"{name} of conv is a hook point; set its hook, as in layer\.{name}\.hook"
        ):
            setattr(layer, name, np.sign)
        assert getattr(layer, name) is point

    @pytest.mark.parametrize("hook", [lambda: None, lambda a, b: a])
    def test_a_hook_takes_one_array(self, hook):
        with pytest.raises(
            MinidlError, match=r"the hook point grads calls <lambda>\(array\), which takes other arguments"
        ):
            Convolution(2, 3).at_grads.hook = hook

    @pytest.mark.parametrize("container", [Sequential, Residual, Concat, lambda body: AnySize(body, 4, 4)])
    def test_a_container_takes_hooks_for_its_error(self, context, random, container):
        plain, hooked = (set_up(container(Sequential(ReLU(), Convolution(2, 3))), context) for _ in range(2))
        for p, other in zip(hooked.parameters(), plain.parameters(), strict=True):
            p.value[...] = other.value
        seen = []
        hooked.at_error.hook = lambda error: 3 * error
        hooked.at_error.before.append(lambda error: seen.append(error.copy()))
        data = context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3)))
        error = context.kernels.xp.asarray(random.standard_normal(plain.forward(data).shape))
        hooked.forward(data)
        expected = context.kernels.host(plain.backpropagate(error))
        np.testing.assert_allclose(context.kernels.host(hooked.backpropagate(error)), 3 * expected)
        np.testing.assert_allclose(context.kernels.host(seen[0]), expected)

    def test_a_method_does_not_take_another_hooks_place(self, backend):
        root = Sequential(Convolution(2, 3), Convolution(2, 3))
        root.children[0].at_grads.hook = np.sign
        with pytest.raises(
            MinidlError, match="the method's GC would take the place of the hook sign at the grads of conv1"
        ):
            Net(root, (4, 4, 3), backend, method="WC, GC")


def set_up(layer, context):
    layer.setup((4, 4, 3), context)
    return layer
