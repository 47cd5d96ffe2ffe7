// Augmentation: a batch is cropped from images that are stored on the GPU as bytes; compare augment.py.
//
// Pictures of any sizes lie one after another in memory: number i begins at starts[i], and has extents[i] = (rows,
// columns). Sample k of the batch is picture order[position + k]; ``advance`` then increases the position. A block
// takes some rows of one sample.
#include "common.cuh"

struct Place { int y, x; };    // in a picture
struct Extents { int y, x; };  // of a picture
struct Colours { REAL red, green, blue; };

__device__ bool inside(Place at, Extents extents) {
    return at.y >= 0 && at.x >= 0 && at.y < extents.y && at.x < extents.x;
}

__device__ REAL of(Colours colours, int which) {
    return which == 0 ? colours.red : which == 1 ? colours.green : colours.blue;
}

// Writes f(row, i) as number i of each row of the block's sample. A thread writes the numbers i to i + N − 1 of all its
// rows, so that the compiler can compute what depends only on i once.
template <int N, class F>
__device__ void fill(REAL* out, int out_y, int out_x, F f) {
    out += blockIdx.x * Long(out_y) * 3 * out_x;
    each_channel<N>(3 * out_x, [=](int i) {
        each_in_row(out_y, [=](int row) {
            Several<REAL, N> numbers;
            for (int k = 0; k < N; k++) numbers.at[k] = f(row, i + k);
            keep(numbers, out + Long(row) * 3 * out_x + i);
        });
    });
}

extern "C" __global__ void crop(
    const unsigned char* images, const Long* starts, const int* extents, const Long* classes, const Long* position,
    const Long* order, const Long* corners, REAL red, REAL green, REAL blue, REAL factor, REAL* out, Long* labels,
    int out_y, int out_x, int lanes) {
    Long next = position[0] + blockIdx.x, image = order[next];
    int top = int(corners[2 * next]), left = int(corners[2 * next + 1]);
    const unsigned char* pixels = images + starts[image];
    Extents size = {extents[2 * image], 3 * extents[2 * image + 1]};  // columns counted in numbers, 3 for each pixel
    Colours mean = {red, green, blue};
    if (blockIdx.y + blockIdx.z + threadIdx.y + threadIdx.x == 0) labels[blockIdx.x] = classes[image];
    auto number = [=](int row, int i) {
        Place at = {top + row, 3 * left + i};
        REAL value = inside(at, size) ? pixels[Long(at.y) * size.x + at.x] : 0;
        return (value - of(mean, i % 3)) * factor;
    };
    if (lanes == 1) fill<1>(out, out_y, out_x, number);
    else fill<WIDTH>(out, out_y, out_x, number);
}

extern "C" __global__ void crop_with_masks(
    const unsigned char* images, const Long* image_starts, const unsigned char* masks, const Long* mask_starts,
    const int* extents, const Long* position, const Long* order, const Long* corners, const double* colours,
    const bool* mirrored, REAL red, REAL green, REAL blue, REAL factor, REAL* out, signed char* labels, int out_y,
    int out_x, int lanes) {
    Long next = position[0] + blockIdx.x, image = order[next];
    int top = int(corners[2 * next]), left = int(corners[2 * next + 1]);
    bool mirror = mirrored[next];
    const unsigned char *pixels = images + image_starts[image], *mask = masks + mask_starts[image];
    Extents size = {extents[2 * image], extents[2 * image + 1]};
    Colours mean = {red, green, blue};
    Colours added = {REAL(colours[3 * next]), REAL(colours[3 * next + 1]), REAL(colours[3 * next + 2])};
    labels += blockIdx.x * Long(out_y) * out_x;
    auto number = [=](int row, int i) {
        int column = i / 3, colour = i % 3;
        Place at = {top + row, left + (mirror ? out_x - 1 - column : column)};
        bool seen = inside(at, size);
        Long pixel = Long(at.y) * size.x + at.x;
        REAL value = seen ? min(max(pixels[pixel * 3 + colour] + of(added, colour), REAL(0)), REAL(255)) : REAL(0);
        if (colour == 0) labels[Long(row) * out_x + column] = seen ? mask[pixel] : 255;
        return (value - of(mean, colour)) * factor;
    };
    if (lanes == 1) fill<1>(out, out_y, out_x, number);
    else fill<WIDTH>(out, out_y, out_x, number);
}

extern "C" __global__ void advance(Long* position, Long samples) { position[0] += samples; }
