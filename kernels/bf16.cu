// Rounding to bfloat16, which is the upper half of a float. It is written out here because NVRTC has no header with it.
// A thread reads 16 bytes at a time.

struct alignas(16) Floats { float at[4]; };
struct alignas(8) Halves { unsigned short at[4]; };

__device__ unsigned short half(float value) {
    unsigned int bits = *(unsigned int*)&value;
    // Rounds to the nearest value, ties to even. A nan must stay nan, even if only its lower bits were set.
    unsigned int rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (unsigned short)(value != value ? (bits >> 16) | 0x40 : rounded);
}

extern "C" __global__ void narrow(const float* wide, unsigned short* narrow, long long size) {
    long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
    bool aligned = (size_t)wide % sizeof(Floats) == 0 && (size_t)narrow % sizeof(Halves) == 0;
    long long vectors = aligned ? size / 4 : 0;
    for (long long i = first; i < vectors; i += step) {
        Floats four = reinterpret_cast<const Floats*>(wide)[i];
        Halves result;
        for (int k = 0; k < 4; k++) result.at[k] = half(four.at[k]);
        reinterpret_cast<Halves*>(narrow)[i] = result;
    }
    for (long long i = vectors * 4 + first; i < size; i += step) narrow[i] = half(wide[i]);
}
