"""Normalizations of views (outer, rows, inner, lanes), compared with the plain formulas of the paper."""

import numpy as np
import pytest

from minidl.kernels.areas import AREAS, area_view
from minidl.kernels.errors import MinidlError

SHAPES = [(6, 3, 3, 4), (5, 1, 3, 2), (2, 4, 1, 6), (40, 24, 24, 4), (1, 64, 64, 32)]


def mean_axes(area):
    """Return the axes of (n, y, x, c) over which a mean is taken, by the definition of the area in Table 2."""
    return {"global": (0, 1, 2, 3), "tensor": (1, 2, 3), "channel": (0, 1, 2), "instance": (1, 2)}[area]


@pytest.mark.parametrize("area", ["global", "tensor", "channel", "instance"])
@pytest.mark.parametrize("shape", SHAPES)
def test_transforms_are_the_papers_formulas(backend, random, area, shape):
    x = random.standard_normal(shape) + 3
    view = area_view(shape, area)
    axes = mean_axes(area)
    mean = x.mean(axes, keepdims=True)
    expected = {
        "center": x - mean,
        "standardize": (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5),
        "rescale": x / np.sqrt((x**2).sum(axes, keepdims=True)),
    }
    for name, y in expected.items():
        out, in_place = backend.xp.full(view, np.nan), backend.xp.array(x.reshape(view))
        getattr(backend.normalize, name)(backend.xp.asarray(x.reshape(view)), out)
        getattr(backend.normalize, name)(in_place, in_place)
        for made in (out, in_place):
            result = backend.host(made).reshape(shape)
            np.testing.assert_allclose(result, y, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.quick_on("reference", "gpu")
@pytest.mark.parametrize("area", ["global", "tensor", "channel", "instance"])
@pytest.mark.parametrize("name", ["center", "standardize", "rescale"])
@pytest.mark.parametrize("shape", SHAPES)
def test_adjoints_are_the_derivative_backwards(backend, random, area, name, shape):
    view, xp = area_view(shape, area), backend.xp
    x, error, direction = (xp.asarray(random.standard_normal(view)) for _ in range(3))
    transform = getattr(backend.normalize, name)

    def along(step):
        out = xp.empty(view)
        transform(x + step * direction, out)
        return out

    output, back = xp.empty(view), xp.full(view, np.nan)
    scale = transform(x, output)
    getattr(backend.normalize, f"{name}_adjoint")(error, output, scale, back)
    slope = float(xp.sum(error * (along(1e-5) - along(-1e-5)) / 2e-5))
    assert float(xp.sum(back * direction)) == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_sample_and_group_views(random):
    x = random.standard_normal((3, 4, 5, 6))
    assert area_view(x.shape, "sample") == area_view(x.shape, "tensor") == (3, 1, 1, 120)
    means = x.reshape(area_view(x.shape, "group", groups=2)).mean((1, 3))
    np.testing.assert_allclose(means, [[x[s, :, :, :3].mean(), x[s, :, :, 3:].mean()] for s in range(3)])


@pytest.mark.parametrize("name", ["center", "standardize", "rescale"])
def test_a_group_of_zeros_stays_zero(backend, random, name):
    """ε prevents a division by zero for a group whose length or deviation is zero."""
    x = backend.xp.zeros(area_view((4, 3, 3, 2), "tensor"))
    x[1] = backend.xp.asarray(random.standard_normal(x[1].shape))
    out = backend.xp.full_like(x, np.nan)
    getattr(backend.normalize, name)(x, out)
    out = backend.host(out)
    assert np.isfinite(out).all()
    assert out[1].any()
    assert not out[[0, 2, 3]].any()


def test_a_group_may_have_as_many_pixels_as_channels():
    assert area_view((2, 3, 1, 3), "group", groups=1) == (2, 3, 1, 3)


def test_fully_connected_arrays_are_seen_as_one_pixel():
    assert area_view((4, 7), "tensor") == area_view((4, 1, 1, 7), "tensor")
    assert area_view((4, 7), "channel") == area_view((4, 1, 1, 7), "channel")


@pytest.mark.parametrize("area, shape", [("instance", (8, 1, 1, 4)), ("instance", (8, 4)), ("channel", (1, 4))])
def test_an_area_of_single_elements_is_refused(area, shape):
    with pytest.raises(MinidlError, match="one element per group"):
        area_view(shape, area)


def test_an_unknown_area_is_refused():
    with pytest.raises(MinidlError, match="'row' is unknown; use " + ", ".join(AREAS[:-1])):
        area_view((2, 2), "row")


def test_groups_must_divide_the_channels():
    with pytest.raises(MinidlError, match="6 channels cannot be split into 4"):
        area_view((2, 3, 3, 6), "group", groups=4)
