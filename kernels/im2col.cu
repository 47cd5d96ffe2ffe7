// The columns of gpu/im2col.py: ``gather`` writes each window of the data as a row of a matrix, ``scatter`` is its
// adjoint.
//
//     columns[p − first, i, j, c] = data[s, y·step_y + i − pad_y, x·step_x + j − pad_x, c]
//
// for the output pixels p = (s, y, x) from first to first + count − 1; zero outside of the image. A thread takes a
// ``Unit`` of the channels of a pixel: one channel or a Vector.
#include "windows.cuh"

struct Geometry {
    int height, width, channels;    // of the data, channels in units
    int out_height, out_width;
    int kernel_y, kernel_x, step_y, step_x, pad_y, pad_x;
};

__device__ void add(REAL& sum, REAL value) { sum += value; }
__device__ void add(Vector& sum, const Vector& value) {
    for (int k = 0; k < WIDTH; k++) sum.at[k] += value.at[k];
}

// A block has blockDim.y output pixels, and so windows. The part of a data row that lies in a window is contiguous in
// the data and in the columns: the threads along threadIdx.x copy it, each the same place in all rows of the window.
template <typename Unit>
__device__ void gather(const Unit* data, Unit* columns, Long first, Long count, Geometry g) {
    Long row = (Long)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= count) return;
    Long pixel = first + row;
    int x = (int)(pixel % g.out_width) * g.step_x - g.pad_x;
    int y = (int)(pixel / g.out_width % g.out_height) * g.step_y - g.pad_y;
    const Unit* image = data + pixel / g.out_width / g.out_height * g.height * g.width * g.channels;
    int wide = g.kernel_x * g.channels;
    int left = max(0, -x) * g.channels, right = min(g.kernel_x, g.width - x) * g.channels;  // inside of the image
    for (int at = threadIdx.x; at < wide; at += blockDim.x) {
        bool inside = at >= left && at < right;
        const Unit* from = image + ((Long)y * g.width + x) * g.channels + at;
        Unit* to = columns + row * g.kernel_y * wide + at;
#pragma unroll 3
        for (int i = 0; i < g.kernel_y; i++) {
            Unit value = {};
            if (inside && y + i >= 0 && y + i < g.height) value = from[(Long)i * g.width * g.channels];
            to[i * wide] = value;
        }
    }
}

// A block takes some data pixels of the row start + blockIdx.x. Each thread adds up the elements of all windows that
// belong to its own data element. So no two threads add to the same element, and the order of each sum is always the
// same. more: add to the data instead of overwriting them.
template <typename Unit>
__device__ void scatter(const Unit* columns, Unit* data, Long first, Long count, Long start, int more, Geometry g) {
    Windows down = {g.kernel_y, g.step_y, g.out_height}, across = {g.kernel_x, g.step_x, g.out_width};
    Long row = start + blockIdx.x, image = row / g.height * g.out_height * g.out_width - first;
    int y = int(row % g.height) + g.pad_y, window = g.kernel_y * g.kernel_x * g.channels;
    Place line = {y / g.step_y, y % g.step_y};
    // Whether all windows that contain the row are in this chunk, which is true except at the ends of a chunk.
    bool all = image + Long(max(line.window - (g.kernel_y - 1) / g.step_y, 0)) * g.out_width >= 0 &&
               image + Long(min(line.window + 1, g.out_height)) * g.out_width <= count;
    each_pixel<1>(g.width, g.channels, [=](int column, int c) {
        Unit* to = data + (row * g.width + column) * g.channels + c;
        Unit sum = {};
        if (more) sum = *to;
        int x = column + g.pad_x;
        Place place = {x / g.step_x, x % g.step_x};
        each_window(down, across, line, place, [&](int v, int u, int tap) {
            Long at = image + Long(v) * g.out_width + u;
            if (all || (at >= 0 && at < count)) add(sum, columns[at * window + tap * g.channels + c]);
        });
        *to = sum;
    });
}

#define GEOMETRY                                                                                                      \
    int height, int width, int channels, int out_height, int out_width, int kernel_y, int kernel_x,                   \
        int step_y, int step_x, int pad_y, int pad_x
#define SAME {height, width, channels, out_height, out_width, kernel_y, kernel_x, step_y, step_x, pad_y, pad_x}

extern "C" __global__ void gather_one(const REAL* data, REAL* columns, Long first, Long count, GEOMETRY) {
    gather(data, columns, first, count, SAME);
}

extern "C" __global__ void gather_vector(const REAL* data, REAL* columns, Long first, Long count, GEOMETRY) {
    gather((const Vector*)data, (Vector*)columns, first, count, SAME);
}

extern "C" __global__ void scatter_one(
    const REAL* columns, REAL* data, Long first, Long count, Long start, int more, GEOMETRY) {
    scatter(columns, data, first, count, start, more, SAME);
}

extern "C" __global__ void scatter_vector(
    const REAL* columns, REAL* data, Long first, Long count, Long start, int more, GEOMETRY) {
    scatter((const Vector*)columns, (Vector*)data, first, count, start, more, SAME);
}
