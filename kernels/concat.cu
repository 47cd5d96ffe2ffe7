// Concatenation of the channels of two arrays, and its adjoint; compare concat.py. A block takes some pixels of a row,
// a thread ``lanes`` channels of each: a vector or one.
#include "common.cuh"

// The address of a channel of a pixel, in the first or the second array. It is selected without a branch, so that a
// warp whose threads need both arrays waits for memory only once.
template <class T>
__device__ T* part(T* first, T* second, Long pixel, int channel, int c1, int c2) {
    return channel < c1 ? first + pixel * c1 + channel : second + pixel * c2 + (channel - c1);
}

template <int N>
__device__ void join(const REAL* first, const REAL* second, REAL* out, int pixels, int c1, int c2) {
    each_pixel<N>(pixels, c1 + c2, [=](int column, int channel) {
        Long pixel = blockIdx.x * Long(pixels) + column;
        keep(several<N>(part(first, second, pixel, channel, c1, c2)), out + pixel * (c1 + c2) + channel);
    });
}

template <int N>
__device__ void divide(const REAL* error, REAL* first, REAL* second, int pixels, int c1, int c2) {
    each_pixel<N>(pixels, c1 + c2, [=](int column, int channel) {
        Long pixel = blockIdx.x * Long(pixels) + column;
        keep(several<N>(error + pixel * (c1 + c2) + channel), part(first, second, pixel, channel, c1, c2));
    });
}

extern "C" __global__ void forward(
    const REAL* first, const REAL* second, REAL* out, int pixels, int c1, int c2, int lanes) {
    if (lanes == 1) join<1>(first, second, out, pixels, c1, c2);
    else join<WIDTH>(first, second, out, pixels, c1, c2);
}

extern "C" __global__ void backward(
    const REAL* error, REAL* first, REAL* second, int pixels, int c1, int c2, int lanes) {
    if (lanes == 1) divide<1>(error, first, second, pixels, c1, c2);
    else divide<WIDTH>(error, first, second, pixels, c1, c2);
}
