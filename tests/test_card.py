"""The card of a normalization, compared with a table for the paper's, and of user-defined ones."""

import numpy as np
import pytest

from minidl.normalizations import NORMALIZATIONS, Normalization
from minidl.study.card import Card, card, table

# Centering, as the paper's text says: a projection (idempotent, linear, orthogonal) that removes constants.
PAPER = """\
                   at       area      N(N(x))=N(x)  N(x+c)=N(x)  N(2x)  linear  x−N(x)⟂N(x)  mean  norm  adjoint
WN                 weights  tensor    yes           no           N(x)   no      no            8 %   8 %  yes
WC                 weights  tensor    yes           yes          2N(x)  yes     yes           0 %  97 %  yes
WS                 weights  tensor    yes           yes          N(x)   no      no            0 %  48 %  yes
GC                 grads    tensor    yes           yes          2N(x)  yes     yes           0 %  97 %  yes
EBN                error    channel   yes           yes          N(x)   no      no            0 %  48 %  yes
ELN                error    sample    yes           yes          N(x)   no      no            0 %  48 %  yes
EB                 error    channel   yes           yes          2N(x)  yes     yes           0 %  98 %  yes
EL                 error    sample    yes           yes          2N(x)  yes     yes           0 %  97 %  yes
weight global      weights  global    yes           yes          2N(x)  yes     yes           0 %  98 %  yes
weight tensor      weights  tensor    yes           yes          2N(x)  yes     yes           0 %  97 %  yes
weight channel     weights  channel   yes           yes          2N(x)  yes     yes           0 %  97 %  yes
weight instance    weights  instance  yes           yes          2N(x)  yes     yes           0 %  92 %  yes
gradient global    grads    global    yes           yes          2N(x)  yes     yes           0 %  98 %  yes
gradient tensor    grads    tensor    yes           yes          2N(x)  yes     yes           0 %  97 %  yes
gradient channel   grads    channel   yes           yes          2N(x)  yes     yes           0 %  97 %  yes
gradient instance  grads    instance  yes           yes          2N(x)  yes     yes           0 %  92 %  yes
error global       error    global    yes           yes          2N(x)  yes     yes           0 %  98 %  yes
error sample       error    sample    yes           yes          2N(x)  yes     yes           0 %  97 %  yes
error channel      error    channel   yes           yes          2N(x)  yes     yes           0 %  98 %  yes
error instance     error    instance  yes           yes          2N(x)  yes     yes           0 %  95 %  yes"""


def test_the_normalizations_of_the_paper(backend):
    assert str(table([card(normalization, backend) for normalization in NORMALIZATIONS.values()])) == PAPER


def halve(x, out):
    out[...] = x / 2


def halve_adjoint(error, output, scale, out):
    out[...] = error / 2


def clip(x, out):
    out[...] = x.clip(-1, 1)


def sign(x, out):
    out[...] = np.sign(x)


PLUG_INS = [
    (
        Normalization("halve", "weights", "tensor", halve, halve_adjoint),
        Card("halve", "weights", "tensor", True, False, False, "2N(x)", True, False, 0.5, 0.5),
    ),
    (
        Normalization("clip", "grads", "instance", clip),
        Card("clip", "grads", "instance", False, True, False, "neither", False, False, 0.41, 0.41),
    ),
    (
        Normalization("sign", "error", "channel", sign),
        Card("sign", "error", "channel", False, True, False, "N(x)", False, False, 0.36, 0.48),
    ),
]


@pytest.mark.parametrize("plug_in, expected", PLUG_INS, ids=lambda one: one.name)
def test_a_plug_in(backend, plug_in, expected):
    found = vars(card(plug_in, backend))
    for name, value in vars(expected).items():
        assert found[name] == (pytest.approx(value, abs=0.06) if isinstance(value, float) else value), name


def test_a_normalization_that_makes_nan_obeys_no_law(backend):
    def logarithm(x, out):  # in float32 it passes the check of a new normalization
        out[...] = np.log(x) if x.dtype == np.float64 else x

    found = card(Normalization("log", "error", "sample", logarithm), backend)
    laws = (found.idempotent, found.shift, found.doubled, found.linear, found.orthogonal)
    assert laws == (False, False, "neither", False, False)
    assert np.isnan(found.norm_kept)


def test_normalizations_that_change_nothing_or_return_zeros(backend):
    def nothing(x, out):
        out[...] = 0

    def same(x, out):
        out[...] = x

    for function, kept in ((same, 1), (nothing, 0)):
        found = card(Normalization("it", "grads", "tensor", function), backend)
        assert (found.idempotent, found.linear, found.orthogonal) == (True, True, True)
        assert (found.mean_kept, found.norm_kept) == (kept, kept)
