// Bilinear interpolation, corner pixels onto corner pixels, and its adjoint; compare resize.py.
//
// Output pixel i of n lies at i·(m − 1)/(n − 1) on an axis of m pixels. Distances are counted in parts of 1/(n − 1), in
// whole numbers.
#include "common.cuh"

struct Axis { int size, into; };

__device__ int steps(Axis axis) { return axis.into > 1 ? axis.into - 1 : 1; }

// (a·b − minus)/c, rounded down, by 32 bits where they hold all products of the axis, since the GPU divides 64 bits in a function.
__device__ int quotient(Axis axis, int a, int b, int minus, int c) {
    if (Long(axis.size + 1) * (axis.into + 1) < 1LL << 31) return (a * b - minus) / c;
    return int((Long(a) * b - minus) / c);
}

// The pixel at or before output pixel i.
__device__ int before(Axis axis, int i) { return quotient(axis, i, axis.size - 1, 0, steps(axis)); }

// How much of a pixel output pixel i takes: 1 less their distance, where that is below 1.
__device__ REAL share(Axis axis, int i, int pixel) {
    Long distance = Long(i) * (axis.size - 1) - Long(pixel) * steps(axis);
    return REAL(1) - REAL(distance < 0 ? -distance : distance) / steps(axis);
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

// A block takes some of a row of outputs.
extern "C" __global__ void forward(
    const REAL* data, REAL* out, int y, int x, int out_y, int out_x, int channels) {
    Axis rows = {y, out_y}, columns = {x, out_x};
    Long sample = blockIdx.x / out_y;
    int i = blockIdx.x % out_y, top = before(rows, i);
    each_in_row(out_x * channels, [=](int e) {
        int j = e / channels, left = before(columns, j);
        REAL sum = 0;
        for (int v = top; v < min(top + 2, y); v++)
            for (int u = left; u < min(left + 2, x); u++)
                sum += share(rows, i, v) * share(columns, j, u) *
                       data[((sample * y + v) * x + u) * channels + e % channels];
        out[blockIdx.x * Long(out_x) * channels + e] = sum;
    });
}

// A block takes some of a row of pixels of the result; each gathers from the output pixels that took of it.
extern "C" __global__ void backward(
    const REAL* error, REAL* out, int y, int x, int error_y, int error_x, int channels) {
    Axis rows = {y, error_y}, columns = {x, error_x};
    Long sample = blockIdx.x / y;
    int v = blockIdx.x % y;
    each_in_row(x * channels, [=](int e) {
        int u = e / channels;
        REAL sum = 0;
        for (int i = first_taker(rows, v); i <= last_taker(rows, v); i++)
            for (int j = first_taker(columns, u); j <= last_taker(columns, u); j++)
                sum += share(rows, i, v) * share(columns, j, u) *
                       error[((sample * error_y + i) * error_x + j) * channels + e % channels];
        out[blockIdx.x * Long(x) * channels + e] = sum;
    });
}
