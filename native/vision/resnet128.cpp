#include "vision/resnet128.h"

#include <algorithm>
#include <string>

#include <ATen/ops/zeros.h>

#include "vision/parallel.h"

namespace faiss_vision {
namespace {

constexpr int kSteps = 64;    // room for those of the forward pass
constexpr int64_t kBatch = 8; // bounds memory: about 2 MB a chip; enough to use weights often

/// A convolution, the scale layer behind it folded in. It runs on vectors on every processor, as the references' numbers are held to 1e-5.
Convolution convolution(const Safetensors& weights, const std::string& name, int64_t in, int64_t out, int64_t size, Convolution::Geometry geometry) {
    const at::Tensor filters = weights.tensor(name + "/conv/filters", {size, size, in, out}).permute({3, 2, 0, 1});
    const at::Tensor bias = weights.tensor(name + "/conv/bias", {out});
    const at::Tensor scale = weights.tensor(name + "/scale/weights", {out}), shift = weights.tensor(name + "/scale/biases", {out});
    return Convolution(filters, bias, {scale, shift}, at::zeros({out}), geometry, Precision::Fp32, nullptr);
}

constexpr Convolution::Geometry kDown = {2};

/// The maps of 256 channels have 4 x 4 positions at the most.
constexpr Convolution::Geometry same(int64_t channels) { return {1, 1, 1, channels < 256}; }

/// The second convolution's activation is the ReLU behind the sum.
Resnet128::Residual residual(const Safetensors& weights, const std::string& name, int64_t in, int64_t out, Convolution::Geometry first) {
    return {convolution(weights, name + "/conv1", in, out, 3, first), convolution(weights, name + "/conv2", out, out, 3, same(out))};
}

Resnet128::Residual residual(const Safetensors& weights, const std::string& name, int64_t channels) {
    return residual(weights, name, channels, channels, same(channels));
}

void pixels(const uint8_t* chips, const MapsView& out, Steps::Walk& walk) {
    constexpr int size = Resnet128::kChipSize;
    walk.run(out.count * size, [&](int64_t row) {
        const uint8_t* from = chips + row * size * 3;
        float* to = out.data + row * out.rowStep;
        for (int x = 0; x < size; x++) {
            for (int c = 0; c < 3; c++) to[3 * x + c] = (float(from[3 * x + c]) - Resnet128::kMean[c]) / 255.0f;
        }
    });
}

/// The mean of each 2 x 2 square. Channels of `out` that `in` does not have become zero.
void averagePool2(const MapsView& in, const MapsView& out, Steps::Walk& walk) {
    walk.run(out.count * out.height, [&](int64_t row) {
        const int64_t map = row / out.height;
        const int y = int(row % out.height);
        for (int x = 0; x < out.width; x++) {
            const float *a = in.at(map, 2 * y, 2 * x), *b = a + in.step, *c = in.at(map, 2 * y + 1, 2 * x), *d = c + in.step;
            float* to = out.at(map, y, x);
            for (int i = 0; i < in.channels; i++) to[i] = (a[i] + b[i] + c[i] + d[i]) * 0.25f;
            std::fill(to + in.channels, to + out.channels, 0.0f);
        }
    });
}

void residual(const Resnet128::Residual& layer, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch) {
    layer.conv1.run(x, inner, nullptr, walk, scratch);
    layer.conv2.run(inner, x, &x, walk, scratch); // onto x itself: the sum needs no pass of its own
}

void residualDown(const Resnet128::Residual& layer, const MapsView& x, const MapsView& inner, const MapsView& out, Steps::Walk& walk,
                  Convolution::Scratch& scratch) {
    layer.conv1.run(x, inner, nullptr, walk, scratch);
    averagePool2(x, out, walk);
    // Where the convolution gives one row and column less than the pool, the pool, which follows a ReLU, stays as it is.
    MapsView sum = out;
    sum.height = inner.height;
    sum.width = inner.width;
    layer.conv2.run(inner, sum, &sum, walk, scratch);
}

} // namespace

Resnet128::Resnet128(const Safetensors& weights)
    : conv32Down((weights.requireModel("resnet128"), convolution(weights, "conv32_down", 3, 32, 7, kDown))),
      conv32{residual(weights, "conv32_1", 32), residual(weights, "conv32_2", 32), residual(weights, "conv32_3", 32)},
      conv64Down(residual(weights, "conv64_down", 32, 64, kDown)),
      conv64{residual(weights, "conv64_1", 64), residual(weights, "conv64_2", 64), residual(weights, "conv64_3", 64)},
      conv128Down(residual(weights, "conv128_down", 64, 128, kDown)),
      conv128{residual(weights, "conv128_1", 128), residual(weights, "conv128_2", 128)},
      conv256Down(residual(weights, "conv256_down", 128, 256, kDown)),
      conv256{residual(weights, "conv256_1", 256), residual(weights, "conv256_2", 256)},
      conv256DownOut(residual(weights, "conv256_down_out", 256, 256, kDown)),
      fc(weights.tensor("fc", {256, 128}).t().reshape({128, 256, 1, 1}), {}, {}, {}, {}, Precision::Fp32, nullptr) {}

void Resnet128::forward(const uint8_t* chips, int64_t n, float* features) {
    for (int64_t i = 0; i < n; i += kBatch) {
        forwardBatch(chips + i * kChipSize * kChipSize * 3, std::min(kBatch, n - i), features + i * kDimension);
    }
}

void Resnet128::forwardBatch(const uint8_t* chips, int64_t n, float* features) {
    memory_.rewind();
    const auto maps = [&](int size, int channels) { return memory_.take(n, size, size, channels); };
    const MapsView input = maps(kChipSize, 3), stem = maps(72, 32), x32 = maps(35, 32), inner32 = maps(35, 32), x64 = maps(17, 64),
                   inner64 = maps(17, 64), x128 = maps(8, 128), inner128 = maps(8, 128), down256 = maps(3, 256), x256 = maps(4, 256),
                   inner256 = maps(4, 256), downOut = maps(1, 256), xOut = maps(2, 256), mean = maps(1, 256), result = maps(1, kDimension);

    Steps::walk(kSteps, [&](Steps::Walk& walk) {
        Convolution::Scratch scratch(nullptr);
        pixels(chips, input, walk);
        conv32Down.run(input, stem, nullptr, walk, scratch);
        maxPool3(stem, x32, walk);
        for (const Residual& layer : conv32) residual(layer, x32, inner32, walk, scratch);
        residualDown(conv64Down, x32, inner64, x64, walk, scratch);
        for (const Residual& layer : conv64) residual(layer, x64, inner64, walk, scratch);
        residualDown(conv128Down, x64, inner128, x128, walk, scratch);
        for (const Residual& layer : conv128) residual(layer, x128, inner128, walk, scratch);
        residualDown(conv256Down, x128, down256, x256, walk, scratch);
        for (const Residual& layer : conv256) residual(layer, x256, inner256, walk, scratch);
        residualDown(conv256DownOut, x256, downOut, xOut, walk, scratch);
        averagePool2(xOut, mean, walk);
        fc.run(mean, result, nullptr, walk, scratch);
    });
    std::copy_n(result.data, n * kDimension, features);
}

} // namespace faiss_vision
