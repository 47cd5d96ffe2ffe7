// The groups of a view (a, r, b, s) as matrices whose columns are summed and then changed; compare groups.py.
//
// There are ``a`` matrices of ``length`` elements each. A row of a matrix holds its channels, each group ``width`` of
// them, once or several times side by side: ``columns`` are a multiple of the channels that makes a row as long as a
// block is wide. The last row may be cut off.
//
// Sums are double throughout: even Σx² − (Σx)²/n of float data is then exact enough, without a guess of the mean.
#include "common.cuh"

struct Sums { double x, xy; };  // Σx and Σx·y

// How a group is changed: out = of_x·(x − mean) + of_y·y + offset.
struct Line {
    REAL of_x, mean, of_y, offset;
    Line() = default;
    __device__ Line(double of_x, double mean, double of_y, double offset)
        : of_x(of_x), mean(mean), of_y(of_y), offset(offset) {}
    __device__ REAL operator()(REAL x, REAL y) const { return of_x * (x - mean) + of_y * y + offset; }
};

constexpr int LANES = 32, ROWS = 8;  // of a block: LANES·WIDTH columns, ROWS rows at a time
constexpr int KEPT = 4;              // vectors of an array that a thread keeps in its registers

// A group that lies in one stretch and that the registers of a block can hold: one block for each, one pass.
// line_of(sums) says how the group is changed.
template <class F>
__device__ void change_group(const REAL* x, const REAL* y, REAL* out, int length, F line_of) {
    Long start = blockIdx.x * Long(length);
    x += start, y += start, out += start;
    bool whole = aligned(x, y, out) && length % WIDTH == 0, same = x == y;
    Vector kept_x[KEPT], kept_y[KEPT];
    Sums sums = {0, 0};
#pragma unroll
    for (int j = 0; j < KEPT; j++) {
        int i = (j * blockDim.x + threadIdx.x) * WIDTH;
        if (i >= length) break;
        kept_x[j] = load(x, i, length, whole);
        kept_y[j] = same ? kept_x[j] : load(y, i, length, whole);
        for (int k = 0; k < WIDTH; k++) {
            sums.x += kept_x[j].at[k];
            sums.xy += double(kept_x[j].at[k]) * kept_y[j].at[k];
        }
    }
    sums = {block_sum(sums.x), block_sum(sums.xy)};
    Line line = line_of(sums);
#pragma unroll
    for (int j = 0; j < KEPT; j++) {
        int i = (j * blockDim.x + threadIdx.x) * WIDTH;
        if (i >= length) break;
        store(lanes(line, kept_x[j], kept_y[j]), out, i, length, whole);
    }
}

// Calls f(i) for the places of all vectors that a thread has in its matrix: WIDTH columns, in some of ``rows`` rows.
// Blocks: (matrices, pieces of a row, pieces of the rows).
template <class F>
__device__ void each_row(Long length, int columns, int column, int rows, F f) {
    Long row = blockIdx.z * Long(rows) + threadIdx.x / LANES;
    Long end = min(length, (blockIdx.z + 1) * Long(rows) * columns);
    if (column < columns)
#pragma unroll 4
        for (Long i = row * columns + column; i < end; i += ROWS * Long(columns)) f(i);
}

__device__ int first_column() { return (blockIdx.y * LANES + threadIdx.x % LANES) * WIDTH; }

// The sums of the columns over the rows of each block: parts[matrix][piece of the rows][Σx, Σx·y][column].
// Where there is one channel only, all columns are summed up at once.
extern "C" __global__ void sums(
    const REAL* x, const REAL* y, double* parts, Long length, int columns, int channels, int rows) {
    x += blockIdx.x * length, y += blockIdx.x * length;
    bool whole = aligned(x, y) && length % WIDTH == 0, same = x == y;
    double of_x[WIDTH] = {}, of_xy[WIDTH] = {};
    each_row(length, columns, first_column(), rows, [&](Long i) {
        Vector u = load(x, i, length, whole), v = same ? u : load(y, i, length, whole);
        for (int k = 0; k < WIDTH; k++) {
            of_x[k] += u.at[k];
            of_xy[k] += double(u.at[k]) * v.at[k];
        }
    });
    Long part = (blockIdx.x * Long(gridDim.z) + blockIdx.z) * 2;
    if (channels == 1) {
        for (int k = 1; k < WIDTH; k++) of_x[0] += of_x[k], of_xy[0] += of_xy[k];
        Sums total = {block_sum(of_x[0]), block_sum(of_xy[0])};
        if (threadIdx.x == 0) parts[part] = total.x, parts[part + 1] = total.xy;
        return;
    }
    __shared__ double shared[2][ROWS][LANES * WIDTH];
    int lane = threadIdx.x % LANES * WIDTH;
    for (int k = 0; k < WIDTH; k++) {
        shared[0][threadIdx.x / LANES][lane + k] = of_x[k];
        shared[1][threadIdx.x / LANES][lane + k] = of_xy[k];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * LANES * WIDTH; i += blockDim.x) {
        int which = i / (LANES * WIDTH), at = i % (LANES * WIDTH), column = blockIdx.y * LANES * WIDTH + at;
        double total = 0;
        for (int row = 0; row < ROWS; row++) total += shared[which][row][at];
        if (column < columns) parts[(part + which) * columns + column] = total;
    }
}

// The sums of the block's group: block i takes group i of all matrices' groups.
__device__ Sums group_sums(const double* parts, int pieces, int columns, int channels, int width) {
    int groups = channels / width, matrix = blockIdx.x / groups, group = blockIdx.x % groups;
    int own = columns / channels * width;  // of the columns
    Sums total = {0, 0};
    for (int i = threadIdx.x; i < pieces * own; i += blockDim.x) {
        int piece = i / own, at = i % own, column = at / width * channels + group * width + at % width;
        const double* part = parts + (matrix * Long(pieces) + piece) * 2 * columns + column;
        total.x += part[0], total.xy += part[columns];
    }
    return {block_sum(total.x), block_sum(total.xy)};
}

// out = line(channel) of x and y, for the channels of each matrix.
template <class F>
__device__ void change_columns(
    const REAL* x, const REAL* y, REAL* out, Long length, int columns, int channels, int rows, F line_of) {
    x += blockIdx.x * length, y += blockIdx.x * length, out += blockIdx.x * length;
    bool whole = aligned(x, y, out) && length % WIDTH == 0, same = x == y;
    int column = first_column();
    Line lines[WIDTH];
    for (int k = 0; k < WIDTH; k++) lines[k] = line_of((column + k) % channels);
    each_row(length, columns, column, rows, [&](Long i) {
        Vector u = load(x, i, length, whole), v = same ? u : load(y, i, length, whole);
        for (int k = 0; k < WIDTH; k++) u.at[k] = lines[k](u.at[k], v.at[k]);
        store(u, out, i, length, whole);
    });
}

// out by the lines of all groups of ``width`` channels, matrix after matrix.
extern "C" __global__ void change(
    const REAL* x, const REAL* y, REAL* out, const Line* lines, int width, Long length, int columns, int channels,
    int rows) {
    lines += blockIdx.x * (channels / width);
    change_columns(x, y, out, length, columns, channels, rows, [=](int channel) { return lines[channel / width]; });
}
