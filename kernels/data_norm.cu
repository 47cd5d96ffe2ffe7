// Batch, layer, instance and group normalization of the data, with γ and β; compare data_norm.py.
//
// Statistics [mean, variance, scale] and sums [Σ error, Σ error·x̂] are double, with one number for each channel of
// each matrix; ``stride`` is the number of all these channels, and so the distance from one statistic to the next.
#include "groups.cuh"

// Writes the mean μ, the variance σ² and the scale 1/√(σ² + ε) of a group of n elements for each of its channels; the
// scale of a group of one element is 0, so that x̂ is 0. with_running: the running statistics move by 1/(updates + 1)
// towards the mean and the unbiased variance.
extern "C" __global__ void statistics(
    const double* parts, int pieces, int columns, int channels, int width, double n, double epsilon, double* found,
    int stride, int with_running, REAL* running_mean, REAL* running_variance, const Long* updates) {
    Sums sums = group_sums(parts, pieces, columns, channels, width);
    double mean = sums.x / n, variance = sums.xy / n - mean * mean;
    variance = variance < 0 ? 0 : variance;
    double scale = n > 1 ? 1 / sqrt(variance + epsilon) : 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        int at = own_group() * width + i;
        found[at] = mean, found[stride + at] = variance, found[2 * stride + at] = scale;
    }
    if (threadIdx.x || !with_running) return;
    int channel = own_group();
    double factor = 1.0 / (updates[0] + 1);
    running_mean[channel] += factor * (mean - running_mean[channel]);
    running_variance[channel] += factor * (variance * n / (n - 1) - running_variance[channel]);
}

// out = γ·x̂ + β; with_relu: the maximum of that and 0. with_running: the batch is counted in ``updates``. This cannot
// be done in ``statistics``, where other blocks may still have to read the old number.
extern "C" __global__ void __launch_bounds__(256, 3) forward(
    const REAL* x, const double* mean, const double* scale, const REAL* gamma, const REAL* beta, REAL* out,
    int with_relu, int with_running, Long* updates, int window, Long length, int columns, int channels, int rows) {
    bool first_of_all = blockIdx.x + blockIdx.y + blockIdx.z + threadIdx.x == 0;
    if (with_running && first_of_all) updates[0] = min(updates[0] + 1, Long(window));
    int first = blockIdx.x * channels;
    change_columns(x, x, out, length, columns, channels, rows, with_relu, [=](int channel) {
        int at = first + channel;
        return Affine(scale[at] * gamma[channel], mean[at], 0, beta[channel]);
    });
}

// out = factor·x + offset of each channel; with_relu: the maximum of that and 0.
extern "C" __global__ void __launch_bounds__(256, 3) inference(
    const REAL* x, const REAL* factor, const REAL* offset, REAL* out, int with_relu, Long length, int columns,
    int channels, int rows) {
    change_columns(x, x, out, length, columns, channels, rows, with_relu, [=](int channel) {
        return Affine(factor[channel], 0, 0, offset[channel]);
    });
}

// Writes Σ error and Σ error·x̂ of each channel. ``parts`` has Σ error and Σ error·x, and
//
//     Σ error·x̂ = (Σ error·x − μ·Σ error)·scale
//
// If there is only one matrix, these are the gradients of β and γ.
extern "C" __global__ void comp_grads(
    const double* parts, int pieces, int columns, int channels, int width, const double* mean, const double* scale,
    double* sums, int stride, REAL* gamma_grads, REAL* beta_grads) {
    Sums found = group_sums(parts, pieces, columns, channels, width);
    if (threadIdx.x) return;
    int at = own_group();
    double of_beta = found.x, of_gamma = (found.xy - mean[at] * found.x) * scale[at];
    sums[at] = of_beta, sums[stride + at] = of_gamma;
    if (stride == channels) beta_grads[at] = of_beta, gamma_grads[at] = of_gamma;
}

// The gradients of γ and β with several matrices: the sums over all of them. Each block adds up one channel.
extern "C" __global__ void comp_grads_of_matrices(
    const double* sums, REAL* gamma_grads, REAL* beta_grads, int matrices, int channels) {
    const double *of_beta = sums + blockIdx.x, *of_gamma = of_beta + Long(matrices) * channels;
    double beta = 0, gamma = 0;
    for (int i = threadIdx.x; i < matrices; i += blockDim.x)
        beta += of_beta[i * Long(channels)], gamma += of_gamma[i * Long(channels)];
    beta = block_sum(beta), gamma = block_sum(gamma);
    if (threadIdx.x == 0) beta_grads[blockIdx.x] = beta, gamma_grads[blockIdx.x] = gamma;
}

// scale·(γ·error − mean(γ·error) − x̂·mean(γ·error·x̂)) as an affine map of the data x and the error y.
__device__ Affine backward_of(double scale, double mean, double gamma, double mean_of_error, double mean_of_products) {
    return {-scale * scale * mean_of_products, mean, scale * gamma, -scale * mean_of_error};
}

// Writes ∂L/∂x for groups of one channel; share: 1/n, with n the number of elements of a group.
extern "C" __global__ void __launch_bounds__(256, 3) backward(
    const REAL* x, const REAL* error, const double* sums, const double* mean, const double* scale, int stride,
    const REAL* gamma, double share, REAL* out, Long length, int columns, int channels, int rows) {
    int first = blockIdx.x * channels;
    change_columns(x, error, out, length, columns, channels, rows, false, [=](int channel) {
        int at = first + channel;
        double factor = gamma[channel] * share;
        return backward_of(scale[at], mean[at], gamma[channel], factor * sums[at], factor * sums[stride + at]);
    });
}

// Writes the affine map of each channel for groups of several channels; a block takes one group of n elements.
extern "C" __global__ void backward_affines(
    const double* sums, const double* mean, const double* scale, int stride, const REAL* gamma, int channels, int width,
    double n, Affine* affines) {
    Sums total = {0, 0};
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        int at = blockIdx.x * width + i;
        total.x += gamma[at % channels] * sums[at], total.xy += gamma[at % channels] * sums[stride + at];
    }
    double mean_of_error = block_sum(total.x) / n, mean_of_products = block_sum(total.xy) / n;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        int at = blockIdx.x * width + i;
        affines[at] = backward_of(scale[at], mean[at], gamma[at % channels], mean_of_error, mean_of_products);
    }
}
