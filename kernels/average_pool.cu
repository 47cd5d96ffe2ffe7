// Average pooling without padding; compare average_pool.py. A thread takes N channels of a pixel: a vector of them, or
// one.
#include "windows.cuh"

// A block takes some of a row of outputs.
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

// A block takes some of a row of pixels. Each gathers from the windows that see it.
template <int SIZE, int STRIDE, int N>
__device__ void shares(
    int any_size, int any_stride, const REAL* error, REAL* out, int y, int x, int channels, int out_y, int out_x) {
    int size = SIZE ? SIZE : any_size, stride = STRIDE ? STRIDE : any_stride;
    Windows rows = {size, stride, out_y}, columns = {size, stride, out_x};
    Long sample = blockIdx.x / y;
    int row = blockIdx.x % y;
    each_pixel<N>(x, channels, [=](int column, int channel) {
        Several<REAL, N> sum = {};
        each_window(rows, columns, row, column, [&](int v, int u) {
            Several<REAL, N> more = several<N>(error + ((sample * out_y + v) * out_x + u) * channels + channel);
            for (int k = 0; k < N; k++) sum.at[k] += more.at[k];
        });
        for (int k = 0; k < N; k++) sum.at[k] /= size * size;
        keep(sum, out + (blockIdx.x * Long(x) + column) * channels + channel);
    });
}

#define AVERAGE_POOL(KIND, SIZE, STRIDE, N)                                                                           \
    extern "C" __global__ void forward_##KIND(                                                                        \
        const REAL* data, REAL* out, int size, int stride, int y, int x, int channels, int out_y, int out_x) {        \
        means<SIZE, STRIDE, N>(size, stride, data, out, y, x, channels, out_y, out_x);                                \
    }                                                                                                                 \
    extern "C" __global__ void backward_##KIND(                                                                       \
        const REAL* error, REAL* out, int size, int stride, int y, int x, int channels, int out_y, int out_x) {       \
        shares<SIZE, STRIDE, N>(size, stride, error, out, y, x, channels, out_y, out_x);                              \
    }

EACH_KIND(AVERAGE_POOL)

// A block takes 32 channels of a sample, 8 pixels at a time.
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

extern "C" __global__ void backward_global(const REAL* error, REAL* out, int plane, int channels) {
    int channel = blockIdx.y * 32 + threadIdx.x;
    if (channel >= channels) return;
    REAL share = error[blockIdx.x * Long(channels) + channel] / plane;
    REAL* pixels = out + blockIdx.x * Long(plane) * channels + channel;
    for (int i = threadIdx.y; i < plane; i += 8) pixels[Long(i) * channels] = share;
}
