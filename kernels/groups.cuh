// Groups of a view (outer, rows, inner, lanes) as matrices whose columns are summed and then changed; compare
// gpu/groups.py.
//
// There are ``outer`` matrices of ``length`` elements each. A row of a matrix holds all channels, once or several times
// side by side: its length ``columns`` is a multiple of the channels and of a vector, and at least the width of a
// block. Each group has ``width`` neighbouring channels. The last row may be incomplete.
//
// All sums are double. For float data, the variance can then be computed as Σx²/n − (Σx/n)², without a first guess of
// the mean. For double data, this has a relative error of about 1e-16·(mean/σ)², which is large if the mean is many
// times the deviation σ.
#include "common.cuh"

struct Sums { double x, xy; };  // Σx and Σx·y

// The affine map by which a group is changed: out = of_x·(x − mean) + of_y·y + offset.
struct Affine {
    REAL of_x, mean, of_y, offset;
    Affine() = default;
    __device__ Affine(double of_x, double mean, double of_y, double offset)
        : of_x(of_x), mean(mean), of_y(of_y), offset(offset) {}
    __device__ REAL operator()(REAL x, REAL y) const { return of_x * (x - mean) + of_y * y + offset; }
};

constexpr int LANES = 32, ROWS = 8;  // a block takes LANES·WIDTH columns and ROWS rows at a time
constexpr int BATCH = 4;             // vectors of an array that a thread loads before it uses the first of them

// One value for all elements of a vector; it can be indexed like an array with a value for each.
template <class T>
struct One {
    T value;
    __device__ T& operator[](int) { return value; }
    __device__ const T& operator[](int) const { return value; }
};

// Vectors of x and y, which may be the same array, at the indices first, first + step, … below ``end``.
struct Batch {
    Vector x[BATCH], y[BATCH];
    Long first, step, end;
};

// Elements from ``end`` on become zero.
template <bool WHOLE>
__device__ void load_batch(Batch& batch, const REAL* x, const REAL* y) {
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
        Long i = batch.first + j * batch.step;
        batch.x[j] = i < batch.end ? load<WHOLE>(x, i, batch.end) : Vector();
    }
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
        Long i = batch.first + j * batch.step;
        batch.y[j] = x == y ? batch.x[j] : i < batch.end ? load<WHOLE>(y, i, batch.end) : Vector();
    }
}

// Adds x and x·y of element k of each vector to sums[k].
template <class Totals>
__device__ void add_batch(const Batch& batch, Totals& sums) {
#pragma unroll
    for (int j = 0; j < BATCH; j++)
        for (int k = 0; k < WIDTH; k++) {
            sums[k].x += batch.x[j].at[k];
            sums[k].xy += double(batch.x[j].at[k]) * batch.y[j].at[k];
        }
}

// Writes affines[k](x, y) for element k of each vector into ``out``, which may be x or y itself; with_relu: the maximum
// of that and 0.
template <bool WHOLE, class Affines>
__device__ void change_batch(const Batch& batch, const Affines& affines, REAL* out, bool with_relu = false) {
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
        Long i = batch.first + j * batch.step;
        Vector changed;
        for (int k = 0; k < WIDTH; k++) {
            REAL value = affines[k](batch.x[j].at[k], batch.y[j].at[k]);
            changed.at[k] = with_relu ? relu(value) : value;
        }
        if (i < batch.end) store<WHOLE>(changed, out, i, batch.end);
    }
}

// Sums and changes a contiguous group in one pass: one block for each group, one batch for each thread.
// affine_of(sums) is the map by which the group is changed; the function returns it.
template <bool WHOLE, class F>
__device__ Affine change_group(const REAL* x, const REAL* y, REAL* out, int length, F affine_of) {
    Long start = blockIdx.x * Long(length);
    Batch batch;
    batch.first = threadIdx.x * WIDTH, batch.step = blockDim.x * WIDTH, batch.end = length;
    load_batch<WHOLE>(batch, x + start, y + start);
    One<Sums> own = {0, 0};
    add_batch(batch, own);
    One<Affine> affine = {affine_of({block_sum(own.value.x), block_sum(own.value.xy)})};
    change_batch<WHOLE>(batch, affine, out + start);
    return affine.value;
}

// The part of a matrix that a thread goes through, batch by batch: WIDTH columns, and of the ``rows`` rows of its block
// every eighth (ROWS). The grid is (matrices, pieces of a row, pieces of the rows).
__device__ int first_column() { return (blockIdx.y * LANES + threadIdx.x % LANES) * WIDTH; }

template <class F>
__device__ void each_batch(Long length, int columns, int rows, F f) {
    Batch batch;
    batch.first = (blockIdx.z * Long(rows) + threadIdx.x / LANES) * columns + first_column();
    batch.step = ROWS * Long(columns);
    batch.end = first_column() < columns ? min(length, (blockIdx.z + 1) * Long(rows) * columns) : 0;
    for (; batch.first < batch.end; batch.first += BATCH * batch.step) f(batch);
}

template <bool WHOLE>
__device__ void sum_rows(
    const REAL* x, const REAL* y, Long length, int columns, int rows, Sums (&own)[WIDTH]) {
    each_batch(length, columns, rows, [&](Batch& batch) {
        load_batch<WHOLE>(batch, x, y);
        add_batch(batch, own);
    });
}

// Writes the sums of each column over the rows of each block: parts[matrix][piece of the rows][Σx, Σx·y][column].
// With a single channel, the columns are added up as well, to one pair of sums for each block.
extern "C" __global__ void sums(
    const REAL* x, const REAL* y, double* parts, Long length, int columns, int channels, int rows) {
    x += blockIdx.x * length, y += blockIdx.x * length;
    Sums own[WIDTH] = {};
    if (aligned(x, y) && length % WIDTH == 0) sum_rows<true>(x, y, length, columns, rows, own);
    else sum_rows<false>(x, y, length, columns, rows, own);
    Long part = (blockIdx.x * Long(gridDim.z) + blockIdx.z) * 2;
    if (channels == 1) {
        for (int k = 1; k < WIDTH; k++) own[0].x += own[k].x, own[0].xy += own[k].xy;
        Sums total = {block_sum(own[0].x), block_sum(own[0].xy)};
        if (threadIdx.x == 0) parts[part] = total.x, parts[part + 1] = total.xy;
        return;
    }
    __shared__ double shared[2][ROWS][LANES * WIDTH];
    for (int k = 0; k < WIDTH; k++) {
        int at = threadIdx.x % LANES * WIDTH + k;
        shared[0][threadIdx.x / LANES][at] = own[k].x, shared[1][threadIdx.x / LANES][at] = own[k].xy;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * LANES * WIDTH; i += blockDim.x) {
        int which = i / (LANES * WIDTH), at = i % (LANES * WIDTH), column = blockIdx.y * LANES * WIDTH + at;
        double total = 0;
        for (int row = 0; row < ROWS; row++) total += shared[which][row][at];
        if (column < columns) parts[(part + which) * columns + column] = total;
    }
}

// The number, among the groups of all matrices, of the group that a thread works for when the partial sums are added
// up. A group is added up by a block, by a warp or by a single thread.
__device__ int own_group() { return blockIdx.x * blockDim.y + threadIdx.y; }

__device__ double group_sum(double value) {
    return blockDim.x == 1 ? value : blockDim.y > 1 ? warp_sum(value) : block_sum(value);
}

// The sums Σx and Σx·y of that group.
__device__ Sums group_sums(const double* parts, int pieces, int columns, int channels, int width) {
    int groups = channels / width, matrix = own_group() / groups, group = own_group() % groups;
    int own = columns / channels * width;  // columns of this group
    Sums total = {0, 0};
    for (int i = threadIdx.x; i < pieces * own; i += blockDim.x) {
        int piece = i / own, at = i % own, column = at / width * channels + group * width + at % width;
        const double* part = parts + (matrix * Long(pieces) + piece) * 2 * columns + column;
        total.x += part[0], total.xy += part[columns];
    }
    return {group_sum(total.x), group_sum(total.xy)};
}

template <bool WHOLE>
__device__ void change_rows(
    const REAL* x, const REAL* y, REAL* out, Long length, int columns, int rows, bool with_relu,
    const Affine (&affines)[WIDTH]) {
    each_batch(length, columns, rows, [&](Batch& batch) {
        load_batch<WHOLE>(batch, x, y);
        change_batch<WHOLE>(batch, affines, out, with_relu);
    });
}

// Writes affine_of(channel)(x, y) into ``out`` for each channel of each matrix; with_relu: the maximum of that and 0.
template <class F>
__device__ void change_columns(
    const REAL* x, const REAL* y, REAL* out, Long length, int columns, int channels, int rows, bool with_relu,
    F affine_of) {
    x += blockIdx.x * length, y += blockIdx.x * length, out += blockIdx.x * length;
    Affine affines[WIDTH];
    for (int k = 0; k < WIDTH; k++) affines[k] = affine_of((first_column() + k) % channels);
    if (aligned(x, y, out) && length % WIDTH == 0)
        change_rows<true>(x, y, out, length, columns, rows, with_relu, affines);
    else
        change_rows<false>(x, y, out, length, columns, rows, with_relu, affines);
}

// Writes affines[group](x, y) into ``out``; a group has ``width`` channels, and groups are numbered matrix after
// matrix.
extern "C" __global__ void __launch_bounds__(256, 3) change(
    const REAL* x, const REAL* y, REAL* out, const Affine* affines, int width, Long length, int columns, int channels,
    int rows) {
    affines += blockIdx.x * (channels / width);
    auto affine_of = [=](int channel) { return affines[channel / width]; };
    change_columns(x, y, out, length, columns, channels, rows, false, affine_of);
}
