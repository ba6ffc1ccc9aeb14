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
    const at::Tensor scale = weights.tensor(name + "/scale/weights", {out}), shift = weights.tensor(name + "/scale/biases", {out});
    return PackedConv(filters.mul(scale.view({out, 1, 1, 1})), bias.mul(scale).add(shift), relu ? at::zeros({out}) : at::Tensor());
}

/// The second convolution's activation is the ReLU behind the sum.
Resnet128::Residual residual(const Safetensors& weights, const std::string& name, int64_t channels) {
    return {convolution(weights, name + "/conv1", channels, channels, 3, true), convolution(weights, name + "/conv2", channels, channels, 3, true)};
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

/// The maps of one stage of the network: what is carried through it, and what a layer holds in between.
struct Stage {
    PaddedMaps x, inner;

    Stage(int64_t n, int size, int innerSize, int channels) : x(n, size, size, channels), inner(n, innerSize, innerSize, channels) {}
};

void residual(const Resnet128::Residual& layer, Stage& stage, Steps::Walk& walk) {
    convolve(layer.conv1, stage.x, 1, 1, false, stage.inner, walk);
    convolve(layer.conv2, stage.inner, 1, 1, true, stage.x, walk); // onto x itself: the sum needs no pass of its own
}

void residualDown(const Resnet128::Residual& layer, const Stage& before, Stage& stage, Steps::Walk& walk) {
    convolve(layer.conv1, before.x, 2, 0, false, stage.inner, walk);
    // Where the convolution gives one row and column less than the pool, zeros stand in for them: there
    // the pool, which follows a ReLU, stays as it is.
    averagePool2(before.x, stage.x, walk);
    convolve(layer.conv2, stage.inner, 1, 1, true, stage.x, walk);
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
        forwardBatch(chips + i * batch * kChipSize * kChipSize * 3, std::min(batch, n - i * batch), features + i * batch * kDimension);
    };
    if (batch == n) return part(0);
    forEachPiece((n + batch - 1) / batch, [] { return 0; }, [&](int, int64_t i) { part(i); });
}

void Resnet128::forwardBatch(const uint8_t* chips, int64_t n, float* features) const {
    PaddedMaps input(n, kChipSize, kChipSize, 3), stem(n, 72, 72, 32);
    Stage stage32(n, 35, 35, 32), stage64(n, 17, 17, 64), stage128(n, 8, 8, 128), stage256(n, 4, 3, 256), last(n, 2, 1, 256);
    PaddedMaps mean(n, 1, 1, 256), result(n, 1, 1, kDimension);

    Steps::walk(kSteps, [&](Steps::Walk& walk) {
        pixels(chips, input, walk);
        convolve(conv32Down, input, 2, 0, false, stem, walk);
        maxPool3(stem, stage32.x, walk);
        for (const Residual& layer : conv32) residual(layer, stage32, walk);
        residualDown(conv64Down, stage32, stage64, walk);
        for (const Residual& layer : conv64) residual(layer, stage64, walk);
        residualDown(conv128Down, stage64, stage128, walk);
        for (const Residual& layer : conv128) residual(layer, stage128, walk);
        residualDown(conv256Down, stage128, stage256, walk);
        for (const Residual& layer : conv256) residual(layer, stage256, walk);
        residualDown(conv256DownOut, stage256, last, walk);
        averagePool2(last.x, mean, walk);
        convolve(fc, mean, 1, 0, false, result, walk);
    });
    for (int64_t i = 0; i < n; i++) std::copy_n(result.at(i, 0, 0), kDimension, features + i * kDimension);
}

} // namespace faiss_vision
