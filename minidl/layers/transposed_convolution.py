"""TransposedConvolution: the adjoint of a convolution's products, with a bias."""

from minidl.layers.convolution import Convolution


class TransposedConvolution(Convolution):
    """Transposed convolution: out[s, t·y + i − p, t·x + j − p, o] sums data[s, y, x, c]·W[o, i, j, c]; plus b[o].

    data (samples, y, x, in), weights (out, size, size, in), stride t; data of n pixels give an output
    of t·(n − 1) + size − 2p pixels. DLIB's padding p is the default: size//2 for stride 1, none for any other.

        ∂L/∂data[s, y, x, c] = Σ error[s, t·y + i − p, t·x + j − p, o]·W[o, i, j, c]
        ∂L/∂W[o, i, j, c] = Σ error[s, t·y + i − p, t·x + j − p, o]·data[s, y, x, c]    ∂L/∂b[o] = Σ error[s, …, o]
    """

    kind = "tconv"
    operation = "transposed_convolution"

    def __str__(self) -> str:
        return f"transposed {super().__str__()}"
