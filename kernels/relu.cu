// Rectified linear unit, y = max(x, 0), and its adjoint, ∂L/∂x = ∂L/∂y where y > 0, else 0; compare relu.py.
#include "common.cuh"

extern "C" __global__ void forward(const REAL* data, REAL* out, Long size) {
    map(size, out, [](REAL x) { return relu(x); }, data);
}

extern "C" __global__ void backward(const REAL* error, const REAL* output, REAL* out, Long size) {
    map(size, out, [](REAL e, REAL y) { return y > 0 ? e : 0; }, error, output);
}
