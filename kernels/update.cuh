// The update of SGD and Adam: one launch for all parameters of a net. Each block takes one piece of a parameter: a
// whole filter if GC or WC subtracts the mean of each filter (Algorithms 2 and 3). Compare gpu/update.py.
#include "common.cuh"

struct Parameter {
    REAL *weights, *grads, *moments[2];
    double weight_decay;
    int gc, wc;  // whether to center each filter's gradient before the update (GC), and each filter after it (WC)
};

struct Piece {
    Long parameter, start, length;
};

// step(weight, gradient, moment, second moment) changes one weight and its moments. The gradient it gets is centered if
// ``gc``, and includes the weight decay. WHOLE: the piece consists of whole vectors, which are aligned.
template <bool WHOLE, int MOMENTS, class Step>
__device__ void update_piece(const Parameter& parameter, Long start, Long length, Step step) {
    REAL *weights = parameter.weights + start, *grads = parameter.grads + start;
    REAL *first = parameter.moments[0] + start, *second = parameter.moments[1] + start;
    Long begin = threadIdx.x * WIDTH, abreast = blockDim.x * WIDTH;
    REAL decay = parameter.weight_decay, mean = 0;
    double sum = 0;
    if (parameter.gc) {
        for (Long i = begin; i < length; i += abreast) {
            Vector g = load<WHOLE>(grads, i, length);
            for (int k = 0; k < WIDTH; k++) sum += g.at[k];
        }
        mean = block_sum(sum) / length;
    }
    sum = 0;
    for (Long i = begin; i < length; i += abreast) {
        Vector w = load<WHOLE>(weights, i, length), g = load<WHOLE>(grads, i, length);
        Vector m = load<WHOLE>(first, i, length), v = MOMENTS > 1 ? load<WHOLE>(second, i, length) : m;
        for (int k = 0; k < WIDTH; k++) {
            step(w.at[k], g.at[k] - mean + decay * w.at[k], m.at[k], v.at[k]);
            if (i + k < length) sum += w.at[k];
        }
        store<WHOLE>(w, weights, i, length);
        store<WHOLE>(m, first, i, length);
        if (MOMENTS > 1) store<WHOLE>(v, second, i, length);
    }
    if (parameter.wc) {
        mean = block_sum(sum) / length;
        for (Long i = begin; i < length; i += abreast) {
            Vector w = load<WHOLE>(weights, i, length);
            store<WHOLE>(lanes([=](REAL w) { return w - mean; }, w), weights, i, length);
        }
    }
}

template <int MOMENTS, class Step>
__device__ void update(const Parameter* parameters, const Piece* pieces, Step step) {
    Piece piece = pieces[blockIdx.x];
    Parameter parameter = parameters[piece.parameter];
    bool straight = aligned(parameter.weights, parameter.grads, parameter.moments[0], parameter.moments[1]);
    if (straight && piece.start % WIDTH == 0 && piece.length % WIDTH == 0)
        update_piece<true, MOMENTS>(parameter, piece.start, piece.length, step);
    else
        update_piece<false, MOMENTS>(parameter, piece.start, piece.length, step);
}
