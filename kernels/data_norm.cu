// Batch, layer, instance and group normalization of the data, with γ and β; compare data_norm.py.
//
// Statistics and sums are double, for each channel of each matrix; ``stride`` is the number of these, the distance from
// one statistic to the next: [mean, variance, scale] and [Σ error, Σ error·x̂].
#include "groups.cuh"

// The mean, the variance and 1/√(σ² + ε), or 0 of one element, of a group of n elements, for each of its channels, and
// the affine maps γ·x̂ + β.
extern "C" __global__ void forward(
    const double* parts, int pieces, int columns, int channels, int width, double n, const REAL* gamma,
    const REAL* beta, double epsilon, double* statistics, int stride, Affine* affines) {
    Sums sums = group_sums(parts, pieces, columns, channels, width);
    double mean = sums.x / n, variance = sums.xy / n - mean * mean;
    variance = variance < 0 ? 0 : variance;
    double scale = n > 1 ? 1 / sqrt(variance + epsilon) : 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        int at = own_group() * width + i, channel = at % channels;
        statistics[at] = mean, statistics[stride + at] = variance, statistics[2 * stride + at] = scale;
        affines[at] = {scale * gamma[channel], mean, 0, beta[channel]};
    }
}

// Running statistics, moved by 1/(updates + 1) towards a batch's mean and unbiased variance; one block.
extern "C" __global__ void track(
    const double* mean, const double* variance, REAL* running_mean, REAL* running_variance, Long* updates, int channels,
    double rows, int window) {
    double factor = 1.0 / (updates[0] + 1);
    for (int i = threadIdx.x; i < channels; i += blockDim.x) {
        running_mean[i] += factor * (mean[i] - running_mean[i]);
        running_variance[i] += factor * (variance[i] * rows / (rows - 1) - running_variance[i]);
    }
    __syncthreads();
    if (threadIdx.x == 0) updates[0] = min(updates[0] + 1, Long(window));
}

// out = factor·x + offset of each channel; with_relu: the maximum of that and 0.
extern "C" __global__ void __launch_bounds__(256, 3) inference(
    const REAL* x, const REAL* factor, const REAL* offset, REAL* out, int with_relu, Long length, int columns,
    int channels, int rows) {
    change_columns(x, x, out, length, columns, channels, rows, with_relu, [=](int channel) {
        return Affine(factor[channel], 0, 0, offset[channel]);
    });
}

// Σ error and Σ error·x̂ of each channel, from Σ error and Σ error·x.
extern "C" __global__ void error_sums(
    const double* parts, int pieces, int columns, int channels, int width, const double* mean, const double* scale,
    double* sums, int stride) {
    Sums found = group_sums(parts, pieces, columns, channels, width);
    if (threadIdx.x) return;
    int at = own_group();
    sums[at] = found.x;
    sums[stride + at] = (found.xy - mean[at] * found.x) * scale[at];
}

// The gradients of γ and β: the sums over all matrices.
extern "C" __global__ void comp_grads(
    const double* sums, REAL* gamma_grads, REAL* beta_grads, int matrices, int channels) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    const double *of_beta = sums + channel, *of_gamma = of_beta + Long(matrices) * channels;
    double beta = 0, gamma = 0;
    for (int i = 0; i < matrices; i++) beta += of_beta[i * Long(channels)], gamma += of_gamma[i * Long(channels)];
    beta_grads[channel] = beta, gamma_grads[channel] = gamma;
}

// The affine maps scale·(γ·error − mean(γ·error) − x̂·mean(γ·error·x̂)) of each channel, x being the data, y the error; a
// block takes a group of n elements.
extern "C" __global__ void backward(
    const double* sums, const double* mean, const double* scale, int stride, const REAL* gamma, int channels, int width,
    double n, Affine* affines) {
    Sums total = {0, 0};
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        int at = blockIdx.x * width + i;
        total.x += gamma[at % channels] * sums[at], total.xy += gamma[at % channels] * sums[stride + at];
    }
    double of_error = block_sum(total.x) / n, along = block_sum(total.xy) / n;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        int at = blockIdx.x * width + i;
        double factor = scale[at];
        affines[at] = {-factor * factor * along, mean[at], factor * gamma[at % channels], -factor * of_error};
    }
}
