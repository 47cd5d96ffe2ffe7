// Biases of the products: added to every row of a matrix (rows, columns). Their gradients are the sums of the columns.
#include "common.cuh"

using Halves = Several<unsigned short, WIDTH>;  // bfloat16, the upper halves of floats; as many as a Vector has

__device__ REAL wide(REAL x) { return x; }

__device__ REAL wide(unsigned short half) {
    unsigned int bits = (unsigned int)half << 16;
    return *(float*)&bits;
}

__device__ Vector wide(Vector x) { return x; }

__device__ Vector wide(Halves halves) {
    Vector result;
    for (int k = 0; k < WIDTH; k++) result.at[k] = wide(halves.at[k]);
    return result;
}

// out = matrix + biases; with_relu: the maximum of that and 0. The threads of the grid together cover a whole number of
// rows, so each thread always has the same columns and loads their biases once. vectors: rows consist of whole vectors.
template <class Many, class One>
__device__ void add_to_rows(
    const REAL* biases, const One* matrix, REAL* out, Long size, int columns, bool vectors, bool with_biases,
    bool with_relu) {
    Long first = blockIdx.x * Long(blockDim.x) + threadIdx.x, step = gridDim.x * Long(blockDim.x);
    auto sum = [=](REAL x, REAL y) {
        REAL total = with_biases ? x + y : x;
        return with_relu ? relu(total) : total;
    };
    if (vectors) {
        Vector bias = {};
        if (with_biases) bias = *reinterpret_cast<const Vector*>(biases + first * WIDTH % columns);
        const Many* from = reinterpret_cast<const Many*>(matrix);
        for (Long i = first; i < size / WIDTH; i += step)
            reinterpret_cast<Vector*>(out)[i] = lanes(sum, wide(from[i]), bias);
    } else {
        REAL bias = with_biases ? biases[first % columns] : REAL(0);
        for (Long i = first; i < size; i += step) out[i] = sum(wide(matrix[i]), bias);
    }
}

extern "C" __global__ void add(
    const REAL* biases, REAL* matrix, Long size, int columns, int vectors, int with_relu) {
    add_to_rows<Vector>(biases, matrix, matrix, size, columns, vectors, true, with_relu);
}

extern "C" __global__ void widen(
    const REAL* biases, const unsigned short* matrix, REAL* out, Long size, int columns, int vectors, int with_biases,
    int with_relu) {
    add_to_rows<Halves>(biases, matrix, out, size, columns, vectors, with_biases, with_relu);
}

// sums[part][column] = the sum of the column over one of gridDim.y parts of the rows. A block has 32 columns and 8
// rows.
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
