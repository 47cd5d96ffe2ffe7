// Weights (out, taps, in) as (in, taps, out): tiles of 32×32 through shared memory, blockIdx.z the tap.

extern "C" __global__ void swap(const REAL* weights, REAL* swapped, int out, int taps, int in) {
    __shared__ REAL tile[32][33];
    int tap = blockIdx.z;
    int column = blockIdx.x * 32 + threadIdx.x;
    for (int y = threadIdx.y; y < 32; y += blockDim.y) {
        int row = blockIdx.y * 32 + y;
        if (row < out && column < in) tile[y][threadIdx.x] = weights[((long long)row * taps + tap) * in + column];
    }
    __syncthreads();
    column = blockIdx.y * 32 + threadIdx.x;
    for (int y = threadIdx.y; y < 32; y += blockDim.y) {
        int row = blockIdx.x * 32 + y;
        if (row < in && column < out) swapped[((long long)row * taps + tap) * out + column] = tile[threadIdx.x][y];
    }
}
