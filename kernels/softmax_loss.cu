// Softmax and cross-entropy in one, p = exp(z)/Σ exp(z), ∂L/∂z = (p − onehot)/count; compare softmax_loss.py.
//
// There are three steps: ``count`` the labelled rows; ``score`` the rows, which writes the error of each row, and the
// loss and the number of correct predictions of each block; ``add`` these to the totals.
#include "common.cuh"

constexpr int TILE = 24576 / sizeof(REAL);  // numbers that a block has in shared memory; as in gpu/softmax_loss.py
constexpr int BATCH = 3;                    // vectors that a thread loads before it stores the first of them

// Writes the number of labelled rows that each block saw, and then the number of labels out of range, for each block
// too. A label out of range counts as no label. A thread reads 16 bytes of labels at a time.
template <class Label>
__device__ void count_labels(const Label* labels, Long* counts, Long rows, int classes) {
    constexpr int N = 16 / sizeof(Label);
    Long first = blockIdx.x * Long(blockDim.x) + threadIdx.x, step = gridDim.x * Long(blockDim.x);
    Long vectors = aligned(labels) ? rows / N : 0, count = 0, wrong = 0;
    auto look = [&](Label label) { count += label >= 0 && label < classes, wrong += label >= classes; };
#pragma unroll 4
    for (Long i = first; i < vectors; i += step) {
        Several<Label, N> some = several<N>(labels + i * N);
        for (int k = 0; k < N; k++) look(some.at[k]);
    }
    for (Long i = vectors * N + first; i < rows; i += step) look(labels[i]);
    count = block_sum(count), wrong = block_sum(wrong);
    if (threadIdx.x == 0) counts[blockIdx.x] = count, counts[gridDim.x + blockIdx.x] = wrong;
}

// Copies ``size`` numbers with all threads of a warp.
__device__ void copy(const REAL* from, REAL* to, int size) {
    int thread = threadIdx.x % 32, vectors = aligned(from, to) ? size / WIDTH : 0;
#pragma unroll 1  // unrolled, it takes more registers
    for (int first = thread; first < vectors; first += 32 * BATCH) {
        Vector batch[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; j++)
            if (first + 32 * j < vectors) batch[j] = reinterpret_cast<const Vector*>(from)[first + 32 * j];
#pragma unroll
        for (int j = 0; j < BATCH; j++)
            if (first + 32 * j < vectors) reinterpret_cast<Vector*>(to)[first + 32 * j] = batch[j];
    }
#pragma unroll 1
    for (int i = vectors * WIDTH + thread; i < size; i += 32) to[i] = from[i];
}

// The classes of a row that one thread computes: first, first + step, … below last.
struct Piece { int first, last, step; };

struct Score { double loss, correct; };

// Replaces a row of logits z by its error, and returns its loss and whether its prediction is correct to the first of
// the ``lanes`` neighbouring threads, a power of two, that work on the row, each on a piece of it. All threads of a warp
// must call this function, because they exchange numbers; a thread without a row calls it with an empty piece of another
// one. label: negative if there is none; share: 1/count, the weight of a row in the mean.
__device__ Score score_row(REAL* z, Piece piece, int lanes, int label, REAL share) {
    REAL largest = z[0], of_label = z[max(label, 0)], total = 0;
    int best = 0;
#pragma unroll 4
    for (int c = piece.first; c < piece.last; c += piece.step)
        if (z[c] > largest) largest = z[c], best = c;
    for (int distance = lanes / 2; distance; distance /= 2) {
        REAL rival = __shfl_xor_sync(ALL, largest, distance);
        int place = __shfl_xor_sync(ALL, best, distance);
        if (rival > largest || (rival == largest && place < best)) largest = rival, best = place;
    }
    __syncwarp();  // every thread has read z before another one writes there
    // exp(x) as 2^(x / ln 2): three instructions instead of ten. As x <= 0, exp(x) differs by less than 10^-7.
#pragma unroll 4
    for (int c = piece.first; c < piece.last; c += piece.step)
        total += z[c] = exp2((z[c] - largest) * REAL(1.4426950408889634));
    for (int distance = lanes / 2; distance; distance /= 2) total += __shfl_xor_sync(ALL, total, distance);
    REAL factor = share / total;
#pragma unroll 4
    for (int c = piece.first; c < piece.last; c += piece.step) {
        REAL scaled = factor * z[c];
        z[c] = label < 0 ? REAL(0) : scaled;
    }
    __syncwarp();  // the label's error is there
    if (threadIdx.x % lanes > 0 || label < 0) return {0, 0};
    z[label] -= share;
    return {log(total) - (of_label - largest), double(best == label)};
}

// The label, or -1 if it is out of range.
template <class Label>
__device__ int known(Label label, int classes) { return label >= 0 && label < classes ? int(label) : -1; }

// Scores all rows. A warp takes 32/lanes rows at a time, which are contiguous: it copies them into its part of a tile
// in shared memory, computes there, and copies the result back. There each of the lanes has ``most`` neighbouring classes
// of a row, or fewer. Rows that do not fit are computed where the error will be, with the classes of neighbouring lanes
// side by side, as a warp reads global memory. parts: the loss and the number of correct predictions of each block.
template <bool TILED, class Label>
__device__ void score_rows(
    const REAL* logits, const Label* labels, const Long* counts, int counters, REAL* error, double* parts, Long rows,
    int classes, int lanes, int most) {
    __shared__ Vector shared[TILE / WIDTH];
    Long labelled = 0;
    for (int i = threadIdx.x % 32; i < counters; i += 32) labelled += counts[i];
    REAL share = REAL(1) / max(warp_sum(labelled), Long(1));
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, abreast = 32 / lanes, row = threadIdx.x % 32 / lanes;
    int lane = threadIdx.x % lanes;
    Piece own = {lane, classes, lanes};
    if (TILED) own = {lane * most, min((lane + 1) * most, classes), 1};
    int size = (abreast * classes + WIDTH - 1) / WIDTH * WIDTH;  // of a warp's part
    REAL* tile = reinterpret_cast<REAL*>(shared) + (TILED ? warp * size : 0);
    Score sum = {0, 0};
    for (unsigned turn = blockIdx.x * warps + warp; turn * Long(abreast) < rows; turn += gridDim.x * warps) {
        Long start = turn * Long(abreast);
        const REAL* from = logits + start * classes;
        REAL* to = error + start * classes;
        int some = min(rows - start, Long(abreast)), label = row < some ? known(labels[start + row], classes) : -1;
        Piece piece = {row < some ? own.first : classes, own.last, own.step};
        Long at = Long(min(row, some - 1)) * classes;  // without a row, look at the last one
        REAL* place = TILED ? tile : to;
        copy(from, place, some * classes);
        __syncwarp();
        Score score = score_row(place + at, piece, lanes, label, share);
        __syncwarp();
        if (TILED) copy(place, to, some * classes);
        __syncwarp();
        sum.loss += score.loss, sum.correct += score.correct;
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

// Separate kernels for rows that fit into a tile and for larger ones: a common one would take more registers.
#define SCORE(NAME, LABEL, TILED)                                                                                     \
    extern "C" __global__ void NAME(                                                                                  \
        const REAL* logits, const LABEL* labels, const Long* counts, int counters, REAL* error, double* parts,        \
        Long rows, int classes, int lanes, int most) {                                                                \
        score_rows<TILED>(logits, labels, counts, counters, error, parts, rows, classes, lanes, most);                \
    }

SCORE(score_int8, signed char, true)
SCORE(score_int64, Long, true)
SCORE(score_large_int8, signed char, false)
SCORE(score_large_int64, Long, false)

// totals += [loss, correct predictions, labelled rows, labels out of range] of all blocks. It runs as a single block.
extern "C" __global__ void add(
    const double* parts, int blocks, const Long* counts, int counters, double* totals) {
    double loss = 0, correct = 0, labelled = 0, wrong = 0;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) loss += parts[2 * i], correct += parts[2 * i + 1];
    for (int i = threadIdx.x; i < counters; i += blockDim.x) labelled += counts[i], wrong += counts[counters + i];
    loss = block_sum(loss), correct = block_sum(correct), labelled = block_sum(labelled), wrong = block_sum(wrong);
    if (threadIdx.x == 0) totals[0] += loss, totals[1] += correct, totals[2] += labelled, totals[3] += wrong;
}
