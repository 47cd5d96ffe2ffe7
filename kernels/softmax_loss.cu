// Softmax and cross-entropy in one, p = exp(z)/Σ exp(z), ∂L/∂z = (p − onehot)/count; compare softmax_loss.py.
//
// There are three steps: ``count`` the labelled rows; ``score`` the rows, which writes the error of each row, and the
// loss and the number of correct predictions of each block; ``add`` these to the totals.
#include "common.cuh"

constexpr int TILE = 24576 / sizeof(REAL);  // numbers that a block has in shared memory; as in gpu/softmax_loss.py

// Writes the number of labelled rows that each block saw, and then the number of labels out of range, for each block
// too. A label out of range counts as no label.
template <class Label>
__device__ void count_labels(const Label* labels, Long* counts, Long rows, int classes) {
    Long count = 0, wrong = 0;
#pragma unroll 4
    for (Long i = blockIdx.x * Long(blockDim.x) + threadIdx.x; i < rows; i += gridDim.x * Long(blockDim.x)) {
        Label label = labels[i];
        count += label >= 0 && label < classes, wrong += label >= classes;
    }
    count = block_sum(count), wrong = block_sum(wrong);
    if (threadIdx.x == 0) counts[blockIdx.x] = count, counts[gridDim.x + blockIdx.x] = wrong;
}

// Copies ``size`` numbers with all threads of a block.
__device__ void copy(const REAL* from, REAL* to, int size) {
    int vectors = aligned(from, to) ? size / WIDTH : 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < vectors; i += blockDim.x) keep(several<WIDTH>(from + i * WIDTH), to + i * WIDTH);
    for (int i = vectors * WIDTH + threadIdx.x; i < size; i += blockDim.x) to[i] = from[i];
}

struct Score { double loss, correct; };

// Writes the error of a row of logits z, and returns its loss and whether its prediction is correct. ``lanes``
// neighbouring threads, a power of two, work on a row; ``error`` may be z itself. All threads of a warp must call this
// function, because they exchange numbers; a thread without a row calls it with 0 classes. label: negative if there is
// none; share: 1/count, the weight of a row in the mean.
__device__ Score score_row(const REAL* z, REAL* error, int classes, int lanes, int label, REAL share) {
    int lane = threadIdx.x % lanes, best = 0;
    REAL largest = z[0], of_label = z[max(label, 0)];
    for (int c = lane; c < classes; c += lanes)
        if (z[c] > largest) largest = z[c], best = c;
    for (int distance = lanes / 2; distance; distance /= 2) {
        REAL rival = __shfl_xor_sync(ALL, largest, distance);
        int place = __shfl_xor_sync(ALL, best, distance);
        if (rival > largest || (rival == largest && place < best)) largest = rival, best = place;
    }
    __syncwarp();  // every thread has read z before another one writes there
    REAL total = 0;
    for (int c = lane; c < classes; c += lanes) {
        REAL power = exp(z[c] - largest);
        error[c] = power;
        total += power;
    }
    for (int distance = lanes / 2; distance; distance /= 2) total += __shfl_xor_sync(ALL, total, distance);
    REAL factor = share / total;
    for (int c = lane; c < classes; c += lanes) error[c] = label < 0 ? REAL(0) : factor * error[c];
    if (label >= 0 && label % lanes == lane) error[label] -= share;
    if (lane > 0 || label < 0) return {0, 0};
    return {log(total) - (of_label - largest), double(best == label)};
}

// Scores all rows. A block takes ``abreast`` rows at a time, which are contiguous: it copies them into a tile in shared
// memory, computes there, and copies the result back. Rows that do not fit into the tile are computed in global memory.
// parts: the loss and the number of correct predictions of each block.
template <class Label>
__device__ void score_rows(
    const REAL* logits, const Label* labels, const Long* counts, int counters, REAL* error, double* parts, Long rows,
    int classes, int lanes, int abreast) {
    __shared__ Vector shared[TILE / WIDTH];
    Long labelled = 0;
    for (int i = threadIdx.x; i < counters; i += blockDim.x) labelled += counts[i];
    REAL share = REAL(1) / max(block_sum(labelled), Long(1));
    Score sum = {0, 0};
    for (Long start = blockIdx.x * Long(abreast); start < rows; start += gridDim.x * Long(abreast)) {
        const REAL* from = logits + start * classes;
        REAL *to = error + start * classes, *tile = reinterpret_cast<REAL*>(shared);
        int some = min(rows - start, Long(abreast));
        bool tiled = classes <= TILE / abreast;
        if (tiled) copy(from, tile, some * classes);
        __syncthreads();
        for (int first = 0; first < some; first += blockDim.x / lanes) {
            if (first + threadIdx.x / 32 * 32 / lanes >= some) continue;  // no thread of this warp has a row
            int row = first + threadIdx.x / lanes, label = -1;
            bool real = row < some;
            if (real && labels[start + row] >= 0 && labels[start + row] < classes) label = labels[start + row];
            Long at = Long(min(row, some - 1)) * classes;  // without a row, read the last one, which is this warp's
            auto score_of = [=](const REAL* z, REAL* error) {
                return score_row(z + at, error + at, real ? classes : 0, lanes, label, share);
            };
            Score score = tiled ? score_of(tile, tile) : score_of(from, to);
            sum.loss += score.loss, sum.correct += score.correct;
        }
        __syncthreads();
        if (tiled) copy(tile, to, some * classes);
        __syncthreads();
    }
    sum = {block_sum(sum.loss), block_sum(sum.correct)};
    if (threadIdx.x == 0) parts[2 * blockIdx.x] = sum.loss, parts[2 * blockIdx.x + 1] = sum.correct;
}

extern "C" __global__ void count_int8(const signed char* labels, Long* counts, Long rows, int classes) {
    count_labels(labels, counts, rows, classes);
}
extern "C" __global__ void count_int64(const Long* labels, Long* counts, Long rows, int classes) {
    count_labels(labels, counts, rows, classes);
}
extern "C" __global__ void score_int8(
    const REAL* logits, const signed char* labels, const Long* counts, int counters, REAL* error, double* parts,
    Long rows, int classes, int lanes, int abreast) {
    score_rows(logits, labels, counts, counters, error, parts, rows, classes, lanes, abreast);
}
extern "C" __global__ void score_int64(
    const REAL* logits, const Long* labels, const Long* counts, int counters, REAL* error, double* parts, Long rows,
    int classes, int lanes, int abreast) {
    score_rows(logits, labels, counts, counters, error, parts, rows, classes, lanes, abreast);
}

// totals += [loss, correct predictions, labelled rows, labels out of range] of all blocks. It runs as a single block.
extern "C" __global__ void add(
    const double* parts, int blocks, const Long* counts, int counters, double* totals) {
    double loss = 0, correct = 0, labelled = 0, wrong = 0;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) loss += parts[2 * i], correct += parts[2 * i + 1];
    for (int i = threadIdx.x; i < counters; i += blockDim.x) labelled += counts[i], wrong += counts[counters + i];
    loss = block_sum(loss), correct = block_sum(correct), labelled = block_sum(labelled), wrong = block_sum(wrong);
    if (threadIdx.x == 0) totals[0] += loss, totals[1] += correct, totals[2] += labelled, totals[3] += wrong;
}
