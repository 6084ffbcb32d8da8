// One token through a decoder, in few kernels: what lies between the products of a layer is done
// at once, because a kernel costs more to start than most of these steps take. The products are
// candle's. Called by gpu.rs, which says what every argument is.

#include <cuda_fp16.h>

constexpr unsigned ALL = 0xffffffffu;
constexpr int LANES = 32;
// Most numbers a head may have.
constexpr int WIDEST_HEAD = 256;
// Threads that go through a token's numbers together, in `normalise`.
constexpr int NORM_THREADS = 1024;
// Most numbers a token may have, by the thousand.
constexpr int MOST_THOUSANDS = 16;
// Warps that share the tokens that a head looks at.
constexpr int WARPS = 32;

// 32 numbers in 8 bits each, as the products take them (ggml's block_q8_1): the value of one step,
// the sum of the numbers, the steps.
struct Block {
    __half step;
    __half sum;
    signed char steps[LANES];
};

static __device__ float sum_of(float x) {
    for (int mask = LANES / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(ALL, x, mask);
    return x;
}

static __device__ float largest_of(float x) {
    for (int mask = LANES / 2; mask > 0; mask /= 2) x = fmaxf(x, __shfl_xor_sync(ALL, x, mask));
    return x;
}

// The sum over a block of at most 1024 threads, full warps.
static __device__ float sum_of_block(float x) {
    __shared__ float sums[LANES];
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    x = sum_of(x);
    if (lane == 0) sums[warp] = x;
    __syncthreads();
    return sum_of(lane < blockDim.x / LANES ? sums[lane] : 0.0f);
}

// Writes number `at` of a token; the 32 threads of a warp write one block.
static __device__ void quantise(float x, Block* blocks, int at) {
    const float step = largest_of(fabsf(x)) / 127.0f;
    const float sum = sum_of(x);
    Block& block = blocks[at / LANES];
    const int lane = at % LANES;
    block.steps[lane] = step == 0.0f ? 0 : (signed char)roundf(x / step);
    if (lane == 0) {
        block.step = __float2half(step);
        block.sum = __float2half(sum);
    }
}

// `x` + `added`, if there is something to add, goes to `kept`; divided by the root of its mean
// square and multiplied by `weight`, to `blocks`. One block of NORM_THREADS.
extern "C" __global__ __launch_bounds__(NORM_THREADS) void normalise(
    const float* x, const float* added, float* kept, const float* weight, float epsilon, int width,
    Block* blocks) {
    float numbers[MOST_THOUSANDS];
    float squares = 0.0f;
#pragma unroll
    for (int part = 0; part < MOST_THOUSANDS; part++) {
        const int at = part * NORM_THREADS + threadIdx.x;
        if (at >= width) break;
        const float number = added ? x[at] + added[at] : x[at];
        kept[at] = number;
        numbers[part] = number;
        squares += number * number;
    }
    const float scale = rsqrtf(sum_of_block(squares) / width + epsilon);
#pragma unroll
    for (int part = 0; part < MOST_THOUSANDS; part++) {
        const int at = part * NORM_THREADS + threadIdx.x;
        if (at >= width) break;
        quantise(numbers[part] * scale * weight[at], blocks, at);
    }
}

// Query, key or value of one head, from their products: biases are added, heads of queries and
// keys divided by their norm and turned; keys and values go to their place among those of the
// tokens before. One block for each head of queries, keys and values; half as many threads as a
// head has numbers. Biases and norms may be absent.
extern "C" __global__ void heads(float* queries, const float* keys, const float* values,
                                 const float* query_bias, const float* key_bias,
                                 const float* value_bias, const float* query_norm,
                                 const float* key_norm, float epsilon, const float* cosines,
                                 const float* sines, int neighbours, int head_count,
                                 int key_count, int position, int room, float* all_keys,
                                 float* all_values) {
    const int pairs = blockDim.x, width = 2 * pairs, pair = threadIdx.x;
    int head = blockIdx.x;
    const float *from = queries, *bias = query_bias, *weight = query_norm;
    float* to = queries + head * width;
    bool turns = true;
    if (head >= head_count + key_count) {
        head -= head_count + key_count;
        from = values, bias = value_bias, weight = nullptr, turns = false;
        to = all_values + ((size_t)head * room + position) * width;
    } else if (head >= head_count) {
        head -= head_count;
        from = keys, bias = key_bias, weight = key_norm;
        to = all_keys + ((size_t)head * room + position) * width;
    }
    const int first = neighbours ? 2 * pair : pair;
    const int second = neighbours ? first + 1 : first + pairs;
    float x = from[head * width + first], y = from[head * width + second];
    if (bias) {
        x += bias[head * width + first];
        y += bias[head * width + second];
    }
    if (weight) {
        const float scale = rsqrtf(sum_of_block(x * x + y * y) / width + epsilon);
        x *= scale * weight[first];
        y *= scale * weight[second];
    }
    if (turns) {
        const float cosine = cosines[(size_t)position * pairs + pair];
        const float sine = sines[(size_t)position * pairs + pair];
        const float turned = x * cosine - y * sine;
        y = x * sine + y * cosine;
        x = turned;
    }
    to[first] = x;
    to[second] = y;
}

// What each head takes from `tokens` tokens: values weighted by softmax(query · key / √width), to
// `blocks`. One block of 32 warps for each head, which share the tokens and then join what each
// has found, as in arXiv:1805.02867.
extern "C" __global__ __launch_bounds__(WARPS * LANES) void attend(
    const float* queries, const float* keys, const float* values, int width, int sharing, int room,
    int tokens, Block* blocks) {
    __shared__ float found[WARPS][WIDEST_HEAD];
    __shared__ float largests[WARPS], totals[WARPS];
    constexpr int MOST = WIDEST_HEAD / LANES;
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, head = blockIdx.x;
    const int parts = width / LANES;
    const size_t start = (size_t)(head / sharing) * room * width;
    const float scale = rsqrtf((float)width);
    float query[MOST], sum[MOST];
#pragma unroll
    for (int part = 0; part < MOST; part++) {
        query[part] = part < parts ? queries[head * width + part * LANES + lane] * scale : 0.0f;
        sum[part] = 0.0f;
    }
    float largest = -INFINITY, total = 0.0f;
    for (int token = warp; token < tokens; token += WARPS) {
        const float* key = keys + start + (size_t)token * width + lane;
        const float* value = values + start + (size_t)token * width + lane;
        float score = 0.0f, read[MOST];
#pragma unroll
        for (int part = 0; part < MOST; part++) {
            if (part < parts) {
                score += query[part] * key[part * LANES];
                read[part] = value[part * LANES];
            }
        }
        score = sum_of(score);
        const float before = largest;
        largest = fmaxf(largest, score);
        const float fade = expf(before - largest), share = expf(score - largest);
        total = total * fade + share;
#pragma unroll
        for (int part = 0; part < MOST; part++) {
            if (part < parts) sum[part] = sum[part] * fade + share * read[part];
        }
    }
#pragma unroll
    for (int part = 0; part < MOST; part++) {
        if (part < parts) found[warp][part * LANES + lane] = sum[part];
    }
    if (lane == 0) {
        largests[warp] = largest;
        totals[warp] = total;
    }
    __syncthreads();
    if (threadIdx.x >= width) return;
    for (int other = 0; other < WARPS; other++) largest = fmaxf(largest, largests[other]);
    float joined = 0.0f;
    total = 0.0f;
    for (int other = 0; other < WARPS; other++) {
        // A warp without a token has found nothing: its share is 0.
        const float share = expf(largests[other] - largest);
        joined += share * found[other][threadIdx.x];
        total += share * totals[other];
    }
    quantise(joined / total, blocks, head * width + threadIdx.x);
}

// silu(gate) * up, to `blocks`. One thread for each number.
extern "C" __global__ void gated(const float* gates, const float* ups, int width, Block* blocks) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= width) return;
    const float gate = gates[at];
    quantise(gate / (1.0f + expf(-gate)) * ups[at], blocks, at);
}
