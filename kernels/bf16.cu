// bfloat16, the upper half of a float: no header has it for NVRTC, and rounding to it takes two additions.

extern "C" __global__ void narrow(const float* wide, unsigned short* narrow, long long size) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
        float value = wide[i];
        unsigned int bits = *(unsigned int*)&value;
        // To the nearest, and to the even one of two; a NaN stays one, whatever its lower bits were.
        unsigned int rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        narrow[i] = (unsigned short)(value != value ? (bits >> 16) | 0x40 : rounded);
    }
}

extern "C" __global__ void widen(const unsigned short* narrow, float* wide, long long size) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
        unsigned int bits = (unsigned int)narrow[i] << 16;
        wide[i] = *(float*)&bits;
    }
}
