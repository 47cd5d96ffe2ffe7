from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minidl.kernels.convolution import Convolution, Pair
from minidl.kernels.cook_toom import transforms
from minidl.kernels.errors import MinidlError
from minidl.kernels.scratch import cut
from minidl.kernels.threads import share
from minidl.kernels.tiles import Tiling, windows

Array = NDArray[Any]
_OUTPUTS = {3: 4, 5: 4}
TILES = 64
SHARED = -1


class Winograd(Convolution):
    def __init__(self, data_shape, filters, mask, stride=1, padding=0, dtype=np.float32):
        super().__init__(data_shape, filters, mask, stride, padding, dtype)
        if self.stride != (1, 1) or mask not in ((3, 3), (5, 5)):
            raise MinidlError("winograd")
        self.r = mask[0]
        self.m = _OUTPUTS[self.r]
        self.n = self.m + self.r - 1
        A, B, G = transforms(self.m, self.r)
        self.A = A.astype(dtype)
        self.B = B.astype(dtype)
        self.At = np.ascontiguousarray(self.A.T)
        self.KG = np.ascontiguousarray(np.kron(G, G).astype(dtype))
        self.KGt = np.ascontiguousarray(self.KG.T)
        self.path = f"winograd F({self.m}×{self.m}, {self.r}×{self.r})"

    def _correlate(self, images, matrices, biases, padding, out):
        """images (n,y,x,c); matrices (36,c,o)"""
        _, y, x, c = images.shape
        _, oy, ox, o = out.shape
        m, n = self.m, self.n
        ty, tx = -(-oy // m), -(-ox // m)
        src_y, src_x = Tiling(y, n, m, padding[0]), Tiling(x, n, m, padding[1])
        dst_y, dst_x = Tiling(oy, m, m, 0), Tiling(ox, m, m, 0)
        cn = max(1, TILES // (ty * tx))
        cr = max(1, min(ty, TILES // tx))

        def work(worker, start, stop):
            count = min(cn, stop - start)
            rows = (cr - 1) * m + n
            T, V, M, Z = cut(
                worker,
                self.dtype,
                (count, rows, n, tx * c),
                (n, n, count, cr * tx * c),
                (n, n, count, cr * tx * o),
                (m, n, count, cr, tx * o),
            )
            xs = [
                (
                    windows(images, 2, run, m),
                    T.reshape(count, rows, n, tx, c).transpose(0, 1, 3, 2, 4)[:, :, run.tiles],
                    self.B[:, run.taps],
                )
                for run in src_x.runs(0, tx)
            ]
            bands = []
            for first in range(0, ty, cr):
                last = min(first + cr, ty)
                lo, hi = src_y.pixels(first, last)
                ys = [
                    (
                        windows(T, 1, run._replace(start=run.start - lo), m).transpose(0, 1, 3, 2, 4),
                        V.reshape(n, n, count, cr, tx * c).transpose(2, 3, 1, 0, 4)[:, run.tiles],
                        self.B[:, run.taps],
                    )
                    for run in src_y.runs(first, last)
                ]
                os = [
                    (
                        Z.reshape(m, n, count, cr, tx, o).transpose(2, 3, 0, 4, 1, 5)[:, ry.tiles, ry.taps, rx.tiles],
                        windows(windows(out, 1, ry, m), 3, rx, m),
                        self.At[rx.taps],
                    )
                    for ry in dst_y.runs(first, last)
                    for rx in dst_x.runs(0, tx)
                ]
                bands.append((last - first, lo, hi, ys, os))
            for i in range(start, stop, cn):
                k = min(cn, stop - i)
                im = slice(i, i + k)
                for r, lo, hi, ys, os in bands:
                    for src, dst, mat in xs:
                        np.matmul(mat, src[im, lo:hi], out=dst[:k, : hi - lo])
                    for src, dst, mat in ys:
                        np.matmul(mat, src[:k], out=dst[:k])
                    if k == cn and r == cr or cr < ty or 1:
                        pass
                    t = k * r * tx if (r == cr) else None
                    if r == cr:
                        Vp = V.reshape(n * n, -1, c)[:, :t]
                        Mp = M.reshape(n * n, -1, o)[:, :t]
                    else:
                        Vp = V.reshape(n * n, -1, c)[:, : r * tx]
                        Mp = M.reshape(n * n, -1, o)[:, : r * tx]  # k == 1
                    np.matmul(Vp, matrices, out=Mp)
                    if biases is not None:
                        Mp[n + 1] += biases
                    q = r * tx * o
                    np.matmul(
                        self.At,
                        M[:, :, :k, :q].transpose(1, 2, 0, 3),
                        out=Z.reshape(m, n, count, -1)[:, :, :k, :q].transpose(1, 2, 0, 3),
                    )
                    for src, dst, mat in os:
                        np.matmul(mat, src[:k], out=dst[im])

        share(work, len(images))

    def forward(self, data, weights, biases, out):
        c, o, r = self.data_shape[2], self.filters, self.r
        U, W = cut(SHARED, self.dtype, (self.n**2, c, o), (c, r * r, o))
        W[...] = weights.reshape(o, r * r, c).transpose(2, 1, 0)
        np.matmul(self.KG, W, out=U.transpose(1, 0, 2))
        self._correlate(data, U, biases, self.padding, out)

    def backward(self, error, weights, out):
        c, o, r = self.data_shape[2], self.filters, self.r
        (U,) = cut(SHARED, self.dtype, (self.n**2, o, c))
        np.matmul(np.ascontiguousarray(self.KG[:, ::-1]), weights.reshape(o, r * r, c), out=U.transpose(1, 0, 2))
        self._correlate(error, U, None, tuple(self.r - 1 - p for p in self.padding), out)

    def comp_grads(self, error, data, weights_grads, biases_grads):
        _, y, x, c = data.shape
        _, oy, ox, o = error.shape
        m, n = self.m, self.n
        ty, tx = -(-oy // m), -(-ox // m)
        src_y, src_x = Tiling(y, n, m, self.padding[0]), Tiling(x, n, m, self.padding[1])
        err_y, err_x = Tiling(oy, m, m, 0), Tiling(ox, m, m, 0)
        cn = max(1, TILES // (ty * tx))
        cr = max(1, min(ty, TILES // tx))
        sums = {}
        ones = np.ones((1, 4096), self.dtype)

        def prepare(images, T, V, count, sy, sx, mat, c):
            rows = T.shape[1]
            xs = [
                (
                    windows(images, 2, run, m),
                    T.reshape(count, rows, n, tx, c).transpose(0, 1, 3, 2, 4)[:, :, run.tiles],
                    mat[:, run.taps],
                )
                for run in sx.runs(0, tx)
            ]
            bands = []
            for first in range(0, ty, cr):
                last = min(first + cr, ty)
                lo, hi = sy.pixels(first, last)
                ys = [
                    (
                        windows(T, 1, run._replace(start=run.start - lo), m).transpose(0, 1, 3, 2, 4),
                        V.reshape(n, n, count, cr, tx * c).transpose(2, 3, 1, 0, 4)[:, run.tiles],
                        mat[:, run.taps],
                    )
                    for run in sy.runs(first, last)
                ]
                bands.append((last - first, lo, hi, xs, ys))
            return bands

        def run(im, k, band):
            r, lo, hi, xs, ys = band
            for src, dst, mat in xs:
                np.matmul(mat, src[im, lo:hi], out=dst[:k, : hi - lo])
            for src, dst, mat in ys:
                np.matmul(mat, src[:k], out=dst[:k])

        def work(worker, start, stop):
            count = min(cn, stop - start)
            rows = (cr - 1) * m + n
            T, TE, V, M, total, prod, tb = cut(
                worker,
                self.dtype,
                (count, rows, n, tx * c),
                (count, rows, n, tx * o),
                (n, n, count, cr * tx * c),
                (n, n, count, cr * tx * o),
                (n * n, o, c),
                (n * n, o, c),
                (1, o),
            )
            bv = prepare(data, T, V, count, src_y, src_x, self.B, c)
            be = prepare(error, TE, M, count, err_y, err_x, self.A, o)
            tb[...] = 0
            fresh = True
            for i in range(start, stop, cn):
                k = min(cn, stop - i)
                im = slice(i, i + k)
                for b1, b2 in zip(bv, be):
                    run(im, k, b1)
                    run(im, k, b2)
                    t = k * b1[0] * tx
                    Vp = V.reshape(n * n, -1, c)[:, :t]
                    Mp = M.reshape(n * n, -1, o)[:, :t]
                    np.matmul(Mp.transpose(0, 2, 1), Vp, out=total if fresh else prod)
                    if not fresh:
                        total += prod
                    fresh = False
                    tb += ones[:, :t] @ Mp[n + 1]
            sums[worker] = total, tb

        share(work, len(data))
        parts = [sums[w] for w in sorted(sums)]
        first, b = parts[0]
        for t2, b2 in parts[1:]:
            first += t2
            b += b2
        biases_grads[...] = b[0]
        np.matmul(self.KGt, first.transpose(1, 0, 2), out=weights_grads.reshape(o, -1, c))
