// Runs CUDA kernels on a CPU: one block after another, each thread of a block a fiber that runs until it has to wait.
//
// A fiber waits at __syncthreads and in warp shuffles. Where no fiber can go on, some threads wait for others that
// never come: on a card that is undefined, here it is an error. So is an access to the pages around an array, see
// cupy/arrays.py. Shared memory is filled with NaN before each block, and
// every second block starts its threads in the opposite order, so that a forgotten barrier shows.
#include <csetjmp>
#include <csignal>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))

extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));

namespace {

struct uint3 { unsigned x, y, z; };
uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulation {

constexpr int MOST_THREADS = 1024;
constexpr size_t STACK = (1 << 15) + 320;  // not a power of two, lest all stacks lie in the same lines of the cache

struct Fiber {
    ucontext_t context;
    jmp_buf at;
    bool started;
    int thread;
    uint3 index;
};

struct Warp {
    unsigned mask, arrived;
    uint64_t values[2][warpSize];  // of this shuffle, and of the one before, which some lanes may still have to read
    int phase[warpSize];
    int waiting[warpSize], waiters;
};

Fiber fibers[MOST_THREADS];
Warp warps[MOST_THREADS / warpSize];
int ready[MOST_THREADS], readies, idle[MOST_THREADS], idles, waiting[MOST_THREADS], waiters;
int threads, next, ended, current;
bool reversed;
jmp_buf scheduler;
char* stacks;
void (*kernel)(void**);
void** arguments;
void* misaligned;  // where something was read or written that may not lie there
bool outside;      // whether something was read or written in a page that may not be used
void* where;       // the address there; null if no processor has it

// Let other fibers run until somebody puts this one into ``ready``.
void wait() {
    int self = current;
    if (!_setjmp(fibers[self].at)) {
        if (!readies) _longjmp(scheduler, 1);
        current = ready[--readies];
        _longjmp(fibers[current].at, 1);
    }
    threadIdx = fibers[self].index;
}

void run() {
    for (;;) {
        int self = current;
        while (next < threads) {
            unsigned t = reversed ? threads - 1 - next : next;
            next++;
            fibers[self].thread = t;
            fibers[self].index = threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
            kernel(arguments);
            ended++;
        }
        idle[idles++] = self;
        wait();
    }
}

void resume(int fiber) {
    if (_setjmp(scheduler)) return;
    current = fiber;
    Fiber& f = fibers[fiber];
    if (f.started) _longjmp(f.at, 1);
    f.started = true;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = stacks + fiber * STACK;
    f.context.uc_stack.ss_size = STACK;
    makecontext(&f.context, run, 0);
    setcontext(&f.context);
}

void syncthreads() {
    if (waiters + 1 == threads) {
        while (waiters) ready[readies++] = waiting[--waiters];
    } else {
        waiting[waiters++] = current;
        wait();
    }
}

void syncwarp(unsigned mask) {
    int thread = fibers[current].thread;
    Warp& w = warps[thread / warpSize];
    if (!w.arrived) w.mask = mask;
    w.arrived |= 1u << thread % warpSize;
    if (w.arrived == w.mask) {
        w.arrived = 0;
        while (w.waiters) ready[readies++] = w.waiting[--w.waiters];
    } else {
        w.waiting[w.waiters++] = current;
        wait();
    }
}

template <class T> T exchange(unsigned mask, T value, int lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves 8 bytes at most");
    int thread = fibers[current].thread;
    Warp& w = warps[thread / warpSize];
    uint64_t* values = w.values[w.phase[thread % warpSize] ^= 1];
    memcpy(&values[thread % warpSize], &value, sizeof(T));
    syncwarp(mask);
    memcpy(&value, &values[lane], sizeof(T));
    return value;
}

bool block(char* message) {
    memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
    next = ended = 0;
    while (ended < threads) {
        if (misaligned) {
            snprintf(message, 200, "%p is not aligned for what is read or written there", misaligned);
            return false;
        }
        if (outside) {
            snprintf(message, 200, "it reads or writes at %p, outside of its arrays", where);
            return false;
        }
        if (readies) resume(ready[--readies]);
        else if (next < threads) resume(idle[--idles]);
        else {
            snprintf(message, 200, "deadlock in block (%u, %u, %u): of %d threads %d wait at __syncthreads, %d have ended, "
                     "the others wait in a shuffle", blockIdx.x, blockIdx.y, blockIdx.z, threads, waiters, ended);
            return false;
        }
    }
    return true;
}

void leave(int, siginfo_t* fault, void*) {
    outside = true;
    where = fault->si_addr;
    _longjmp(scheduler, 1);
}

// While it exists, a thread of a block ends if it reads or writes in a page that may not be used.
struct Guard {
    struct sigaction page, bus;  // what was done before; the latter is for addresses that no processor has
    Guard() {
        struct sigaction action = {};
        action.sa_sigaction = leave;
        action.sa_flags = SA_SIGINFO | SA_NODEFER;
        sigaction(SIGSEGV, &action, &page);
        sigaction(SIGBUS, &action, &bus);
    }
    ~Guard() {
        sigaction(SIGSEGV, &page, nullptr);
        sigaction(SIGBUS, &bus, nullptr);
    }
};

int launch(void (*entry)(void**), void** args, const unsigned* grid, const unsigned* extents, char* message) {
    Guard guard;
    kernel = entry;
    arguments = args;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {extents[0], extents[1], extents[2]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    if (!stacks) stacks = static_cast<char*>(malloc(MOST_THREADS * STACK));
    readies = waiters = idles = 0;
    misaligned = nullptr;
    outside = false;
    memset(warps, 0, (threads + warpSize - 1) / warpSize * sizeof(Warp));
    for (int i = threads; i--;) idle[idles++] = i;
    for (unsigned z = 0; z < gridDim.z; z++)
        for (unsigned y = 0; y < gridDim.y; y++)
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                reversed = (x + y + z) % 2;
                if (!block(message)) {
                    for (Fiber& f : fibers) f.started = false;
                    return 1;
                }
            }
    return 0;
}

int lane() { return fibers[current].thread % warpSize; }

}  // namespace emulation

inline void __syncthreads() { emulation::syncthreads(); }
inline void __syncwarp(unsigned mask = 0xffffffff) { emulation::syncwarp(mask); }
inline void __threadfence() {}

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return ((static_cast<uint64_t>(high) << 32) | low) >> (shift & 31);
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
    int lane = emulation::lane();
    return emulation::exchange(mask, value, lane / width * width + source % width);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize) {
    int lane = emulation::lane(), source = lane ^ bits;
    return emulation::exchange(mask, value, source / width == lane / width ? source : lane);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, int by, int width = warpSize) {
    int lane = emulation::lane();
    return emulation::exchange(mask, value, lane % width + by < width ? lane + by : lane);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, int by, int width = warpSize) {
    int lane = emulation::lane();
    return emulation::exchange(mask, value, lane % width >= by ? lane - by : lane);
}
template <class T> T atomicAdd(T* at, T value) {
    T old = *at;
    *at += value;
    return old;
}

using std::abs, std::fabs, std::sqrt, std::exp, std::exp2, std::log, std::pow, std::floor, std::ceil, std::rint, std::isnan,
    std::isinf, std::fmin, std::fmax, std::fma;
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

}  // namespace

// Called by what the compiler puts before each access: see -fsanitize=alignment.
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(void*, void* pointer) {
    emulation::misaligned = pointer;
    _longjmp(emulation::scheduler, 1);
}
