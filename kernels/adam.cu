// Adam (Algorithm 3; Kingma and Ba 2014), on all tensors of a net; compare adam.py.
#include "update.cuh"

// Counts the step, and takes the factor of V̂ out of the root: α·M̂/(√V̂ + ε) = size·M/(√V + inner).
extern "C" __global__ void begin(
    const double* rate, Long* time, double first, double second, double epsilon, bool printed, double* settings) {
    double t = ++time[0];
    double factor = (printed ? second : 1) / (1 - pow(second, t));
    settings[0] = rate[0] / (1 - pow(first, t)) / sqrt(factor);
    settings[1] = epsilon / (printed ? factor : sqrt(factor));
}

extern "C" __global__ void step(
    const Tensor* tensors, const Piece* pieces, const double* settings, REAL first, REAL second, REAL rest_of_first,
    REAL rest_of_second, REAL least, bool printed) {
    REAL size = settings[0], inner = settings[1];
    update<2>(tensors, pieces, [=](REAL& weight, REAL gradient, REAL& moment, REAL& square) {
        moment = first * moment + rest_of_first * gradient;
        square = max(least, second * square + rest_of_second * gradient * gradient);
        weight -= size * (moment / (printed ? sqrt(square + inner) : sqrt(square) + inner));
    });
}
