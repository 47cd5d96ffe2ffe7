// Max pooling without padding; compare max_pool.py. The place of a maximum is remembered as y·size + x in its window.
#include "windows.cuh"

// A block takes some of a row of outputs.
template <class Index>
__device__ void maxima(
    const REAL* data, REAL* out, Index* argmax, int size, int stride, int y, int x, int channels, int out_y,
    int out_x) {
    Long sample = blockIdx.x / out_y, row = blockIdx.x % out_y;
    each_in_row(out_x * channels, [=](int i) {
        int column = i / channels, channel = i % channels;
        const REAL* window = data + ((sample * y + row * stride) * x + column * stride) * channels + channel;
        REAL best = window[0];
        int place = 0;
        for (int dx = 0; dx < size; dx++)  // column by column: of equals the same one as on the CPU
            for (int dy = 0; dy < size; dy++) {
                REAL other = window[(Long(dy) * x + dx) * channels];
                if (other > best || isnan(other)) best = other, place = dy * size + dx;
            }
        Long at = blockIdx.x * Long(out_x) * channels + i;
        out[at] = best, argmax[at] = place;
    });
}

// A block takes some of a row of pixels. Each gathers from the windows whose maximum it is.
template <class Index>
__device__ void spread(
    const REAL* error, const Index* argmax, REAL* out, int size, int stride, int y, int x, int channels,
    int out_y, int out_x) {
    Windows rows = {size, stride, out_y}, columns = {size, stride, out_x};
    Long sample = blockIdx.x / y;
    int row = blockIdx.x % y;
    each_in_row(x * channels, [=](int i) {
        int column = i / channels, channel = i % channels;
        out[blockIdx.x * Long(x) * channels + i] = sum_windows(rows, columns, row, column, [=](int v, int u) {
            Long at = ((sample * out_y + v) * out_x + u) * channels + channel;
            return argmax[at] == (row - v * stride) * size + column - u * stride ? error[at] : REAL(0);
        });
    });
}

// forward and backward for windows whose elements a type can count, see argmax_type in max_pool.py.
#define MAX_POOL(NAME, INDEX)                                                                                         \
    extern "C" __global__ void forward_##NAME(                                                                        \
        const REAL* data, REAL* out, INDEX* argmax, int size, int stride, int y, int x, int channels, int out_y,      \
        int out_x) {                                                                                                  \
        maxima(data, out, argmax, size, stride, y, x, channels, out_y, out_x);                                        \
    }                                                                                                                 \
    extern "C" __global__ void backward_##NAME(                                                                       \
        const REAL* error, const INDEX* argmax, REAL* out, int size, int stride, int y, int x, int channels,          \
        int out_y, int out_x) {                                                                                       \
        spread(error, argmax, out, size, stride, y, x, channels, out_y, out_x);                                       \
    }

MAX_POOL(uint8, unsigned char)
MAX_POOL(uint16, unsigned short)
MAX_POOL(uint32, unsigned int)
