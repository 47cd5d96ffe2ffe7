"""Phases: a convolution with a stride as a sum of convolutions without one.

With stride t, the filter's taps i, i + t, i + 2t, … meet only every t-th pixel of an image, the pixels of one *phase*.
On these pixels they are a filter of stride 1:

    Σ_i filter[i] · data[t·y + i − p]  =  Σ_{phase < t} Σ_j filter[t·j + phase] · data[t·(y + j) + phase − p]

So in two dimensions, each image becomes t·t smaller images with their own smaller filters, whose outputs are added up
like channels.
"""

from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]


class Phase(NamedTuple):
    """One phase of the images, along (y, x): which pixels it has, and which of the filter's taps meet these pixels.

    padding: by how many pixels of the phase the first window begins before the phase's first pixel.
    """

    pixels: tuple[slice, slice]
    taps: tuple[slice, slice]
    padding: Pair


def phases(stride: Pair, padding: Pair) -> list[Phase]:
    """Return all phases; with stride 1 there is one, the image itself."""
    found = []
    for y, x in np.ndindex(stride):
        first_y, first_x = (y - padding[0]) % stride[0], (x - padding[1]) % stride[1]
        found.append(
            Phase(
                (slice(first_y, None, stride[0]), slice(first_x, None, stride[1])),
                (slice(y, None, stride[0]), slice(x, None, stride[1])),
                ((first_y + padding[0] - y) // stride[0], (first_x + padding[1] - x) // stride[1]),
            )
        )
    return found
