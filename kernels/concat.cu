// Concatenation of the channels of two arrays, and its adjoint; compare concat.py. A block takes some of a row of
// pixels, by whole vectors where the channels allow it.
#include "common.cuh"

// Calls f(i, j, k) for element i of the joint row, j the same in the first array or k in the second, the other being −1.
template <class F>
__device__ void each_pair(int pixels, int first, int second, F f) {
    Long row = blockIdx.x * Long(pixels);
    each_in_row(pixels * (first + second), [=](int i) {
        int pixel = i / (first + second), channel = i % (first + second), other = channel - first;
        Long joint = row * (first + second) + i;
        f(joint, other < 0 ? (row + pixel) * first + channel : -1, other < 0 ? -1 : (row + pixel) * second + other);
    });
}

template <class T>
__device__ void join(const T* first, const T* second, T* out, int pixels, int c1, int c2) {
    each_pair(pixels, c1, c2, [=](Long i, Long j, Long k) { out[i] = j < 0 ? second[k] : first[j]; });
}

template <class T>
__device__ void part(const T* joint, T* first, T* second, int pixels, int c1, int c2) {
    each_pair(pixels, c1, c2, [=](Long i, Long j, Long k) { (j < 0 ? second[k] : first[j]) = joint[i]; });
}

template <class T>
__device__ Vector* vectors(T* array) { return reinterpret_cast<Vector*>(array); }
template <class T>
__device__ const Vector* vectors(const T* array) { return reinterpret_cast<const Vector*>(array); }

extern "C" __global__ void forward(
    const REAL* first, const REAL* second, REAL* out, int pixels, int c1, int c2) {
    if (aligned(first, second, out) && c1 % WIDTH == 0 && c2 % WIDTH == 0)
        join(vectors(first), vectors(second), vectors(out), pixels, c1 / WIDTH, c2 / WIDTH);
    else
        join(first, second, out, pixels, c1, c2);
}

extern "C" __global__ void backward(
    const REAL* error, REAL* first, REAL* second, int pixels, int c1, int c2) {
    if (aligned(error, first, second) && c1 % WIDTH == 0 && c2 % WIDTH == 0)
        part(vectors(error), vectors(first), vectors(second), pixels, c1 / WIDTH, c2 / WIDTH);
    else
        part(error, first, second, pixels, c1, c2);
}
