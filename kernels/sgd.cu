// Stochastic gradient descent with momentum (Algorithm 2), on all parameters of a net; compare sgd.py.
#include "update.cuh"

// M = ψ·M + (1 − ψ)·g, W = W − α·M; or, if ``dlib``, M = ψ·M − α·g, W = W + M. Counts the step.
extern "C" __global__ void step(
    const Parameter* parameters, const Piece* pieces, const double* learning_rate, Long* steps,
    const double* momentum, bool dlib) {
    REAL alpha = learning_rate[0], psi = momentum[0], rest = 1 - momentum[0];
    update<1>(parameters, pieces, [=](REAL& weight, REAL gradient, REAL& moment, REAL&) {
        moment = psi * moment + (dlib ? -alpha : rest) * gradient;
        weight += (dlib ? REAL(1) : -alpha) * moment;
    });
    if (blockIdx.x == 0 && threadIdx.x == 0) steps[0]++;
}
