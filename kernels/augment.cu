// Augmentation: a batch is cropped from images that are stored on the GPU as bytes; compare augment.py.
//
// Pictures of any sizes lie one after another in memory: number i begins at starts[i], and has extents[i] = (rows,
// columns). Sample k of the batch is picture order[position + k]; ``advance`` then increases the position. A block
// takes some rows of one sample.
#include "common.cuh"

constexpr Long FAR = 1 << 28;  // pixels; no picture and no crop is as large

struct Place { int y, x; };    // in a picture
struct Extents { int y, x; };  // of a picture
struct Colours { REAL red, green, blue; };

// A corner that is too far away for any of the crop to be in the picture, as one for which 32 bits suffice.
__device__ int near(Long corner) { return min(max(corner, -FAR), FAR); }

// Which sample of the epoch is the block's. Beyond the last one, or before the first one, there is none: then the first
// one is read in its place, and all numbers become nan, and all labels -1.
struct Turn {
    Long next;
    bool there;

    __device__ Turn(const Long* position, Long epoch) {
        next = position[0] + blockIdx.x, there = next >= 0 && next < epoch;
        if (!there) next = 0;
    }
    __device__ REAL scale(REAL factor) const { return there ? factor : REAL(nan("")); }
};

__device__ bool inside(Place at, Extents extents) {
    return at.y >= 0 && at.x >= 0 && at.y < extents.y && at.x < extents.x;
}

__device__ REAL of(Colours colours, int which) {
    return which == 0 ? colours.red : which == 1 ? colours.green : colours.blue;
}

// Writes f(row, i) as the numbers i to i + N - 1 of each row of the block's sample. A thread computes them for ROWS
// rows, some of which may not exist, before it writes the first of them. So it waits for all that it reads at once.
template <int N, int ROWS, class F>
__device__ void fill(REAL* out, int out_y, int out_x, F f) {
    int width = 3 * out_x, first = blockIdx.y * blockDim.y + threadIdx.y, step = gridDim.y * blockDim.y;
    out += blockIdx.x * Long(out_y) * width;
    each_channel<N>(width, [=](int i) {
#pragma unroll 1  // with enough blocks there is only one iteration
        for (int row = first; row < out_y; row += step * ROWS) {
            Several<REAL, N> numbers[ROWS];
#pragma unroll
            for (int j = 0; j < ROWS; j++) numbers[j] = f(row + j * step, i);
            auto* to = reinterpret_cast<Several<REAL, N>*>(out + Long(row) * width + i);
#pragma unroll
            for (int j = 0; j < ROWS; j++)
                if (row + j * step < out_y) to[j * (step * width / N)] = numbers[j];
        }
    });
}

// The four bytes from an address on, the first one lowest. They are read as the two words in which they are.
__device__ unsigned four_bytes(const unsigned char* first) {
    int after = reinterpret_cast<size_t>(first) % sizeof(unsigned);  // bytes, from the beginning of a word
    const unsigned* words = reinterpret_cast<const unsigned*>(first - after);
    return __funnelshift_r(words[0], words[1], 8 * after);
}

// Writes the numbers of the block's sample, N at a time. Columns are counted in numbers, 3 for each pixel.
template <int N>
__device__ void crop_image(
    const unsigned char* picture, Extents size, Place corner, Colours mean, REAL factor, REAL* out, int out_y,
    int out_x) {
    static_assert(N <= 4, "four bytes are read at a time");
    fill<N, 4>(out, out_y, out_x, [=](int row, int i) {
        Place at = {corner.y + row, corner.x + i};
        unsigned seen = 0;  // the bytes that are inside the row
        for (int k = 0; k < N; k++) seen |= unsigned(at.x + k) < unsigned(size.x) ? 255u << 8 * k : 0;
        // Where no byte is in the picture, read any that exist: without a branch, a thread need not wait for them here.
        int y = min(max(at.y, 0), size.y - 1), x = min(max(at.x, -3), size.x - 1);
        unsigned bytes = four_bytes(picture + Long(y) * size.x + x) & (y == at.y ? seen : 0);
        Several<REAL, N> numbers;
        for (int k = 0; k < N; k++) numbers.at[k] = (REAL(bytes >> 8 * k & 255) - of(mean, (i + k) % 3)) * factor;
        return numbers;
    });
}

#define CROP(NAME, N)                                                                                                 \
    extern "C" __global__ void NAME(                                                                                  \
        const unsigned char* images, const Long* starts, const int* extents, const Long* classes,                     \
        const Long* position, const Long* order, const Long* corners, Long epoch, REAL red, REAL green, REAL blue,    \
        REAL factor, REAL* out, Long* labels, int out_y, int out_x) {                                                 \
        Turn turn(position, epoch);                                                                                   \
        Long next = turn.next, image = order[next];                                                                   \
        Place corner = {near(corners[2 * next]), 3 * near(corners[2 * next + 1])};                                    \
        Extents size = {extents[2 * image], 3 * extents[2 * image + 1]};                                              \
        const unsigned char* picture = images + starts[image];                                                        \
        if (blockIdx.y + blockIdx.z + threadIdx.y + threadIdx.x == 0)                                                 \
            labels[blockIdx.x] = turn.there ? classes[image] : -1;                                                    \
        crop_image<N>(picture, size, corner, {red, green, blue}, turn.scale(factor), out, out_y, out_x);              \
    }

CROP(crop_one, 1)
CROP(crop_vector, WIDTH)

template <int N>
__device__ void crop_image_with_mask(
    const unsigned char* picture, const unsigned char* mask, Extents size, Place corner, bool mirror, Colours added,
    Colours mean, REAL factor, REAL* out, signed char* labels, int out_y, int out_x) {
    labels += blockIdx.x * Long(out_y) * out_x;
    // With several rows at once, some of them might not exist, and labels would be written outside of the array.
    fill<N, 1>(out, out_y, out_x, [=](int row, int i) {
        Several<REAL, N> numbers;
        for (int k = 0; k < N; k++) {
            int column = (i + k) / 3, colour = (i + k) % 3;
            Place at = {corner.y + row, corner.x + (mirror ? out_x - 1 - column : column)};
            bool seen = inside(at, size);
            Long pixel = Long(at.y) * size.x + at.x;
            REAL value = seen ? min(max(picture[pixel * 3 + colour] + of(added, colour), REAL(0)), REAL(255)) : REAL(0);
            if (colour == 0) labels[Long(row) * out_x + column] = seen ? mask[pixel] : 255;
            numbers.at[k] = (value - of(mean, colour)) * factor;
        }
        return numbers;
    });
}

#define CROP_WITH_MASKS(NAME, N)                                                                                      \
    extern "C" __global__ void NAME(                                                                                  \
        const unsigned char* images, const Long* image_starts, const unsigned char* masks, const Long* mask_starts,   \
        const int* extents, const Long* position, const Long* order, const Long* corners, const double* colours,      \
        const bool* mirrored, Long epoch, REAL red, REAL green, REAL blue, REAL factor, REAL* out,                    \
        signed char* labels, int out_y, int out_x) {                                                                  \
        Turn turn(position, epoch);                                                                                   \
        Long next = turn.next, image = order[next];                                                                   \
        Place corner = {near(corners[2 * next]), near(corners[2 * next + 1])};                                        \
        Extents size = {turn.there ? extents[2 * image] : 0, extents[2 * image + 1]};                                 \
        Colours added = {REAL(colours[3 * next]), REAL(colours[3 * next + 1]), REAL(colours[3 * next + 2])};          \
        crop_image_with_mask<N>(                                                                                      \
            images + image_starts[image], masks + mask_starts[image], size, corner, mirrored[next], added,            \
            {red, green, blue}, turn.scale(factor), out, labels, out_y, out_x);                                       \
    }

CROP_WITH_MASKS(crop_with_masks_one, 1)
CROP_WITH_MASKS(crop_with_masks_vector, WIDTH)

// It runs after a batch.
extern "C" __global__ void advance(Long* position, Long samples) { position[0] += samples; }
