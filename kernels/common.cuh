// Helpers of all kernels. REAL is the number type, float or double, as gpu/source.py defines it.

using Long = long long;  // counts elements, of which arrays may have more than 2^31

constexpr unsigned ALL = 0xffffffff;      // the mask of all threads of a warp
constexpr int WIDTH = 16 / sizeof(REAL);  // numbers that a thread loads or stores in one instruction

// N values side by side, which are loaded or stored in one instruction.
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

// max(x, 0), where nan stays nan.
__device__ REAL relu(REAL x) { return x < 0 ? 0 : x; }

// The vector of f(a.at[k], b.at[k], …) for each element k of the given vectors.
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

// The WIDTH elements from i on; zero beyond the end. WHOLE: none of them is beyond the end, and the array is aligned.
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
        reinterpret_cast<Vector*>(out)[i / WIDTH] = values;  // indexed in whole vectors, which are known to be aligned
    else
        for (int k = 0; k < WIDTH && i + k < length; k++) out[i + k] = values.at[k];
}

// The sum of ``value`` over the 32 threads of a warp; every thread gets it.
template <class T>
__device__ T warp_sum(T value) {
    for (int distance = 16; distance; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
    return value;
}

// The sum of ``value`` over all threads of a one-dimensional block of whole warps; every thread gets it.
template <class T>
__device__ T block_sum(T value) {
    __shared__ T parts[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = warp_sum(value);
    __syncthreads();  // other threads may still read ``parts`` of the previous sum
    if (lane == 0) parts[warp] = value;
    __syncthreads();
    return warp_sum(lane < int(blockDim.x) / 32 ? parts[lane] : T(0));
}

// Calls f(pixel) for the pixels of a row. All blocks with the same blockIdx.x share the row, along threadIdx.y.
template <class F>
__device__ void each_in_row(int pixels, F f) {
#pragma unroll 1  // with enough blocks there is only one iteration
    for (int pixel = blockIdx.y * blockDim.y + threadIdx.y; pixel < pixels; pixel += gridDim.y * blockDim.y) f(pixel);
}

// Calls f(channel) for every N channels of a pixel, ``channel`` being the first of them, along threadIdx.x.
template <int N, class F>
__device__ void each_channel(int channels, F f) {
    int first = (blockIdx.z * blockDim.x + threadIdx.x) * N, step = gridDim.z * blockDim.x * N;
#pragma unroll 1
    for (int channel = first; channel < channels; channel += step) f(channel);
}

// Calls f(pixel, channel) for both. As the grid has separate axes for them, no thread has to divide to find its place.
template <int N, class F>
__device__ void each_pixel(int pixels, int channels, F f) {
    each_in_row(pixels, [=](int pixel) { each_channel<N>(channels, [=](int channel) { f(pixel, channel); }); });
}
