// Adam (Algorithm 3; Kingma and Ba 2014), on all parameters of a net; compare adam.py.
#include "update.cuh"

// Counts the step t, and writes settings = [step_size, inner], so that the factors of M̂ and V̂ are computed only once:
//
//     α·M̂/(√V̂ + ε)        = step_size·M/(√V + inner)
//     α·M̂/√(beta2·V̂ + ε)  = step_size·M/√(V + inner)    if ``printed``
extern "C" __global__ void begin(
    const double* learning_rate, Long* steps, double beta1, double beta2, double epsilon, bool printed, double* settings) {
    double t = ++steps[0];
    double factor = (printed ? beta2 : 1) / (1 - pow(beta2, t));
    settings[0] = learning_rate[0] / (1 - pow(beta1, t)) / sqrt(factor);
    settings[1] = epsilon / (printed ? factor : sqrt(factor));
}

// M = beta1·M + rest1·g; V = beta2·V + rest2·g², but at least ``smallest``; W = W − step_size·M/(√V + inner), or
// W − step_size·M/√(V + inner) if ``printed``. rest1, rest2: 1 − beta1, 1 − beta2.
extern "C" __global__ void step(
    const Parameter* parameters, const Piece* pieces, const double* settings, REAL beta1, REAL beta2, REAL rest1, REAL rest2,
    REAL smallest, bool printed) {
    REAL step_size = settings[0], inner = settings[1];
    update<2>(parameters, pieces, [=](REAL& weight, REAL gradient, REAL& moment, REAL& square) {
        moment = beta1 * moment + rest1 * gradient;
        square = max(smallest, beta2 * square + rest2 * gradient * gradient);
        weight -= step_size * (moment / (printed ? sqrt(square + inner) : sqrt(square) + inner));
    });
}
