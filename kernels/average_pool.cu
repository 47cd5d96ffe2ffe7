// Average pooling without padding; compare average_pool.py. A thread takes N channels, a vector or one, of an output
// pixel in the forward pass and of a tile of data pixels in the backward pass.
#include "windows.cuh"

// out = the mean of each window. A block takes some pixels of one row of the output.
template <int SIZE, int STRIDE, int N>
__device__ void means(
    int any_size, int any_stride, const REAL* data, REAL* out, int y, int x, int channels, int out_y, int out_x) {
    int size = SIZE ? SIZE : any_size, stride = STRIDE ? STRIDE : any_stride;
    Long sample = blockIdx.x / out_y, row = blockIdx.x % out_y;
    each_pixel<N>(out_x, channels, [=](int column, int channel) {
        const REAL* window = data + ((sample * y + row * stride) * x + column * stride) * channels + channel;
        Several<REAL, N> sum = {};
        for (int dy = 0; dy < size; dy++)
            for (int dx = 0; dx < size; dx++) {
                Several<REAL, N> more = several<N>(window + (Long(dy) * x + dx) * channels);
                for (int k = 0; k < N; k++) sum.at[k] += more.at[k];
            }
        for (int k = 0; k < N; k++) sum.at[k] /= size * size;
        keep(sum, out + (blockIdx.x * Long(out_x) + column) * channels + channel);
    });
}

// The adjoint: each pixel gets the sum of the errors of the windows that contain it, divided by the pixels of a window.
template <int SIZE, int STRIDE, int N>
__device__ void shares(
    int any_size, int any_stride, const REAL* __restrict__ error, REAL* __restrict__ out, int y, int x, int channels,
    int out_y, int out_x) {
    int size = SIZE ? SIZE : any_size, stride = STRIDE ? STRIDE : any_stride;
    Windows rows = {size, stride, out_y}, columns = {size, stride, out_x};
    REAL part = REAL(1) / (size * size);  // each number's division by 9 would be a function call
    each_pixel_of_tiles<N>(stride, y, x, channels, [=](Long sample, Place row, Place column, int channel) {
        Several<REAL, N> sum = {};
        each_window(rows, columns, row, column, [&](int v, int u, int) {
            Several<REAL, N> more = several<N>(error + ((sample * out_y + v) * out_x + u) * channels + channel);
            for (int k = 0; k < N; k++) sum.at[k] += more.at[k];
        });
        for (int k = 0; k < N; k++) sum.at[k] *= part;
        Long pixel = (sample * y + row.window * stride + row.offset) * x + column.window * stride + column.offset;
        keep(sum, out + pixel * channels + channel);
    });
}

#define AVERAGE_POOL(KIND, SIZE, STRIDE, N)                                                                           \
    extern "C" __global__ void forward_##KIND(                                                                        \
        const REAL* data, REAL* out, int size, int stride, int y, int x, int channels, int out_y, int out_x) {        \
        means<SIZE, STRIDE, N>(size, stride, data, out, y, x, channels, out_y, out_x);                                \
    }                                                                                                                 \
    extern "C" __global__ void backward_##KIND(                                                                       \
        const REAL* __restrict__ error, REAL* __restrict__ out, int size, int stride, int y, int x, int channels,     \
        int out_y, int out_x) {                                                                                       \
        shares<SIZE, STRIDE, N>(size, stride, error, out, y, x, channels, out_y, out_x);                              \
    }

EACH_KIND(AVERAGE_POOL)

// out = the mean of each plane (y, x). A block takes 32 channels of a sample, 8 pixels at a time.
extern "C" __global__ void forward_global(const REAL* data, REAL* out, int plane, int channels) {
    __shared__ REAL shared[8][32];
    int channel = blockIdx.y * 32 + threadIdx.x;
    const REAL* pixels = data + blockIdx.x * Long(plane) * channels + channel;
    REAL sum = 0;
    if (channel < channels)
        for (int i = threadIdx.y; i < plane; i += 8) sum += pixels[Long(i) * channels];
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || channel >= channels) return;
    for (int i = 1; i < 8; i++) sum += shared[i][threadIdx.x];
    out[blockIdx.x * Long(channels) + channel] = sum / plane;
}

// The adjoint: each pixel gets the error of its plane, divided by the pixels of a plane. A thread takes N channels of
// some pixels of a sample.
template <int N>
__device__ void spread_evenly(const REAL* error, REAL* out, int plane, int channels) {
    each_channel<N>(channels, [=](int channel) {
        Several<REAL, N> share = several<N>(error + blockIdx.x * Long(channels) + channel);
        for (int k = 0; k < N; k++) share.at[k] /= plane;
        REAL* to = out + blockIdx.x * Long(plane) * channels + channel;
        each_in_row(plane, [=](int pixel) { keep(share, to + Long(pixel) * channels); });
    });
}

extern "C" __global__ void backward_global_one(const REAL* error, REAL* out, int plane, int channels) {
    spread_evenly<1>(error, out, plane, channels);
}

extern "C" __global__ void backward_global_vector(const REAL* error, REAL* out, int plane, int channels) {
    spread_evenly<WIDTH>(error, out, plane, channels);
}
