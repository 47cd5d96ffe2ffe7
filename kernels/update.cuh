// What SGD and Adam share: one pass over all tensors of a net. Each block takes a piece, which is a whole filter where
// Algorithms 2 and 3 subtract means of filters; compare update.py.
#include "common.cuh"

struct Tensor {
    REAL *weights, *grads, *moments[2];
    double weight_decay;
    int gc, wc;  // whether each filter's gradient is centered before the update, and each filter after it
};

struct Piece {
    Long tensor, start, length;
};

// step(weight, gradient, moments…) changes one weight and its moments, the gradient holding the weight decay already.
template <int MOMENTS, class Step>
__device__ void update(const Tensor* tensors, const Piece* pieces, Step step) {
    Piece piece = pieces[blockIdx.x];
    Tensor tensor = tensors[piece.tensor];
    Long length = piece.length;
    REAL *weights = tensor.weights + piece.start, *grads = tensor.grads + piece.start;
    REAL *first = tensor.moments[0] + piece.start, *second = tensor.moments[MOMENTS - 1] + piece.start;
    bool whole = aligned(weights, grads, first, second) && length % WIDTH == 0;
    int begin = threadIdx.x * WIDTH, step_size = blockDim.x * WIDTH;
    REAL decay = tensor.weight_decay, mean = 0;
    if (tensor.gc) {
        double sum = 0;
        for (Long i = begin; i < length; i += step_size) {
            Vector g = load(grads, i, length, whole);
            for (int k = 0; k < WIDTH; k++) sum += g.at[k];
        }
        mean = block_sum(sum) / length;
    }
    double sum = 0;
    for (Long i = begin; i < length; i += step_size) {
        Vector w = load(weights, i, length, whole), g = load(grads, i, length, whole);
        Vector m = load(first, i, length, whole), v = MOMENTS > 1 ? load(second, i, length, whole) : m;
        for (int k = 0; k < WIDTH; k++) {
            step(w.at[k], g.at[k] - mean + decay * w.at[k], m.at[k], v.at[k]);
            if (i + k < length) sum += w.at[k];
        }
        store(w, weights, i, length, whole);
        store(m, first, i, length, whole);
        if (MOMENTS > 1) store(v, second, i, length, whole);
    }
    if (tensor.wc) {
        mean = block_sum(sum) / length;
        for (Long i = begin; i < length; i += step_size) {
            Vector w = load(weights, i, length, whole);
            store(lanes([=](REAL w) { return w - mean; }, w), weights, i, length, whole);
        }
    }
}
