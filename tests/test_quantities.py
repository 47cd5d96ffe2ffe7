"""The quantities of a study compared with their formulas in float64, for arrays and numbers of any size."""

import numpy as np
import pytest

from minidl import MinidlError
from minidl.study import quantities as q


@pytest.fixture(params=[1e-30, 1e-3, 1.0, 1e25], ids="{:g}".format)
def pair(request, random):
    """Return two arrays of float32 that fill some rows of work and a part of one, and the same in float64."""
    arrays = [(request.param * random.standard_normal((37, 5, 47, 3))).astype(np.float32) for _ in range(2)]
    assert arrays[0].size > 2 * q.ROW
    assert arrays[0].size % q.ROW
    return *arrays, *(array.astype(np.float64) for array in arrays)


def test_energies_and_angles_of_numbers_of_any_size(pair):
    x, y, x64, y64 = pair
    assert q.energy(x) == pytest.approx((x64**2).sum(), rel=1e-6)
    assert q.inner(x, y) == pytest.approx((x64 * y64).sum(), abs=1e-6 * np.linalg.norm(x64) * np.linalg.norm(y64))
    cosine = (x64 * y64).sum() / np.linalg.norm(x64) / np.linalg.norm(y64)
    assert q.angle(x, y) == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-4)
    assert q.angle(x, x) == 0
    assert q.angle(x, -x) == pytest.approx(180, abs=1e-4)
    assert q.removed(x, y) == pytest.approx(np.linalg.norm(x64 - y64) / np.linalg.norm(x64), rel=1e-5)


def test_features_of_numbers_of_any_size(pair):
    x, _, x64, _ = pair
    unit = x64.reshape(len(x), -1)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert q.alike(x) == pytest.approx((cosines.sum() - len(x)) / len(x) / (len(x) - 1), abs=1e-6)
    assert q.deviation(x) == pytest.approx(x64.std(), rel=1e-5)


def test_signs_of_numbers_of_any_size(pair):
    """Also where the products of two numbers underflow."""
    x, y, x64, y64 = pair
    counted = abs(x64) > 1e-6 * abs(x64).max()
    assert q.flips(x, y) == pytest.approx((np.sign(x64) * np.sign(y64) < 0)[counted].mean())
    assert 0.4 < q.flips(x, y) < 0.6


def test_rounding_has_no_sign():
    """A gradient that is 0 but for the rounding of a fast algorithm does not change its sign."""
    before = np.array([1.0, -0.5, 3e-8, -3e-8, 0.0], np.float32)
    assert q.flips(before, before - np.float32(0.1)) == 0
    assert q.flips(before, before - np.float32(0.8)) == 0
    assert q.flips(before, -before) == 1
    assert np.isnan(q.flips(np.zeros(3), np.ones(3)))


def test_zeros_have_no_energy_and_no_angle():
    zeros = np.zeros((3, q.ROW), np.float32)
    assert q.energy(zeros) == 0
    assert np.isnan(q.angle(zeros, zeros))
    assert np.isnan(q.alike(zeros))


def test_nan_is_not_counted():
    """It counts neither as dead, nor as blocked by a ReLU, nor as keeping its sign."""
    x, lost = np.array([[1, -2], [3, 4]], np.float32), np.array([[1, np.nan], [3, 4]], np.float32)
    assert (q.dead(x), q.active(x), q.flips(x, -x)) == (0, 0.75, 1)
    for array in (lost, np.full_like(x, np.nan)):
        for value in (q.dead(array), q.active(array), q.flips(x, array), q.flips(array, x), q.alike(array)):
            assert np.isnan(value)
    assert q.active(np.array([[1, np.inf], [-np.inf, 4]], np.float32)) == 0.75


def test_numbers_that_are_infinite_stay_so():
    assert q.energy(np.array([1, np.inf], np.float32)) == np.inf
    assert np.isnan(q.energy(np.array([1, np.nan], np.float32)))


ONE, TWO = ("norm", "energy", "alike", "deviation", "active", "dead"), ("inner", "removed", "angle", "flips")


@pytest.mark.parametrize("name", [*ONE, *TWO, "mean_share"])
@pytest.mark.parametrize("wrong", [None, [1.0, 2.0], "text", np.full((2, 3), 10**5, np.int32), np.float32(3)], ids=repr)
def test_what_is_no_array_of_floats_is_refused(name, wrong):
    """Sums of integers would overflow without a word."""
    x = np.ones((2, 3), np.float32)
    further = {"mean_share": ("tensor",), **dict.fromkeys(TWO, (x,))}.get(name, ())
    with pytest.raises(MinidlError, match=f"of {name} must be an array of floats.*, not "):
        getattr(q, name)(wrong, *further)
    if name in TWO:
        with pytest.raises(
            MinidlError, match=rf"of {name} must be an array of floats of shape \(2, 3\), like the other"
        ):
            getattr(q, name)(x, wrong)


@pytest.mark.parametrize("name", [*ONE, *TWO, "mean_share"])
def test_an_array_without_elements_is_refused(name):
    empty = np.ones((0, 3))
    further = {"mean_share": ("tensor",), **dict.fromkeys(TWO, (empty,))}.get(name, ())
    with pytest.raises(MinidlError, match=rf"of {name} must .* not float64 of shape \(0, 3\); it has no element$"):
        getattr(q, name)(empty, *further)


@pytest.mark.parametrize("name", TWO)
def test_two_arrays_of_different_shapes_are_refused(name):
    with pytest.raises(MinidlError, match=r"like the other, not float64 of shape \(4, 2, 3\)$"):
        getattr(q, name)(np.ones((2, 3)), np.ones((4, 2, 3)))


@pytest.mark.parametrize("name", [*ONE, *TWO, "mean_share"])
def test_a_masked_element_has_no_quantity(name):
    x = np.ma.masked_equal(np.eye(3), 1)
    with pytest.raises(MinidlError, match="elements of the array are masked"):
        getattr(q, name)(x, *{"mean_share": ("tensor",), **dict.fromkeys(TWO, (x,))}.get(name, ()))


@pytest.mark.parametrize("name", [*ONE, *TWO, "mean_share"])
def test_arrays_are_checked_once(name, monkeypatch):
    """Only the function that was called checks: what it computes from its arrays are arrays of floats."""
    x, checked = np.ones((2, 3), np.float32), []

    def counted(function):
        def check(*arrays):
            checked.append(function.__name__)
            return function(*arrays)

        return check

    for other in (*ONE, *TWO, "mean_share"):
        monkeypatch.setattr(q, other, counted(getattr(q, other)))
    getattr(q, name)(x, *{"mean_share": ("tensor",), **dict.fromkeys(TWO, (x,))}.get(name, ()))
    assert checked == [name]


def test_an_unknown_area_is_refused():
    with pytest.raises(MinidlError, match=r"the area 'filters' is unknown; use global, tensor,"):
        q.mean_share(np.ones((2, 3)), "filters")
