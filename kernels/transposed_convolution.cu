// Weights (out, taps, in) as (in, taps, out): tiles of 32×32 through shared memory, blockIdx.z the tap.
#include "common.cuh"

constexpr int TILE = 32, ROWS = 8;  // of a block: threads along both sides of a tile; as in gpu/transposed_convolution.py

extern "C" __global__ void swap(const REAL* weights, REAL* swapped, int out, int taps, int in) {
    __shared__ REAL tile[TILE][TILE + 1];
    int tap = blockIdx.z, left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    REAL own[TILE / ROWS];  // all asked for before the first is there
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++) {
        int row = top + threadIdx.y + k * ROWS, column = left + threadIdx.x;
        own[k] = row < out && column < in ? weights[(Long(row) * taps + tap) * in + column] : REAL(0);
    }
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++) tile[threadIdx.y + k * ROWS][threadIdx.x] = own[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE / ROWS; k++) {
        int row = left + threadIdx.y + k * ROWS, column = top + threadIdx.x;
        if (row < in && column < out)
            swapped[(Long(row) * taps + tap) * out + column] = tile[threadIdx.x][threadIdx.y + k * ROWS];
    }
}
