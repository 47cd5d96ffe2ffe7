// The windows of a pooling or a convolution along one axis: ``size`` pixels each, the first at 0, one every ``stride``
// pixels.
#include "common.cuh"

struct Windows { int size, stride, count; };

// Whether a window that does not begin behind a pixel sees it.
__device__ bool sees(Windows windows, int window, int pixel) {
    return window >= 0 && window < windows.count && pixel - window * windows.stride < windows.size;
}

// f(v, u) for the windows, v along y and u along x, that see the pixel (row, column). Where the compiler knows size and
// stride, it knows how many these may be, too, and leaves no loop: none but one, where windows do not overlap.
template <class F>
__device__ void each_window(Windows rows, Windows columns, int row, int column, F f) {
    for (int i = (rows.size - 1) / rows.stride; i >= 0; i--) {
        int v = row / rows.stride - i;
        if (!sees(rows, v, row)) continue;
        for (int j = (columns.size - 1) / columns.stride; j >= 0; j--) {
            int u = column / columns.stride - j;
            if (sees(columns, u, column)) f(v, u);
        }
    }
}

// KERNEL(KIND, SIZE, STRIDE, N) for N channels of a thread, one or WIDTH, and for the windows of the nets, or 0 for all
// others: kernels of their own, since one for all would need the registers of the largest. Named by gpu/windows.py.
#define EACH_KIND(KERNEL)                                                                                             \
    KERNEL(one, 0, 0, 1) KERNEL(vector, 0, 0, WIDTH) KERNEL(vector_2_2, 2, 2, WIDTH) KERNEL(vector_3_2, 3, 2, WIDTH)
