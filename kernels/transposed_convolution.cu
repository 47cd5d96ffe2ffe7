// swapped[i, tap, o] = weights[o, tap, i]: a block of HALF×ROWS threads transposes a tile of TILE×TILE numbers of the
// tap blockIdx.z in shared memory, so that it reads and writes contiguous memory.
#include "common.cuh"

constexpr int TILE = 64, ROWS = 16, HALF = 32;  // as in gpu/transposed_convolution.py

extern "C" __global__ void __launch_bounds__(512) swap(const REAL* weights, REAL* swapped, int out, int taps, int in) {
    __shared__ REAL tile[TILE][TILE + 1];
    int tap = blockIdx.z, left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    REAL own[TILE / ROWS][2];  // all loads are started before the first is waited for
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = top + threadIdx.y + k * ROWS, column = left + threadIdx.x + half * HALF;
            own[k][half] = row < out && column < in ? weights[(Long(row) * taps + tap) * in + column] : REAL(0);
        }
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++)
#pragma unroll
        for (int half = 0; half < 2; half++) tile[threadIdx.y + k * ROWS][threadIdx.x + half * HALF] = own[k][half];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = left + threadIdx.y + k * ROWS, column = top + threadIdx.x + half * HALF;
            if (row < in && column < out)
                swapped[(Long(row) * taps + tap) * out + column] = tile[threadIdx.x + half * HALF][threadIdx.y + k * ROWS];
        }
}
