// Stands in for CUDA's header of this name, so that gpu.cu can be compiled for the CPU: each thread
// of a kernel is a thread here. Only what gpu.cu uses.
#pragma once

#include <immintrin.h>

#include <barrier>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define __device__
#define __global__
#define __launch_bounds__(threads)
// One block runs at a time.
#define __shared__ static

struct Dimension {
    unsigned x;
};
inline thread_local Dimension threadIdx, blockIdx, blockDim;

struct __half {
    uint16_t bits;
};
inline __half __float2half(float x) { return {(uint16_t)_cvtss_sh(x, 0)}; }
inline float __half2float(__half x) { return _cvtsh_ss(x.bits); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// What the threads of the running block wait at, and of each of its warps.
inline std::barrier<>* block_barrier;
inline std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;
inline float exchanged[32][32];

inline void __syncthreads() { block_barrier->arrive_and_wait(); }

inline float __shfl_xor_sync(unsigned, float x, int mask) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    exchanged[warp][lane] = x;
    warp_barriers[warp]->arrive_and_wait();
    const float got = exchanged[warp][lane ^ mask];
    warp_barriers[warp]->arrive_and_wait();
    return got;
}

// Runs `kernel` in every thread of every block.
inline void launch(unsigned blocks, unsigned threads, const std::function<void()>& kernel) {
    for (unsigned block = 0; block < blocks; block++) {
        std::barrier<> barrier(threads);
        block_barrier = &barrier;
        warp_barriers.clear();
        for (unsigned warp = 0; warp < threads / 32; warp++)
            warp_barriers.push_back(std::make_unique<std::barrier<>>(32));
        std::vector<std::thread> all;
        for (unsigned thread = 0; thread < threads; thread++)
            all.emplace_back([=, &kernel] {
                threadIdx = {thread};
                blockIdx = {block};
                blockDim = {threads};
                kernel();
                block_barrier->arrive_and_drop();
            });
        for (auto& thread : all) thread.join();
    }
}
