// Arrays of different extents, where what is missing counts as zero; compare extents.py.
#include "common.cuh"

struct Extents { int y, x, c; };

__device__ REAL at(const REAL* source, Extents extents, Long sample, int y, int x, int c) {
    bool inside = y < extents.y && x < extents.x && c < extents.c;
    return inside ? source[((sample * extents.y + y) * extents.x + x) * extents.c + c] : REAL(0);
}

// A block takes some of a row of the output.
extern "C" __global__ void copy(
    const REAL* source, REAL* out, int y, int x, int c, int out_y, int out_x, int out_c) {
    Long sample = blockIdx.x / out_y;
    int row = blockIdx.x % out_y;
    each_in_row(out_x * out_c, [=](int i) {
        out[blockIdx.x * Long(out_x) * out_c + i] = at(source, {y, x, c}, sample, row, i / out_c, i % out_c);
    });
}

extern "C" __global__ void add_extended(
    const REAL* first, const REAL* second, REAL* out, int y1, int x1, int c1, int y2, int x2, int c2, int out_y,
    int out_x, int out_c) {
    Long sample = blockIdx.x / out_y;
    int row = blockIdx.x % out_y;
    each_in_row(out_x * out_c, [=](int i) {
        int x = i / out_c, c = i % out_c;
        REAL sum = at(first, {y1, x1, c1}, sample, row, x, c) + at(second, {y2, x2, c2}, sample, row, x, c);
        out[blockIdx.x * Long(out_x) * out_c + i] = sum;
    });
}

extern "C" __global__ void add(const REAL* first, const REAL* second, REAL* out, Long size) {
    map(size, out, [](REAL x, REAL y) { return x + y; }, first, second);
}
