// The windows of a pooling or a convolution along one axis: ``size`` pixels each, the first at 0, one every ``stride``
// pixels.
#include "common.cuh"

struct Windows { int size, stride, count; };

// Pixel window·stride + offset of that axis, 0 ≤ offset < stride; there may be no window of that number.
struct Place { int window, offset; };

// f(v, u, tap) for the windows, v along y and u along x, that see a pixel; tap: which element of the window the pixel
// is, counted row by row. Where the compiler knows sizes and strides, it leaves no loop.
template <class F>
__device__ void each_window(Windows rows, Windows columns, Place y, Place x, F f) {
    for (int i = (rows.size - 1) / rows.stride; i >= 0; i--) {
        int v = y.window - i, dy = y.offset + i * rows.stride;
        if (dy >= rows.size || v < 0 || v >= rows.count) continue;
#pragma unroll 2  // in im2col's scatter 3 at once were slower
        for (int j = (columns.size - 1) / columns.stride; j >= 0; j--) {
            int u = x.window - j, dx = x.offset + j * columns.stride;
            if (dx < columns.size && u >= 0 && u < columns.count) f(v, u, dy * columns.size + dx);
        }
    }
}

// f(sample, y, x, channel) for the pixels of images, at places y and x, and N of their channels each time. A thread takes
// a tile of stride × stride pixels, which the same windows see; a block takes some of a row of tiles.
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

// KERNEL(KIND, SIZE, STRIDE, N) for N channels of a thread, one or WIDTH, and for the windows of the nets, or 0 for all
// others: kernels of their own, since one for all would need the registers of the largest. Named by gpu/windows.py.
#define EACH_KIND(KERNEL)                                                                                             \
    KERNEL(one, 0, 0, 1) KERNEL(vector, 0, 0, WIDTH) KERNEL(vector_2_2, 2, 2, WIDTH) KERNEL(vector_3_2, 3, 2, WIDTH)
