#include "vision/resnet128.h"

#include <algorithm>
#include <string>

#include <ATen/ops/zeros.h>

#include "vision/parallel.h"

namespace faiss_vision {
namespace {

constexpr int kSteps = 64;                                 // room for those of the forward pass
constexpr int64_t kBatch = 8;                              // bounds memory: about 2 MB per chip; enough to use weights often
constexpr float kMean[3] = {122.782f, 117.001f, 104.298f}; // RGB, of the pictures it was trained with

/// A convolution, the scale layer behind it folded in.
PackedConv convolution(const Safetensors& weights, const std::string& name, int64_t in, int64_t out, int64_t size, bool relu) {
    const at::Tensor filters = weights.tensor(name + "/conv/filters", {size, size, in, out}).permute({3, 2, 0, 1});
    const at::Tensor bias = weights.tensor(name + "/conv/bias", {out});
    const at::Tensor scale = weights.tensor(name + "/scale/weights", {out}),
                     shift = weights.tensor(name + "/scale/biases", {out});
    return PackedConv(filters.mul(scale.view({out, 1, 1, 1})), bias.mul(scale).add(shift),
                      relu ? at::zeros({out}) : at::Tensor());
}

/// The second convolution's activation is the ReLU behind the sum.
Resnet128::Residual residual(const Safetensors& weights, const std::string& name, int64_t channels) {
    return {convolution(weights, name + "/conv1", channels, channels, 3, true),
            convolution(weights, name + "/conv2", channels, channels, 3, true)};
}

Resnet128::Residual residualDown(const Safetensors& weights, const std::string& name, int64_t in, int64_t out) {
    return {convolution(weights, name + "/conv1", in, out, 3, true), convolution(weights, name + "/conv2", out, out, 3, true)};
}

void pixels(const uint8_t* chips, PaddedMaps& out, Steps::Walk& walk) {
    constexpr int size = Resnet128::kChipSize;
    walk.run(out.count() * size, [&](int64_t row) {
        const uint8_t* from = chips + row * size * 3;
        float* to = out.at(row / size, int(row % size), 0);
        for (int x = 0; x < size; x++) {
            for (int c = 0; c < 3; c++) to[3 * x + c] = (float(from[3 * x + c]) - kMean[c]) / 255.0f;
        }
    });
}

void residual(const Resnet128::Residual& layer, PaddedMaps& x, PaddedMaps& inner, Steps::Walk& walk) {
    convolve(layer.conv1, x, 1, 1, false, inner, walk);
    convolve(layer.conv2, inner, 1, 1, true, x, walk); // onto x itself: the sum needs no pass of its own
}

void residualDown(const Resnet128::Residual& layer, const PaddedMaps& x, PaddedMaps& inner, PaddedMaps& out, Steps::Walk& walk) {
    convolve(layer.conv1, x, 2, 0, false, inner, walk);
    // Where the convolution gives one row and column less than the pool, zeros stand in for them: there
    // the pool, which follows a ReLU, stays as it is.
    averagePool2(x, out, walk);
    convolve(layer.conv2, inner, 1, 1, true, out, walk);
}

} // namespace

Resnet128::Resnet128(const Safetensors& weights)
    : conv32Down((weights.requireModel("resnet128"), convolution(weights, "conv32_down", 3, 32, 7, true))),
      conv32{residual(weights, "conv32_1", 32), residual(weights, "conv32_2", 32), residual(weights, "conv32_3", 32)},
      conv64Down(residualDown(weights, "conv64_down", 32, 64)),
      conv64{residual(weights, "conv64_1", 64), residual(weights, "conv64_2", 64), residual(weights, "conv64_3", 64)},
      conv128Down(residualDown(weights, "conv128_down", 64, 128)),
      conv128{residual(weights, "conv128_1", 128), residual(weights, "conv128_2", 128)},
      conv256Down(residualDown(weights, "conv256_down", 128, 256)),
      conv256{residual(weights, "conv256_1", 256), residual(weights, "conv256_2", 256)},
      conv256DownOut(residualDown(weights, "conv256_down_out", 256, 256)),
      fc(weights.tensor("fc", {256, 128}).t().reshape({128, 256, 1, 1}), at::Tensor(), at::Tensor()) {}

void Resnet128::forward(const uint8_t* chips, int64_t n, float* features) const {
    // Few chips: the threads share each layer. Many: each thread takes chips of its own and waits for nobody.
    const int64_t threads = at::get_num_threads(), batch = n < 2 * threads ? n : std::min(kBatch, (n + threads - 1) / threads);
    const auto part = [&](int64_t i) {
        forwardBatch(chips + i * batch * kChipSize * kChipSize * 3, std::min(batch, n - i * batch),
                     features + i * batch * kDimension);
    };
    if (batch == n) return part(0);
    forEachPiece((n + batch - 1) / batch, [] { return 0; }, [&](int, int64_t i) { part(i); });
}

void Resnet128::forwardBatch(const uint8_t* chips, int64_t n, float* features) const {
    const auto maps = [n](int size, int channels) { return PaddedMaps(n, size, size, channels); };
    PaddedMaps input = maps(kChipSize, 3), stem = maps(72, 32);
    PaddedMaps x32 = maps(35, 32), inner32 = maps(35, 32), x64 = maps(17, 64), inner64 = maps(17, 64);
    PaddedMaps x128 = maps(8, 128), inner128 = maps(8, 128), down256 = maps(3, 256), x256 = maps(4, 256), inner256 = maps(4, 256);
    PaddedMaps downOut = maps(1, 256), xOut = maps(2, 256), mean = maps(1, 256), result = maps(1, kDimension);

    Steps::walk(kSteps, [&](Steps::Walk& walk) {
        pixels(chips, input, walk);
        convolve(conv32Down, input, 2, 0, false, stem, walk);
        maxPool3(stem, x32, walk);
        for (const Residual& layer : conv32) residual(layer, x32, inner32, walk);
        residualDown(conv64Down, x32, inner64, x64, walk);
        for (const Residual& layer : conv64) residual(layer, x64, inner64, walk);
        residualDown(conv128Down, x64, inner128, x128, walk);
        for (const Residual& layer : conv128) residual(layer, x128, inner128, walk);
        residualDown(conv256Down, x128, down256, x256, walk);
        for (const Residual& layer : conv256) residual(layer, x256, inner256, walk);
        residualDown(conv256DownOut, x256, downOut, xOut, walk);
        averagePool2(xOut, mean, walk);
        convolve(fc, mean, 1, 0, false, result, walk);
    });
    for (int64_t i = 0; i < n; i++) std::copy_n(result.at(i, 0, 0), kDimension, features + i * kDimension);
}

} // namespace faiss_vision
