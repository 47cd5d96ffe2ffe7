// Helpers of all kernels. REAL is the number type, float or double, as gpu/source.py defines it.

using Long = long long;  // counts elements, of which arrays may have more than 2^31

constexpr unsigned ALL = 0xffffffff;      // the threads of a warp
constexpr int WIDTH = 16 / sizeof(REAL);  // numbers that a thread loads and stores at once

// N values side by side, which are loaded and stored at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Several {
    T at[N];
};

using Vector = Several<REAL, WIDTH>;

template <int N, class T>
__device__ Several<T, N> several(const T* first) { return *reinterpret_cast<const Several<T, N>*>(first); }

template <int N, class T>
__device__ void keep(Several<T, N> values, T* first) { *reinterpret_cast<Several<T, N>*>(first) = values; }

template <class... Pointers>
__device__ bool aligned(Pointers... pointers) {
    return (reinterpret_cast<size_t>(pointers) | ...) % sizeof(Vector) == 0;
}

// max(x, 0); what is not a number stays so.
__device__ REAL relu(REAL x) { return x < 0 ? 0 : x; }

// f of each element of some vectors.
template <class F, class... Vectors>
__device__ Vector lanes(F f, Vectors... vectors) {
    Vector result;
    for (int k = 0; k < WIDTH; k++) result.at[k] = f(vectors.at[k]...);
    return result;
}

// out[i] = f(in[i]...) for all i below size, by all threads of a one-dimensional grid; out may be one of the inputs.
template <class F, class... In>
__device__ void map(Long size, REAL* out, F f, const In*... in) {
    Long first = blockIdx.x * Long(blockDim.x) + threadIdx.x, step = gridDim.x * Long(blockDim.x);
    Long vectors = aligned(out, in...) ? size / WIDTH : 0;
    for (Long i = first; i < vectors; i += step)
        reinterpret_cast<Vector*>(out)[i] = lanes(f, reinterpret_cast<const Vector*>(in)[i]...);
    for (Long i = vectors * WIDTH + first; i < size; i += step) out[i] = f(in[i]...);
}

// The WIDTH elements at i; those behind the end are zero. WHOLE: there are none of these, and the array is aligned.
template <bool WHOLE>
__device__ Vector load(const REAL* x, Long i, Long length) {
    if constexpr (WHOLE) {
        return *reinterpret_cast<const Vector*>(x + i);
    } else {
        Vector result;
        for (int k = 0; k < WIDTH; k++) result.at[k] = i + k < length ? x[i + k] : REAL(0);
        return result;
    }
}

template <bool WHOLE>
__device__ void store(Vector values, REAL* out, Long i, Long length) {
    if constexpr (WHOLE)
        reinterpret_cast<Vector*>(out)[i / WIDTH] = values;  // in whole vectors: known to be aligned
    else
        for (int k = 0; k < WIDTH && i + k < length; k++) out[i + k] = values.at[k];
}

// The sum over a warp's 32 threads, which all get it.
template <class T>
__device__ T warp_sum(T value) {
    for (int distance = 16; distance; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
    return value;
}

// The sum over the threads of a one-dimensional block of whole warps, which all get it.
template <class T>
__device__ T block_sum(T value) {
    __shared__ T parts[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = warp_sum(value);
    __syncthreads();  // the sum before may still be read
    if (lane == 0) parts[warp] = value;
    __syncthreads();
    return warp_sum(lane < int(blockDim.x) / 32 ? parts[lane] : T(0));
}

// f(pixel) for the pixels of a row, which all blocks with one blockIdx.x share; pixels lie along threadIdx.y.
template <class F>
__device__ void each_in_row(int pixels, F f) {
#pragma unroll 1  // a grid of enough blocks goes through this once
    for (int pixel = blockIdx.y * blockDim.y + threadIdx.y; pixel < pixels; pixel += gridDim.y * blockDim.y) f(pixel);
}

// f(channel) for N of a pixel's channels each time, from ``channel`` on; channels lie along threadIdx.x.
template <int N, class F>
__device__ void each_channel(int channels, F f) {
    int first = (blockIdx.z * blockDim.x + threadIdx.x) * N, step = gridDim.z * blockDim.x * N;
#pragma unroll 1
    for (int channel = first; channel < channels; channel += step) f(channel);
}

// f(pixel, channel) of both: no thread has to divide to know its place.
template <int N, class F>
__device__ void each_pixel(int pixels, int channels, F f) {
    each_in_row(pixels, [=](int pixel) { each_channel<N>(channels, [=](int channel) { f(pixel, channel); }); });
}
