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

// The sum of f(v, u) over the windows, v along y and u along x, that see the pixel (row, column).
template <class F>
__device__ REAL sum_windows(Windows rows, Windows columns, int row, int column, F f) {
    REAL sum = 0;
    for (int v = first_window(rows, row); v <= last_window(rows, row); v++)
        for (int u = first_window(columns, column); u <= last_window(columns, column); u++) sum += f(v, u);
    return sum;
}
