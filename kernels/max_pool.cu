// Max pooling without padding; compare max_pool.py. The place of a maximum is stored as y·size + x in its window. A
// thread takes N channels, a vector or one, of an output pixel in the forward pass and of a tile of data pixels in the
// backward pass.
#include "windows.cuh"

// Writes the maximum of each window, where nan counts as largest, and its place. A block takes some pixels of one row
// of the output.
template <int SIZE, int STRIDE, int N, class Index>
__device__ void maxima(
    int any_size, int any_stride, const REAL* data, REAL* out, Index* argmax, int y, int x, int channels, int out_y,
    int out_x) {
    int size = SIZE ? SIZE : any_size, stride = STRIDE ? STRIDE : any_stride;
    Long sample = blockIdx.x / out_y, row = blockIdx.x % out_y;
    each_pixel<N>(out_x, channels, [=](int column, int channel) {
        const REAL* window = data + ((sample * y + row * stride) * x + column * stride) * channels + channel;
        Several<REAL, N> best = several<N>(window);
        Several<Index, N> place = {};
        for (int dx = 0; dx < size; dx++)  // column by column: of equal elements, the same one wins as on the CPU
            for (int dy = 0; dy < size; dy++) {
                Several<REAL, N> other = several<N>(window + (Long(dy) * x + dx) * channels);
                for (int k = 0; k < N; k++)
                    if (other.at[k] > best.at[k] || isnan(other.at[k]))
                        best.at[k] = other.at[k], place.at[k] = dy * size + dx;
            }
        Long at = (blockIdx.x * Long(out_x) + column) * channels + channel;
        keep(best, out + at);
        keep(place, argmax + at);
    });
}

// The adjoint: each pixel gets the sum of the errors of the windows whose maximum it is.
template <int SIZE, int STRIDE, int N, class Index>
__device__ void spread(
    int any_size, int any_stride, const REAL* __restrict__ error, const Index* __restrict__ argmax,
    REAL* __restrict__ out, int y, int x, int channels, int out_y, int out_x) {
    int size = SIZE ? SIZE : any_size, stride = STRIDE ? STRIDE : any_stride;
    Windows rows = {size, stride, out_y}, columns = {size, stride, out_x};
    each_pixel_of_tiles<N>(stride, y, x, channels, [=](Long sample, Place row, Place column, int channel) {
        Several<REAL, N> sum = {};
        each_window(rows, columns, row, column, [&](int v, int u, int tap) {
            Long at = ((sample * out_y + v) * out_x + u) * channels + channel;
            Several<REAL, N> more = several<N>(error + at);
            Several<Index, N> place = several<N>(argmax + at);
            for (int k = 0; k < N; k++) sum.at[k] += int(place.at[k]) == tap ? more.at[k] : REAL(0);
        });
        Long pixel = (sample * y + row.window * stride + row.offset) * x + column.window * stride + column.offset;
        keep(sum, out + pixel * channels + channel);
    });
}

#define MAX_POOL(NAME, INDEX, SIZE, STRIDE, N)                                                                        \
    extern "C" __global__ void forward_##NAME(                                                                        \
        const REAL* data, REAL* out, INDEX* argmax, int size, int stride, int y, int x, int channels, int out_y,      \
        int out_x) {                                                                                                  \
        maxima<SIZE, STRIDE, N>(size, stride, data, out, argmax, y, x, channels, out_y, out_x);                       \
    }                                                                                                                 \
    extern "C" __global__ void backward_##NAME(                                                                       \
        const REAL* __restrict__ error, const INDEX* __restrict__ argmax, REAL* __restrict__ out, int size,           \
        int stride, int y, int x, int channels, int out_y, int out_x) {                                               \
        spread<SIZE, STRIDE, N>(size, stride, error, argmax, out, y, x, channels, out_y, out_x);                      \
    }

// For each type of the places, see index_type in windows.py. The windows of the nets are small, so their sizes are
// constants for uint8 alone.
#define UINT8(KIND, SIZE, STRIDE, N) MAX_POOL(uint8_##KIND, unsigned char, SIZE, STRIDE, N)
EACH_KIND(UINT8)
MAX_POOL(uint16_one, unsigned short, 0, 0, 1)
MAX_POOL(uint16_vector, unsigned short, 0, 0, WIDTH)
MAX_POOL(uint32_one, unsigned int, 0, 0, 1)
MAX_POOL(uint32_vector, unsigned int, 0, 0, WIDTH)
