// Center, standardize and rescale, and their adjoints; compare normalize.py.
//
// Each of the five functions (center is its own adjoint) gets Σx and Σx·y of a group of n elements and returns the
// affine map by which the group is changed, of_x·(x − mean) + of_y·y. In the transforms y is x; in the adjoints x is
// the error and y the output of the transform. A transform writes of_x as its ``scale``, and its adjoint gets this
// scale:
//
//     center               x − μ
//     standardize          scale·(x − μ)                        scale = 1/√(σ² + ε)
//     standardize_adjoint  scale·(x − mean(x) − y·mean(x·y))
//     rescale              scale·x                              scale = k/√(‖x‖² + ε)
//     rescale_adjoint      scale·(x − y·sum(x·y)/k²)
#include "groups.cuh"

__device__ Affine center(Sums sums, double n, double, double, double) {
    return {1, sums.x / n, 0, 0};
}

__device__ Affine standardize(Sums sums, double n, double, double epsilon, double) {
    double mean = sums.x / n, variance = sums.xy / n - mean * mean;
    double scale = 1 / sqrt((variance < 0 ? 0 : variance) + epsilon);
    return {scale, mean, 0, 0};
}

__device__ Affine standardize_adjoint(Sums sums, double n, double, double, double scale) {
    double mean = sums.x / n, slope = sums.xy / n;
    return {scale, mean, -scale * slope, 0};
}

__device__ Affine rescale(Sums sums, double, double k, double epsilon, double) {
    return {k / sqrt(sums.xy + epsilon), 0, 0, 0};
}

__device__ Affine rescale_adjoint(Sums sums, double, double k, double, double scale) {
    double radial = sums.xy / (k * k);
    return {scale, 0, -scale * radial, 0};
}

// NAME_group sums and changes groups that fit into the registers of a block. For all others, NAME_affines writes the
// maps by which ``change`` in groups.cuh changes them, from the partial sums of ``sums``.
#define TRANSFORM(NAME)                                                                                               \
    extern "C" __global__ void __launch_bounds__(512) NAME##_group(                                                   \
        const REAL* x, const REAL* y, REAL* out, REAL* scale, double k, double epsilon, int length) {                 \
        auto affine_of = [=](Sums sums) { return NAME(sums, length, k, epsilon, scale[blockIdx.x]); };                \
        bool whole = aligned(x, y, out) && length % WIDTH == 0;                                                       \
        Affine affine = whole ? change_group<true>(x, y, out, length, affine_of)                                      \
                              : change_group<false>(x, y, out, length, affine_of);                                    \
        if (threadIdx.x == 0) scale[blockIdx.x] = affine.of_x;                                                        \
    }                                                                                                                 \
    extern "C" __global__ void NAME##_affines(                                                                        \
        const double* parts, int pieces, int columns, int channels, int width, double n, Affine* affines, REAL* scale,\
        double k, double epsilon) {                                                                                   \
        Sums sums = group_sums(parts, pieces, columns, channels, width);                                              \
        if (threadIdx.x) return;                                                                                      \
        int group = own_group();                                                                                      \
        affines[group] = NAME(sums, n, k, epsilon, scale[group]);                                                     \
        scale[group] = affines[group].of_x;                                                                           \
    }

TRANSFORM(center)
TRANSFORM(standardize)
TRANSFORM(standardize_adjoint)
TRANSFORM(rescale)
TRANSFORM(rescale_adjoint)
