// Softmax and cross-entropy in one, for rows of logits that may have a label or not; compare softmax_loss.py.
//
// Three steps: count the labels; the error of each row, and the loss and the correct predictions of each block; sums.
#include "common.cuh"

// How many labels each block saw, then how many that no class has; these count as none.
template <class Label>
__device__ void count_labels(const Label* labels, Long* counts, Long rows, int classes) {
    Long count = 0, wrong = 0;
    for (Long i = blockIdx.x * Long(blockDim.x) + threadIdx.x; i < rows; i += gridDim.x * Long(blockDim.x))
        count += labels[i] >= 0 && labels[i] < classes, wrong += labels[i] >= classes;
    count = block_sum(count), wrong = block_sum(wrong);
    if (threadIdx.x == 0) counts[blockIdx.x] = count, counts[gridDim.x + blockIdx.x] = wrong;
}

// Each row is worked on by ``lanes`` neighbouring threads, a power of two; parts: a loss and the correct predictions of
// each block.
template <class Label>
__device__ void score_rows(
    const REAL* logits, const Label* labels, const Long* counts, int counters, REAL* error, double* parts, Long rows,
    int classes, int lanes) {
    Long labelled = 0;
    for (int i = 0; i < counters; i++) labelled += counts[i];
    REAL share = REAL(1) / max(labelled, Long(1));
    int lane = threadIdx.x % lanes, abreast = blockDim.x / lanes;
    double loss = 0, correct = 0;
    for (Long start = blockIdx.x * Long(abreast); start < rows; start += gridDim.x * Long(abreast)) {
        Long row = start + threadIdx.x / lanes;
        bool real = row < rows;  // of rows behind the end nothing is kept, but their threads take part in the shuffles
        const REAL* z = logits + (real ? row : 0) * classes;
        REAL largest = z[0];
        int best = 0;
        for (int c = lane; c < classes; c += lanes)
            if (z[c] > largest) largest = z[c], best = c;
        for (int distance = lanes / 2; distance; distance /= 2) {
            REAL rival = __shfl_xor_sync(ALL, largest, distance);
            int place = __shfl_xor_sync(ALL, best, distance);
            if (rival > largest || (rival == largest && place < best)) largest = rival, best = place;
        }
        REAL total = 0;
        for (int c = lane; c < classes; c += lanes) total += exp(z[c] - largest);
        for (int distance = lanes / 2; distance; distance /= 2) total += __shfl_xor_sync(ALL, total, distance);
        if (!real) continue;
        Long label = labels[row] < classes ? labels[row] : -1;
        for (int c = lane; c < classes; c += lanes)
            error[row * classes + c] = label < 0 ? 0 : share * (exp(z[c] - largest) / total - (c == label));
        if (lane == 0 && label >= 0) loss += log(total) - (z[label] - largest), correct += best == label;
    }
    loss = block_sum(loss), correct = block_sum(correct);
    if (threadIdx.x == 0) parts[2 * blockIdx.x] = loss, parts[2 * blockIdx.x + 1] = correct;
}

extern "C" __global__ void count_int8(const signed char* labels, Long* counts, Long rows, int classes) {
    count_labels(labels, counts, rows, classes);
}
extern "C" __global__ void count_int64(const Long* labels, Long* counts, Long rows, int classes) {
    count_labels(labels, counts, rows, classes);
}
extern "C" __global__ void score_int8(
    const REAL* logits, const signed char* labels, const Long* counts, int counters, REAL* error, double* parts,
    Long rows, int classes, int lanes) {
    score_rows(logits, labels, counts, counters, error, parts, rows, classes, lanes);
}
extern "C" __global__ void score_int64(
    const REAL* logits, const Long* labels, const Long* counts, int counters, REAL* error, double* parts, Long rows,
    int classes, int lanes) {
    score_rows(logits, labels, counts, counters, error, parts, rows, classes, lanes);
}

// totals += loss, correct predictions, labels and labels out of range of all blocks; by one block.
extern "C" __global__ void add(
    const double* parts, int blocks, const Long* counts, int counters, double* totals) {
    double loss = 0, correct = 0, labelled = 0, wrong = 0;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) loss += parts[2 * i], correct += parts[2 * i + 1];
    for (int i = threadIdx.x; i < counters; i += blockDim.x) labelled += counts[i], wrong += counts[counters + i];
    loss = block_sum(loss), correct = block_sum(correct), labelled = block_sum(labelled), wrong = block_sum(wrong);
    if (threadIdx.x == 0) totals[0] += loss, totals[1] += correct, totals[2] += labelled, totals[3] += wrong;
}
