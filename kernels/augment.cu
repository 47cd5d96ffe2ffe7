// Augmentation: a batch is cropped from images that stay on the card as bytes; compare augment.py.
//
// Pictures of any sizes lie one behind the other: each begins at starts[index], and has extents[index] rows and columns.
// A block takes a row of the batch's images. Which images these are, order[position …] says; ``advance`` moves on.
#include "common.cuh"

struct Place { int y, x; };  // in a picture

__device__ bool inside(Place at, const int* extents) {
    return at.y >= 0 && at.x >= 0 && at.y < extents[0] && at.x < extents[1];
}

__device__ REAL of_three(int which, REAL first, REAL second, REAL third) {
    return which == 0 ? first : which == 1 ? second : third;
}

extern "C" __global__ void crop(
    const unsigned char* images, const Long* starts, const int* extents, const Long* classes, const Long* order,
    const Long* offsets, const Long* position, int border, REAL red, REAL green, REAL blue, REAL factor, REAL* out,
    Long* labels, int out_y, int out_x) {
    Long sample = blockIdx.x / out_y, next = position[0] + sample, image = order[next];
    int row = blockIdx.x % out_y, top = int(offsets[2 * next]) - border, left = int(offsets[2 * next + 1]) - border;
    if (row == 0 && blockIdx.y == 0 && threadIdx.x == 0) labels[sample] = classes[image];
    each_in_row(3 * out_x, [=](int i) {
        Place at = {top + row, left + i / 3};
        const int* size = extents + 2 * image;
        REAL pixel = inside(at, size) ? images[starts[image] + (Long(at.y) * size[1] + at.x) * 3 + i % 3] : 0;
        out[blockIdx.x * Long(3 * out_x) + i] = (pixel - of_three(i % 3, red, green, blue)) * factor;
    });
}

extern "C" __global__ void crop_with_masks(
    const unsigned char* images, const Long* image_starts, const unsigned char* masks, const Long* mask_starts,
    const int* extents, const Long* order, const Long* corners, const double* colours, const bool* mirrored,
    const Long* position, REAL red, REAL green, REAL blue, REAL factor, REAL* out, signed char* labels, int out_y,
    int out_x) {
    Long sample = blockIdx.x / out_y, next = position[0] + sample, image = order[next];
    int row = blockIdx.x % out_y, top = int(corners[2 * next]), left = int(corners[2 * next + 1]);
    each_in_row(3 * out_x, [=](int i) {
        int column = i / 3, colour = i % 3;
        Place at = {top + row, left + (mirrored[next] ? out_x - 1 - column : column)};
        const int* size = extents + 2 * image;
        bool seen = inside(at, size);
        Long pixel = Long(at.y) * size[1] + at.x;
        REAL value = 0;
        if (seen) {
            value = images[image_starts[image] + pixel * 3 + colour] + REAL(colours[3 * next + colour]);
            value = min(max(value, REAL(0)), REAL(255));
        }
        out[blockIdx.x * Long(3 * out_x) + i] = (value - of_three(colour, red, green, blue)) * factor;
        if (colour == 0) labels[blockIdx.x * Long(out_x) + column] = seen ? masks[mask_starts[image] + pixel] : 255;
    });
}

extern "C" __global__ void advance(Long* position, Long samples) { position[0] += samples; }
