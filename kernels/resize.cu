// Bilinear interpolation, corner pixels onto corner pixels, and its adjoint; compare resize.py. A thread takes N
// channels of a pixel at a time: a vector of them, or one.
//
// Output pixel i of n lies at i·(m − 1)/(n − 1) on an axis of m pixels. Distances are counted in parts of 1/(n − 1), in
// whole numbers.
#include "common.cuh"

struct Axis { int size, into; };

__device__ int steps(Axis axis) { return axis.into > 1 ? axis.into - 1 : 1; }

// (a·b − minus)/c, rounded down, by 32 bits where they hold all products of the axis, since the GPU divides 64 bits in
// a function.
__device__ int quotient(Axis axis, int a, int b, int minus, int c) {
    if (Long(axis.size + 1) * (axis.into + 1) < 1LL << 31) return unsigned(a * b - minus) / unsigned(c);
    return int((Long(a) * b - minus) / c);
}

// The pixel at or before output pixel i.
__device__ int before(Axis axis, int i) { return quotient(axis, i, axis.size - 1, 0, steps(axis)); }

// The part of a pixel that output pixel i takes: 1 less their distance, which must be below 1: then it is right in 32
// bits, whatever the products are.
__device__ REAL share(Axis axis, int i, int pixel, REAL step) {
    int distance = unsigned(i) * (axis.size - 1) - unsigned(pixel) * steps(axis);
    return (steps(axis) - abs(distance)) * step;
}

// The first and the last output pixel that take something of a pixel.
__device__ int first_taker(Axis axis, int pixel) {
    if (axis.size == 1 || pixel == 0) return 0;
    return quotient(axis, pixel - 1, steps(axis), 0, axis.size - 1) + 1;
}
__device__ int last_taker(Axis axis, int pixel) {
    if (axis.size == 1) return axis.into - 1;
    return min(axis.into - 1, quotient(axis, pixel + 1, steps(axis), 1, axis.size - 1));
}

// sum += weight·values, of N channels.
template <int N>
__device__ void add(Several<REAL, N>& sum, REAL weight, const REAL* values) {
    Several<REAL, N> more = several<N>(values);
    for (int k = 0; k < N; k++) sum.at[k] += weight * more.at[k];
}

// A block takes some of a row of outputs. What lies behind the last pixel of an axis has no part in any of them, and is
// read from that pixel.
template <int N>
__device__ void interpolate(const REAL* data, REAL* out, Axis rows, Axis columns, int channels) {
    Long sample = blockIdx.x / rows.into;
    int i = blockIdx.x % rows.into, top = before(rows, i), bottom = min(top + 1, rows.size - 1);
    REAL of_top = share(rows, i, top, REAL(1) / steps(rows)), step = REAL(1) / steps(columns);
    const REAL* upper = data + (sample * rows.size + top) * columns.size * channels;
    const REAL* lower = data + (sample * rows.size + bottom) * columns.size * channels;
    each_in_row(columns.into, [=](int j) {
        int left = before(columns, j), right = min(left + 1, columns.size - 1);
        REAL of_left = share(columns, j, left, step);
        const REAL *first = upper + Long(left) * channels, *second = upper + Long(right) * channels;
        const REAL *third = lower + Long(left) * channels, *fourth = lower + Long(right) * channels;
        REAL* to = out + (blockIdx.x * Long(columns.into) + j) * channels;
        each_channel<N>(channels, [=](int channel) {
            Several<REAL, N> sum = {};
            add(sum, of_top * of_left, first + channel);
            add(sum, of_top * (1 - of_left), second + channel);
            add(sum, (1 - of_top) * of_left, third + channel);
            add(sum, (1 - of_top) * (1 - of_left), fourth + channel);
            keep(sum, to + channel);
        });
    });
}

// A block takes some of a row of pixels of the result; each gathers from the output pixels that took of it.
template <int N>
__device__ void collect(const REAL* error, REAL* out, Axis rows, Axis columns, int channels) {
    Long sample = blockIdx.x / rows.size;
    int v = blockIdx.x % rows.size, top = first_taker(rows, v), bottom = last_taker(rows, v);
    REAL row_step = REAL(1) / steps(rows), step = REAL(1) / steps(columns);
    each_in_row(columns.size, [=](int u) {
        int left = first_taker(columns, u), right = last_taker(columns, u);
        REAL* to = out + (blockIdx.x * Long(columns.size) + u) * channels;
        each_channel<N>(channels, [=](int channel) {
            Several<REAL, N> sum = {};
            for (int i = top; i <= bottom; i++) {
                REAL of_row = share(rows, i, v, row_step);
                const REAL* row = error + (sample * rows.into + i) * columns.into * channels + channel;
#pragma unroll 1
                for (int j = left; j <= right; j++)
                    add(sum, of_row * share(columns, j, u, step), row + Long(j) * channels);
            }
            keep(sum, to + channel);
        });
    });
}

// One kernel for vectors, and one for single channels, which would make the other one take more registers.
#define RESIZE(NAME, N)                                                                                               \
    extern "C" __global__ void forward_##NAME(                                                                        \
        const REAL* data, REAL* out, int y, int x, int out_y, int out_x, int channels) {                              \
        interpolate<N>(data, out, {y, out_y}, {x, out_x}, channels);                                                  \
    }                                                                                                                 \
    extern "C" __global__ void backward_##NAME(                                                                       \
        const REAL* error, REAL* out, int y, int x, int error_y, int error_x, int channels) {                         \
        collect<N>(error, out, {y, error_y}, {x, error_x}, channels);                                                 \
    }

RESIZE(one, 1)
RESIZE(vector, WIDTH)
