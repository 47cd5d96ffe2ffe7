// The windows of a pooling along one axis: ``size`` pixels each, the first at 0, one every ``stride`` pixels.
#include "common.cuh"

struct Windows { int size, stride, count; };

// The first and the last window that see a pixel; there may be none, and then the first is behind the last.
__device__ int first_window(Windows windows, int pixel) {
    return pixel < windows.size ? 0 : (pixel - windows.size) / windows.stride + 1;
}

__device__ int last_window(Windows windows, int pixel) {
    return min(pixel / windows.stride, windows.count - 1);
}

// f(v, u) for the windows, v along y and u along x, that see the pixel (row, column).
template <class F>
__device__ void each_window(Windows rows, Windows columns, int row, int column, F f) {
    for (int v = first_window(rows, row); v <= last_window(rows, row); v++)
        for (int u = first_window(columns, column); u <= last_window(columns, column); u++) f(v, u);
}

// f(column, channel) for the pixels of a row, which all blocks with one blockIdx.x share, each for N channels from
// ``channel`` on.
template <int N, class F>
__device__ void each_pixel(int pixels, int channels, F f) {
    int units = channels / N;
    each_in_row(pixels * units, [=](int i) { f(i / units, i % units * N); });
}

// Calls F<SIZE, N>::run(args…): N channels for each thread, one or WIDTH, and the size of a window, where the compiler
// can know it, or 0.
template <template <int, int> class F, class... Args>
__device__ void with_window(int size, int lanes, Args... args) {
    if (lanes == 1) F<0, 1>::run(size, args...);
    else if (size == 2) F<2, WIDTH>::run(size, args...);
    else if (size == 3) F<3, WIDTH>::run(size, args...);
    else F<0, WIDTH>::run(size, args...);
}
