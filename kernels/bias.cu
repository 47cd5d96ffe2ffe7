// Biases of the products: added to every row of a matrix, and their gradients, the sums of the columns.
#include "common.cuh"

// One step of the grid is a whole number of rows: a thread stays in its columns, and keeps their biases.
// ``vectors``: rows are whole vectors; ``with_relu``: what is negative then becomes zero.
extern "C" __global__ void add(
    const REAL* biases, REAL* matrix, Long size, int columns, int vectors, int with_relu) {
    Long first = blockIdx.x * Long(blockDim.x) + threadIdx.x, step = gridDim.x * Long(blockDim.x);
    auto sum = [=](REAL x, REAL y) { return with_relu ? relu(x + y) : x + y; };
    if (vectors) {
        Vector bias = *reinterpret_cast<const Vector*>(biases + first * WIDTH % columns);
        Vector* rows = reinterpret_cast<Vector*>(matrix);
        for (Long i = first; i < size / WIDTH; i += step) rows[i] = lanes(sum, rows[i], bias);
    } else {
        REAL bias = biases[first % columns];
        for (Long i = first; i < size; i += step) matrix[i] = sum(matrix[i], bias);
    }
}

// The sum of some rows for each column: blocks of 32 columns and 8 rows, gridDim.y parts of all rows.
extern "C" __global__ void sum(const REAL* matrix, REAL* sums, Long rows, int columns) {
    __shared__ REAL shared[8][32];
    int column = blockIdx.x * 32 + threadIdx.x;
    REAL total = 0;
    if (column < columns)
#pragma unroll 4
        for (Long row = blockIdx.y * 8LL + threadIdx.y; row < rows; row += gridDim.y * 8LL)
            total += matrix[row * columns + column];
    shared[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int y = 1; y < 8; y++) total += shared[y][threadIdx.x];
    sums[Long(blockIdx.y) * columns + column] = total;
}
