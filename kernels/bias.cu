// Biases of the products: added to every row of a matrix, and their gradients, the sums of the columns.

// A grid whose threads are a multiple of the columns: each thread stays in one column and keeps its bias.
extern "C" __global__ void add(const REAL* biases, REAL* matrix, long long size, int columns) {
    long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long step = (long long)gridDim.x * blockDim.x;
    REAL bias = biases[first % columns];
    for (long long i = first; i < size; i += step) matrix[i] += bias;
}

// Write the sum of some rows for each column: blocks of 32 columns and 8 rows, gridDim.y parts of all rows.
extern "C" __global__ void sum(const REAL* matrix, REAL* sums, long long rows, int columns) {
    __shared__ REAL shared[8][32];
    int column = blockIdx.x * 32 + threadIdx.x;
    REAL total = 0;
    if (column < columns)
        for (long long row = (long long)blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8LL)
            total += matrix[row * columns + column];
    shared[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int y = 1; y < 8; y++) total += shared[y][threadIdx.x];
    sums[(long long)blockIdx.y * columns + column] = total;
}
