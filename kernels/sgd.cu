// Stochastic gradient descent with momentum (Algorithm 2), on all tensors of a net; compare sgd.py.
#include "update.cuh"

extern "C" __global__ void step(
    const Tensor* tensors, const Piece* pieces, const double* rate, Long* time, REAL momentum, REAL rest, bool dlib) {
    REAL size = rate[0];
    update<1>(tensors, pieces, [=](REAL& weight, REAL gradient, REAL& moment, REAL&) {
        moment = momentum * moment + (dlib ? -size : rest) * gradient;
        weight += (dlib ? REAL(1) : -size) * moment;
    });
    if (blockIdx.x == 0 && threadIdx.x == 0) time[0]++;
}
