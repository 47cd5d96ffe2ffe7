// Bilinear interpolation, corner pixels onto corner pixels, and its adjoint; compare resize.py. A thread takes N
// channels of a pixel at a time: a vector or one.
//
// Output pixel i of n lies at i·(m − 1)/(n − 1) on an axis of m pixels. Distances are integers, in units of 1/(n − 1),
// so that they have no rounding error. An output pixel "takes" its weight, or share, of each of the two pixels between
// which it lies.
#include "common.cuh"

constexpr int TAKERS = 2;  // output pixels of a row whose shares of a pixel are computed once for all rows

struct Axis { int size, into; };

__device__ int steps(Axis axis) { return axis.into > 1 ? axis.into - 1 : 1; }

// (a·b − minus)/c, rounded down. It is computed in 32 bits if these hold all products of the axis, because a division
// in 64 bits is slow on a GPU: it is a function call.
__device__ int quotient(Axis axis, int a, int b, int minus, int c) {
    if (Long(axis.size + 1) * (axis.into + 1) < 1LL << 31) return unsigned(a * b - minus) / unsigned(c);
    return int((Long(a) * b - minus) / c);
}

// The pixel at or before output pixel i.
__device__ int before(Axis axis, int i) { return quotient(axis, i, axis.size - 1, 0, steps(axis)); }

// The share of a pixel that output pixel i takes: 1 minus their distance, which must be below 1. Then the result is
// right even if the products do not fit into 32 bits, because the overflows cancel in the difference.
__device__ REAL share(Axis axis, int i, int pixel, REAL step) {
    int distance = unsigned(i) * (axis.size - 1) - unsigned(pixel) * steps(axis);
    return (steps(axis) - abs(distance)) * step;
}

// The first and the last output pixel that take a share of a pixel.
__device__ int first_taker(Axis axis, int pixel) {
    if (axis.size == 1 || pixel == 0) return 0;
    return quotient(axis, pixel - 1, steps(axis), 0, axis.size - 1) + 1;
}
__device__ int last_taker(Axis axis, int pixel) {
    if (axis.size == 1) return axis.into - 1;
    return min(axis.into - 1, quotient(axis, pixel + 1, steps(axis), 1, axis.size - 1));
}

// sum += weight·values, for N channels.
template <int N>
__device__ void add(Several<REAL, N>& sum, REAL weight, const REAL* values) {
    Several<REAL, N> more = several<N>(values);
    for (int k = 0; k < N; k++) sum.at[k] += weight * more.at[k];
}

// The rows of ``out`` of which a block computes some columns, one row after another: neighbouring rows read the same
// rows of the source, which are then in the cache.
struct Block {
    Long sample;
    int first, last;  // last: the row after the last one

    __device__ Block(int rows, int most) {
        int blocks = (rows + most - 1) / most;
        sample = blockIdx.x / blocks, first = blockIdx.x % blocks * most, last = min(first + most, rows);
    }
};

// out = Ry · data · Rxᵀ. The right or lower neighbour of the last pixel does not exist and has the weight 0; the last
// pixel itself is read in its place.
template <int N>
__device__ void interpolate(const REAL* data, REAL* out, Axis rows, Axis columns, int channels, int most) {
    Block block(rows.into, most);
    Long width = Long(columns.size) * channels;
    REAL row_step = REAL(1) / steps(rows), step = REAL(1) / steps(columns);
    data += block.sample * rows.size * width;
    out += block.sample * rows.into * columns.into * channels;
    each_in_row(columns.into, [=](int j) {
        int left = before(columns, j), right = min(left + 1, columns.size - 1);
        REAL of_left = share(columns, j, left, step);
        each_channel<N>(channels, [=](int channel) {
            const REAL *lefts = data + Long(left) * channels + channel, *rights = data + Long(right) * channels + channel;
#pragma unroll 1  // unrolled, the loop takes more registers, and was slower
            for (int i = block.first; i < block.last; i++) {
                int top = before(rows, i), bottom = min(top + 1, rows.size - 1);
                REAL of_top = share(rows, i, top, row_step);
                Several<REAL, N> sum = {};
                add(sum, of_top * of_left, lefts + top * width);
                add(sum, of_top * (1 - of_left), rights + top * width);
                add(sum, (1 - of_top) * of_left, lefts + bottom * width);
                add(sum, (1 - of_top) * (1 - of_left), rights + bottom * width);
                keep(sum, out + (Long(i) * columns.into + j) * channels + channel);
            }
        });
    });
}

// The adjoint, out = Ryᵀ · error · Rx. Each row of the error that took a share of the block's rows is summed along x
// once, and the sum is added to the two rows of the result that it took from. As the rows of the error go downwards, so
// do these pairs, and two rows of sums at a time are enough.
template <int N>
__device__ void collect(
    const REAL* __restrict__ error, REAL* __restrict__ out, Axis rows, Axis columns, int channels, int most) {
    Block block(rows.size, most);
    Long width = Long(columns.into) * channels;
    REAL row_step = REAL(1) / steps(rows), step = REAL(1) / steps(columns);
    int first = first_taker(rows, block.first), last = last_taker(rows, block.last - 1);
    error += block.sample * rows.into * width;
    out += block.sample * rows.size * columns.size * channels;
    each_in_row(columns.size, [=](int u) {
        int left = first_taker(columns, u), right = last_taker(columns, u);
        REAL shares[TAKERS];
        for (int t = 0; t < TAKERS; t++) shares[t] = left + t <= right ? share(columns, left + t, u, step) : REAL(0);
        each_channel<N>(channels, [=](int channel) {
            REAL* to = out + Long(u) * channels + channel;
            Several<REAL, N> upper = {}, lower = {};  // the sums of the rows v and v + 1 so far
            int v = min(block.first, before(rows, first));
            int distance = unsigned(first) * (rows.size - 1) - unsigned(v) * steps(rows);  // of row i from v
            auto end_row = [&] {
                if (v >= block.first && v < block.last) keep(upper, to + Long(v) * columns.size * channels);
                upper = lower, lower = {}, v++;
            };
            Several<REAL, N> next[TAKERS];  // of the next row, so that it is on its way while a row is added
            // Where there is no further row or taker, the last one is read again; for it, the share is 0.
            auto load_next = [&](int t, int i) {
                return several<N>(error + min(i, last) * width + Long(min(left + t, right)) * channels + channel);
            };
            for (int t = 0; t < TAKERS; t++) next[t] = load_next(t, first);
#pragma unroll 1
            for (int i = first; i <= last; i++, distance += rows.size - 1) {
                for (; distance >= steps(rows); distance -= steps(rows)) end_row();
                Several<REAL, N> sum = {};
                for (int t = 0; t < TAKERS; t++) {
                    for (int k = 0; k < N; k++) sum.at[k] += shares[t] * next[t].at[k];
                    next[t] = load_next(t, i + 1);
                }
#pragma unroll 1
                for (int j = left + TAKERS; j <= right; j++)
                    add(sum, share(columns, j, u, step), error + i * width + Long(j) * channels + channel);
                REAL of_top = (steps(rows) - distance) * row_step;
                for (int k = 0; k < N; k++) {
                    upper.at[k] += of_top * sum.at[k];
                    lower.at[k] += (1 - of_top) * sum.at[k];
                }
            }
            while (v < block.last) end_row();
        });
    });
}

// Separate kernels for vectors and for single channels, because a common one would take more registers.
#define RESIZE(NAME, N)                                                                                               \
    extern "C" __global__ void forward_##NAME(                                                                        \
        const REAL* data, REAL* out, int y, int x, int out_y, int out_x, int channels, int rows) {                    \
        interpolate<N>(data, out, {y, out_y}, {x, out_x}, channels, rows);                                            \
    }                                                                                                                 \
    extern "C" __global__ void backward_##NAME(                                                                       \
        const REAL* error, REAL* out, int y, int x, int error_y, int error_x, int channels, int rows) {               \
        collect<N>(error, out, {y, error_y}, {x, error_x}, channels, rows);                                           \
    }

RESIZE(one, 1)
RESIZE(vector, WIDTH)
