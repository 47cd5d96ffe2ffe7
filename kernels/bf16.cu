// Rounding to bfloat16, which is the upper half of a float. It is written out here because NVRTC has no header with it.
// REAL is float here. A thread reads a vector at a time.
#include "common.cuh"

using Halves = Several<unsigned short, WIDTH>;  // as many as a Vector has

__device__ unsigned short half(REAL value) {
    unsigned int bits = *(unsigned int*)&value;
    // Rounds to the nearest value, ties to even. A nan must stay nan, even if only its lower bits were set.
    unsigned int rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (unsigned short)(value != value ? (bits >> 16) | 0x40 : rounded);
}

extern "C" __global__ void narrow(const REAL* wide, unsigned short* narrow, Long size) {
    Long first = blockIdx.x * Long(blockDim.x) + threadIdx.x, step = gridDim.x * Long(blockDim.x);
    Long vectors = aligned(wide, narrow) ? size / WIDTH : 0;
    for (Long i = first; i < vectors; i += step) {
        Vector numbers = several<WIDTH>(wide + i * WIDTH);
        Halves result;
        for (int k = 0; k < WIDTH; k++) result.at[k] = half(numbers.at[k]);
        keep(result, narrow + i * WIDTH);
    }
    for (Long i = vectors * WIDTH + first; i < size; i += step) narrow[i] = half(wide[i]);
}
