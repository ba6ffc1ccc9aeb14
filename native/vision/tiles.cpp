#include "vision/tiles.h"

#include <algorithm>

#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include "vision/vectors.h"

namespace faiss_vision::tiles {
namespace {

using namespace vectors;

constexpr int kPoints = 6; // F(4, 3) multiplies at 0, a, -a, b, -b and infinity
constexpr int kProducts = kPoints * kPoints;
constexpr float kA = 0.70710678f, kB = 1.41421356f; // of the usual points (1 and 2, 1 and 1/2), these round least
constexpr float kA2 = kA * kA, kB2 = kB * kB;
constexpr int kTogether = 8; // output channels whose sums are in registers at once

/// Six inputs in a row become what the products take.
template <class V>
ALWAYS_INLINE void spread(V (&d)[kPoints]) {
    const V evenA = d[4] - kB2 * d[2], oddA = kA * (d[3] - kB2 * d[1]);
    const V evenB = d[4] - kA2 * d[2], oddB = kB * (d[3] - kA2 * d[1]);
    d[0] = (kA2 * kB2) * d[0] - (kA2 + kB2) * d[2] + d[4];
    d[5] = (kA2 * kB2) * d[1] - (kA2 + kB2) * d[3] + d[5];
    d[1] = evenA + oddA, d[2] = evenA - oddA, d[3] = evenB + oddB, d[4] = evenB - oddB;
}

/// Six sums of products become four results in a row.
template <class V>
ALWAYS_INLINE void gather(const V (&m)[kPoints], V (&results)[4]) {
    const V evenA = m[1] + m[2], oddA = m[1] - m[2], evenB = m[3] + m[4], oddB = m[3] - m[4];
    results[0] = m[0] + evenA + evenB;
    results[1] = kA * oddA + kB * oddB;
    results[2] = kA2 * evenA + kB2 * evenB;
    results[3] = (kA2 * kA) * oddA + (kB2 * kB) * oddB + m[5];
}

template <int Lanes>
ALWAYS_INLINE void convolveAll(const Layer& layer, const Run<4>& run, std::vector<float>& scratch) {
    using V = Floats<Lanes>;
    const ptrdiff_t spreadStep = ptrdiff_t{layer.in} * Lanes + Lanes, sumsStep = (kTogether + 1) * Lanes;
    scratch.resize(std::max(scratch.size(), size_t(kProducts * (spreadStep + sumsStep))));
    float* const inputs = scratch.data();
    float* const sums = inputs + kProducts * spreadStep;
    for (ptrdiff_t n = run.first; n < run.first + run.count; n += Lanes) {
        for (int c = 0; c < layer.in; c++) {
            V square[kPoints][kPoints];
#pragma GCC unroll 6
            for (int y = 0; y < kPoints; y++) {
#pragma GCC unroll 6
                for (int x = 0; x < kPoints; x++) square[y][x] = load<V>(run.in.at(c, y, x) + n);
                spread(square[y]);
            }
#pragma GCC unroll 6
            for (int x = 0; x < kPoints; x++) {
                V column[kPoints];
#pragma GCC unroll 6
                for (int y = 0; y < kPoints; y++) column[y] = square[y][x];
                spread(column);
#pragma GCC unroll 6
                for (int y = 0; y < kPoints; y++) at<V>(inputs + (y * kPoints + x) * spreadStep + c * Lanes) = column[y];
            }
        }
        const float* weights = layer.weights.data();
        for (int first = 0; first < layer.out; first += kTogether) {
            for (int product = 0; product < kProducts; product++) {
                const float* in = inputs + product * spreadStep;
                const float* const end = weights + layer.in * kTogether;
                V sum[kTogether] = {};
                for (; weights != end; weights += kTogether, in += Lanes) {
                    const V value = load<V>(in);
#pragma GCC unroll 16
                    for (int o = 0; o < kTogether; o++) sum[o] += value * weights[o];
                }
#pragma GCC unroll 16
                for (int o = 0; o < kTogether; o++) at<V>(sums + product * sumsStep + o * Lanes) = sum[o];
            }
            for (int o = 0; o < kTogether; o++) {
                V rows[4][kPoints];
#pragma GCC unroll 6
                for (int x = 0; x < kPoints; x++) {
                    V column[kPoints], results[4];
#pragma GCC unroll 6
                    for (int y = 0; y < kPoints; y++) column[y] = load<V>(sums + (y * kPoints + x) * sumsStep + o * Lanes);
                    gather(column, results);
#pragma GCC unroll 4
                    for (int y = 0; y < 4; y++) rows[y][x] = results[y];
                }
                const float bias = layer.bias[size_t(first + o)], slope = layer.slope[size_t(first + o)];
#pragma GCC unroll 4
                for (int y = 0; y < 4; y++) {
                    V results[4];
                    gather(rows[y], results);
#pragma GCC unroll 4
                    for (int x = 0; x < 4; x++) {
                        const V value = results[x] + bias;
                        at<V>(run.out.at(first + o, y, x) + n) = value > 0 ? value : value * slope;
                    }
                }
            }
        }
    }
}

/// @param Together  output channels whose sums are in registers at once
template <int Lanes, int Together>
ALWAYS_INLINE void convolvePooledAll(const Layer& layer, const Run<8>& run) {
    using V = Floats<Lanes>;
    constexpr int kChannels = 3, kColumns = 10, kWeights = 12;
    for (ptrdiff_t n = run.first; n < run.first + run.count; n += Lanes) {
        for (int py = 0; py < 4; py++) {
            V in[kChannels][kColumns][4];
            for (int c = 0; c < kChannels; c++) {
                const float* rows[4];
                for (int y = 0; y < 4; y++) rows[y] = run.in.at(c, 2 * py + y, 0) + n;
                for (int x = 0; x < kColumns; x++) {
                    const ptrdiff_t at = x % 8 * run.in.plane + x / 8;
                    const V a = load<V>(rows[0] + at), b = load<V>(rows[1] + at), d = load<V>(rows[2] + at), e = load<V>(rows[3] + at);
                    in[c][x][0] = a - d, in[c][x][1] = b + d, in[c][x][2] = d - b, in[c][x][3] = b - e;
                }
            }
            for (int px = 0; px < 4; px++) {
                for (int first = 0; first < layer.out; first += Together) {
                    const float* weights = layer.weights.data() + first * kChannels * kWeights;
                    V sum[Together][2][4] = {};
#pragma GCC unroll 1
                    for (int c = 0; c < kChannels; c++, weights += kWeights) {
#pragma GCC unroll 4
                        for (int product = 0; product < 4; product++) {
                            V value[4];
#pragma GCC unroll 4
                            for (int k = 0; k < 4; k++) value[k] = in[c][2 * px + k][product];
#pragma GCC unroll 2
                            for (int o = 0; o < Together; o++) {
#pragma GCC unroll 3
                                for (int k = 0; k < 3; k++) {
                                    const float weight = weights[o * kChannels * kWeights + product * 3 + k];
                                    sum[o][0][product] += value[k] * weight;
                                    sum[o][1][product] += value[k + 1] * weight;
                                }
                            }
                        }
                    }
#pragma GCC unroll 2
                    for (int o = 0; o < Together; o++) {
                        const V a = sum[o][0][0] + sum[o][0][1] + sum[o][0][2], b = sum[o][0][1] - sum[o][0][2] - sum[o][0][3];
                        const V d = sum[o][1][0] + sum[o][1][1] + sum[o][1][2], e = sum[o][1][1] - sum[o][1][2] - sum[o][1][3];
                        // NaN is neither larger nor smaller; the first is NaN only where all are.
                        V high = b > a ? b : a, low = b < a ? b : a;
                        high = d > high ? d : high, low = d < low ? d : low;
                        high = e > high ? e : high, low = e < low ? e : low;
                        const float bias = layer.bias[size_t(first + o)], slope = layer.slope[size_t(first + o)];
                        high += bias, low += bias;
                        // Where the slope is negative, PReLU is largest at one of the two ends; else at the upper one.
                        const V fromHigh = high > 0 ? high : high * slope, fromLow = low > 0 ? low : low * slope;
                        const V best = fromLow > fromHigh ? fromLow : fromHigh;
                        at<V>(run.out.at(first + o, py, px) + n) = best == best ? best : V{};
                    }
                }
            }
        }
    }
}

template <int Lanes>
ALWAYS_INLINE void weighAll(const std::vector<float>& weights, float bias, const Run<4>& run) {
    using V = Floats<Lanes>;
    for (ptrdiff_t n = run.first; n < run.first + run.count; n += Lanes) {
        for (int y = 0; y < 4; y++) {
            V sum[4] = {};
            for (size_t c = 0; c < weights.size(); c++) {
#pragma GCC unroll 4
                for (int x = 0; x < 4; x++) sum[x] += load<V>(run.in.at(int(c), y, x) + n) * weights[c];
            }
#pragma GCC unroll 4
            for (int x = 0; x < 4; x++) at<V>(run.out.at(0, y, x) + n) = sum[x] + bias;
        }
    }
}

#define VARIANT(name, attribute, lanes, together)                                                                                          \
    attribute void convolvePooled_##name(const Layer& layer, const Run<8>& run) { convolvePooledAll<lanes, together>(layer, run); }        \
    attribute void convolve_##name(const Layer& layer, const Run<4>& run, std::vector<float>& scratch) {                                   \
        convolveAll<lanes>(layer, run, scratch);                                                                                           \
    }                                                                                                                                      \
    attribute void weigh_##name(const std::vector<float>& weights, float bias, const Run<4>& run) { weighAll<lanes>(weights, bias, run); } \
    const Variant name = {#name, convolvePooled_##name, convolve_##name, weigh_##name};

#ifdef FAISS_VISION_X86
VARIANT(avx512, FAISS_VISION_AVX512, 16, 2)
VARIANT(avx2, FAISS_VISION_AVX2, 8, 1)
#endif
VARIANT(baseline, , 4, 1)

/// What a kernel's rows (the last axis but one) become, so that products with what the inputs become are summed.
at::Tensor transformed(const std::vector<double>& rows, const at::Tensor& weight) {
    const at::Tensor spread = at::tensor(rows, at::kDouble).view({-1, 3});
    return at::matmul(spread, weight.to(at::kDouble));
}

std::vector<float> numbers(const at::Tensor& values) {
    const at::Tensor whole = values.to(at::kFloat).contiguous();
    return std::vector<float>(whole.data_ptr<float>(), whole.data_ptr<float>() + whole.numel());
}

} // namespace

Layer pooledLayer(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope) {
    const at::Tensor down = transformed({1, 0, 0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0, 0, 1}, weight); // out x 3 x 4 x 3
    return {int(weight.size(1)), int(weight.size(0)), numbers(down), numbers(bias), numbers(slope)};
}

Layer squareLayer(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope) {
    const int64_t out = weight.size(0), in = weight.size(1);
    const double a = kA, b = kB, na = 2 * a * a * (a * a - b * b), nb = 2 * b * b * (b * b - a * a);
    const std::vector<double> rows = {1 / (a * a * b * b), 0, 0, 1 / na, a / na, a * a / na, 1 / na, -a / na, a * a / na,
                                      1 / nb, b / nb, b * b / nb, 1 / nb, -b / nb, b * b / nb, 0, 0, 1};
    const at::Tensor squares = transformed(rows, transformed(rows, weight).transpose(2, 3)).transpose(2, 3); // out x in x 6 x 6
    const at::Tensor order = squares.reshape({out / kTogether, kTogether, in, kProducts}).permute({0, 3, 2, 1});
    return {int(in), int(out), numbers(order), numbers(bias), numbers(slope)};
}

const std::vector<Variant>& variants() {
    static const std::vector<Variant> found = runnable<Variant>(FAISS_VISION_VARIANTS);
    return found;
}

} // namespace faiss_vision::tiles
