// Arrays of different extents, where missing elements count as zero; compare extents.py. A block takes some pixels of a
// row of the output, a thread ``lanes`` channels of each: a vector or one.
#include "common.cuh"

struct Extents { int y, x, c; };

// N channels of a pixel of the block's row, or zeros if they lie outside of the array. As N divides the channels of
// every array, the N channels are all inside or all outside.
template <int N>
__device__ Several<REAL, N> at(const REAL* source, Extents extents, int out_y, int x, int c) {
    Long sample = blockIdx.x / out_y;
    int y = blockIdx.x % out_y;
    bool inside = y < extents.y && x < extents.x && c < extents.c;
    if (!inside) return {};
    return several<N>(source + ((sample * extents.y + y) * extents.x + x) * extents.c + c);
}

template <int N>
__device__ void copy_row(const REAL* source, REAL* out, Extents from, Extents to) {
    each_pixel<N>(to.x, to.c, [=](int x, int c) {
        keep(at<N>(source, from, to.y, x, c), out + (blockIdx.x * Long(to.x) + x) * to.c + c);
    });
}

template <int N>
__device__ void add_row(const REAL* first, const REAL* second, REAL* out, Extents one, Extents two, Extents to) {
    each_pixel<N>(to.x, to.c, [=](int x, int c) {
        Several<REAL, N> sum = at<N>(first, one, to.y, x, c), more = at<N>(second, two, to.y, x, c);
        for (int k = 0; k < N; k++) sum.at[k] += more.at[k];
        keep(sum, out + (blockIdx.x * Long(to.x) + x) * to.c + c);
    });
}

extern "C" __global__ void copy(
    const REAL* source, REAL* out, int y, int x, int c, int out_y, int out_x, int out_c, int lanes) {
    if (lanes == 1) copy_row<1>(source, out, {y, x, c}, {out_y, out_x, out_c});
    else copy_row<WIDTH>(source, out, {y, x, c}, {out_y, out_x, out_c});
}

extern "C" __global__ void add_extended(
    const REAL* first, const REAL* second, REAL* out, int y1, int x1, int c1, int y2, int x2, int c2, int out_y,
    int out_x, int out_c, int lanes) {
    Extents one = {y1, x1, c1}, two = {y2, x2, c2}, to = {out_y, out_x, out_c};
    if (lanes == 1) add_row<1>(first, second, out, one, two, to);
    else add_row<WIDTH>(first, second, out, one, two, to);
}

extern "C" __global__ void add(const REAL* first, const REAL* second, REAL* out, Long size) {
    map(size, out, [](REAL x, REAL y) { return x + y; }, first, second);
}
