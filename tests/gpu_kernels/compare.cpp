// Compares the kernels in gpu.cu with the plain formulas, in double precision. Prints a line for
// each that is off; the exit code is their number.

#include <cstdio>
#include <random>

#include "gpu.cu"

using Numbers = std::vector<float>;

static std::mt19937 random_numbers(7);

static Numbers normal(size_t count) {
    std::normal_distribution<float> distribution;
    Numbers numbers(count);
    for (float& number : numbers) number = distribution(random_numbers);
    return numbers;
}

// A number as the products read it, and how far rounding may take it: by half a step, and by what
// the step itself loses in 16 bits, up to 127 times.
static double value(const std::vector<Block>& blocks, int at) {
    return (double)__half2float(blocks[at / LANES].step) * blocks[at / LANES].steps[at % LANES];
}

static double slack(const std::vector<Block>& blocks, int at) {
    return __half2float(blocks[at / LANES].step) * 0.57 + 1e-5;
}

static int faults = 0;

static void expect(const char* what, double found, double wanted, double allowed, int at) {
    // Written so that what is no number is a fault.
    if (std::abs(found - wanted) <= allowed) return;
    std::printf("%s: number %d is %g and should be %g\n", what, at, found, wanted);
    faults++;
}

static void expect_blocks(const char* what, const std::vector<Block>& blocks,
                          const std::vector<double>& wanted) {
    for (size_t at = 0; at < wanted.size(); at++)
        expect(what, value(blocks, at), wanted[at], slack(blocks, at), at);
    for (size_t block = 0; block < blocks.size(); block++) {
        double sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += wanted[block * LANES + lane];
        expect("the sum of a block", __half2float(blocks[block].sum), sum,
               1e-3 * (1 + std::abs(sum)), block);
    }
}

static void compare_normalise(int width, bool adds) {
    const Numbers x = normal(width), added = normal(width), weight = normal(width);
    Numbers kept(width);
    std::vector<Block> blocks(width / LANES);
    launch(1, NORM_THREADS, [&] {
        normalise(x.data(), adds ? added.data() : nullptr, kept.data(), weight.data(), 1e-6f,
                  width, blocks.data());
    });
    std::vector<double> sum(width), wanted(width);
    double squares = 0;
    for (int at = 0; at < width; at++) {
        sum[at] = x[at] + (adds ? added[at] : 0);
        squares += sum[at] * sum[at];
        expect("normalise keeps", kept[at], sum[at], 1e-6, at);
    }
    for (int at = 0; at < width; at++)
        wanted[at] = sum[at] / std::sqrt(squares / width + 1e-6) * weight[at];
    expect_blocks("normalise", blocks, wanted);
}

// What `heads` is to make of one head: bias, norm and turn, each if it is there.
static std::vector<double> turned(const float* from, const float* bias, const float* norm,
                                  const float* cosines, const float* sines, bool neighbours,
                                  int width) {
    std::vector<double> head(width);
    double squares = 0;
    for (int at = 0; at < width; at++) {
        head[at] = from[at] + (bias ? bias[at] : 0);
        squares += head[at] * head[at];
    }
    if (norm)
        for (int at = 0; at < width; at++) head[at] *= norm[at] / std::sqrt(squares / width + 1e-6);
    if (cosines)
        for (int pair = 0; pair < width / 2; pair++) {
            double& x = head[neighbours ? 2 * pair : pair];
            double& y = head[neighbours ? 2 * pair + 1 : pair + width / 2];
            const double before = x;
            x = before * cosines[pair] - y * sines[pair];
            y = before * sines[pair] + y * cosines[pair];
        }
    return head;
}

static void compare_heads(int width, bool neighbours, bool biases, bool norms) {
    const int count = 3, key_count = 2, room = 9, position = 5, pairs = width / 2;
    Numbers queries = normal(count * width);
    const Numbers before = queries, keys = normal(key_count * width),
                  values = normal(key_count * width), query_bias = normal(count * width),
                  key_bias = normal(key_count * width), value_bias = normal(key_count * width),
                  query_norm = normal(width), key_norm = normal(width),
                  cosines = normal(room * pairs), sines = normal(room * pairs);
    Numbers all_keys(key_count * room * width, 7.0f), all_values = all_keys;
    const auto bias = [&](const Numbers& it) { return biases ? it.data() : nullptr; };
    const auto norm = [&](const Numbers& it) { return norms ? it.data() : nullptr; };
    launch(count + 2 * key_count, pairs, [&] {
        heads(queries.data(), keys.data(), values.data(), bias(query_bias), bias(key_bias),
              bias(value_bias), norm(query_norm), norm(key_norm), 1e-6f, cosines.data(),
              sines.data(), neighbours, count, key_count, position, room, all_keys.data(),
              all_values.data());
    });
    const float *cosine = &cosines[position * pairs], *sine = &sines[position * pairs];
    const auto of = [&](const float* numbers, int head) {
        return numbers ? numbers + head * width : nullptr;
    };
    for (int head = 0; head < count; head++) {
        const auto wanted = turned(of(before.data(), head), of(bias(query_bias), head),
                                   norm(query_norm), cosine, sine, neighbours, width);
        for (int at = 0; at < width; at++)
            expect("queries", queries[head * width + at], wanted[at], 1e-4, at);
    }
    for (int head = 0; head < key_count; head++) {
        const auto key = turned(of(keys.data(), head), of(bias(key_bias), head), norm(key_norm),
                                cosine, sine, neighbours, width);
        const auto kept = turned(of(values.data(), head), of(bias(value_bias), head), nullptr,
                                 nullptr, nullptr, neighbours, width);
        for (int place = 0; place < room; place++)
            for (int at = 0; at < width; at++) {
                const int there = (head * room + place) * width + at;
                const bool new_one = place == position;
                expect("keys", all_keys[there], new_one ? key[at] : 7, 1e-4, at);
                expect("values", all_values[there], new_one ? kept[at] : 7, 1e-4, at);
            }
    }
}

static void compare_attend(int width, int tokens) {
    const int count = 4, sharing = 2, room = tokens + 3;
    const Numbers queries = normal(count * width), keys = normal(count / sharing * room * width),
                  values = normal(count / sharing * room * width);
    std::vector<Block> blocks(count * width / LANES);
    launch(count, WARPS * LANES, [&] {
        attend(queries.data(), keys.data(), values.data(), width, sharing, room, tokens,
               blocks.data());
    });
    std::vector<double> wanted(count * width);
    for (int head = 0; head < count; head++) {
        const size_t start = (size_t)(head / sharing) * room * width;
        std::vector<double> shares(tokens);
        double total = 0;
        for (int token = 0; token < tokens; token++) {
            for (int at = 0; at < width; at++)
                shares[token] += queries[head * width + at] * keys[start + token * width + at];
            shares[token] = std::exp(shares[token] / std::sqrt(width));
            total += shares[token];
        }
        for (int token = 0; token < tokens; token++)
            for (int at = 0; at < width; at++)
                wanted[head * width + at] +=
                    shares[token] / total * values[start + token * width + at];
    }
    expect_blocks("attend", blocks, wanted);
}

static void compare_gated(int width) {
    const Numbers gates = normal(width), ups = normal(width);
    std::vector<Block> blocks(width / LANES);
    launch((width + 255) / 256, 256,
           [&] { gated(gates.data(), ups.data(), width, blocks.data()); });
    std::vector<double> wanted(width);
    for (int at = 0; at < width; at++) wanted[at] = gates[at] / (1 + std::exp(-gates[at])) * ups[at];
    expect_blocks("gated", blocks, wanted);
}

int main() {
    compare_normalise(576, false);
    compare_normalise(3584, true);
    compare_heads(64, true, false, false);
    compare_heads(128, false, true, false);
    compare_heads(256, false, false, true);
    // One token, fewer than warps, and so many that each warp has several.
    compare_attend(64, 1);
    compare_attend(128, 20);
    compare_attend(256, 70);
    compare_gated(352);
    return faults < 100 ? faults : 100;
}
