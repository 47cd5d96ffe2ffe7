// Average pooling without padding; compare average_pool.py.
#include "windows.cuh"

// A block takes some of a row of outputs.
extern "C" __global__ void forward(
    const REAL* data, REAL* out, int size, int stride, int y, int x, int channels, int out_y, int out_x) {
    Long sample = blockIdx.x / out_y, row = blockIdx.x % out_y;
    each_in_row(out_x * channels, [=](int i) {
        int column = i / channels, channel = i % channels;
        const REAL* window = data + ((sample * y + row * stride) * x + column * stride) * channels + channel;
        REAL sum = 0;
        for (int dy = 0; dy < size; dy++)
            for (int dx = 0; dx < size; dx++) sum += window[(Long(dy) * x + dx) * channels];
        out[blockIdx.x * Long(out_x) * channels + i] = sum / (size * size);
    });
}

// A block takes some of a row of pixels. Each gathers from the windows that see it.
extern "C" __global__ void backward(
    const REAL* error, REAL* out, int size, int stride, int y, int x, int channels, int out_y, int out_x) {
    Windows rows = {size, stride, out_y}, columns = {size, stride, out_x};
    Long sample = blockIdx.x / y;
    int row = blockIdx.x % y;
    each_in_row(x * channels, [=](int i) {
        int column = i / channels, channel = i % channels;
        REAL sum = sum_windows(rows, columns, row, column, [=](int v, int u) {
            return error[((sample * out_y + v) * out_x + u) * channels + channel];
        });
        out[blockIdx.x * Long(x) * channels + i] = sum / (size * size);
    });
}

// A block takes some channels of a sample.
extern "C" __global__ void forward_global(const REAL* data, REAL* out, int plane, int channels) {
    each_in_row(channels, [=](int channel) {
        const REAL* pixels = data + blockIdx.x * Long(plane) * channels + channel;
        REAL sum = 0;
        for (int i = 0; i < plane; i++) sum += pixels[Long(i) * channels];
        out[blockIdx.x * Long(channels) + channel] = sum / plane;
    });
}

// A block takes some elements of a sample.
extern "C" __global__ void backward_global(const REAL* error, REAL* out, int plane, int channels) {
    each_in_row(plane * channels, [=](int i) {
        out[blockIdx.x * Long(plane) * channels + i] = error[blockIdx.x * Long(channels) + i % channels] / plane;
    });
}
