// The windows of a pooling or a convolution along one axis: ``count`` windows of ``size`` pixels each, which begin at
// the pixels 0, stride, 2·stride, …
#include "common.cuh"

struct Windows { int size, stride, count; };

// Pixel window·stride + offset of that axis, 0 ≤ offset < stride; ``window`` may be ``count`` or more.
struct Place { int window, offset; };

// Calls f(v, u, tap) for each window that contains a pixel, number v along y and u along x; tap: the number of the
// pixel in the window, counted row by row. If sizes and strides are constants, the compiler unrolls both loops.
template <class F>
__device__ void each_window(Windows rows, Windows columns, Place y, Place x, F f) {
    for (int i = (rows.size - 1) / rows.stride; i >= 0; i--) {
        int v = y.window - i, dy = y.offset + i * rows.stride;
        if (dy >= rows.size || v < 0 || v >= rows.count) continue;
#pragma unroll 2  // 3 were slower in im2col's scatter
        for (int j = (columns.size - 1) / columns.stride; j >= 0; j--) {
            int u = x.window - j, dx = x.offset + j * columns.stride;
            if (dx < columns.size && u >= 0 && u < columns.count) f(v, u, dy * columns.size + dx);
        }
    }
}

// Calls f(sample, y, x, channel) for all pixels of the images, y and x being Places, and every N channels. A thread
// takes a tile of stride × stride pixels, which have most of their windows in common; a block takes some tiles of a row
// of tiles.
template <int N, class F>
__device__ void each_pixel_of_tiles(int stride, int height, int width, int channels, F f) {
    int tiles = (height + stride - 1) / stride, v = blockIdx.x % tiles;
    Long sample = blockIdx.x / tiles;
    each_pixel<N>((width + stride - 1) / stride, channels, [=](int u, int channel) {
        for (int dy = 0; dy < stride && v * stride + dy < height; dy++)
            for (int dx = 0; dx < stride && u * stride + dx < width; dx++)
                f(sample, Place{v, dy}, Place{u, dx}, channel);
    });
}

// KERNEL(KIND, SIZE, STRIDE, N) for each kind of kernel: N, the channels of a thread, is 1 or WIDTH; SIZE and STRIDE
// are constants for the windows of the nets, and 0 for all others. These are separate kernels, because a common one
// would need as many registers as the largest of them. gpu/windows.py has the names of the kinds.
#define EACH_KIND(KERNEL)                                                                                             \
    KERNEL(one, 0, 0, 1) KERNEL(vector, 0, 0, WIDTH) KERNEL(vector_2_2, 2, 2, WIDTH) KERNEL(vector_3_2, 3, 2, WIDTH)
