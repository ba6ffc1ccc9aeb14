#include "vision/facenet.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/zeros.h>

namespace faiss_vision {
namespace {

constexpr int kSteps = 192;    // room for those of the forward pass
constexpr int64_t kBatch = 16; // bounds memory: about 7 MB a chip

} // namespace

FaceNet::FaceNet(const Safetensors& weights, Precision precision)
    // Another network's weights are what is wrong first, wherever they were to run.
    : variant_((weights.requireModel("facenet"), Convolution::choose(precision))),
      layers_(Layers::load(weights, [&](const at::Tensor& weight, const at::Tensor& bias, const Convolution::Affine& affine, bool relu,
                                        Convolution::Geometry geometry) {
          return Convolution(weight, bias, affine, relu ? at::zeros({weight.size(0)}) : at::Tensor(), geometry, precision, variant_);
      })) {}

void FaceNet::forward(const uint8_t* chips, int64_t n, float* features, const Observer& observer) {
    for (int64_t i = 0; i < n; i += kBatch) {
        forwardBatch(chips + i * kChipSize * kChipSize * 3, std::min(kBatch, n - i), features + i * kDimension, observer);
    }
}

/// inner: branch 1's and 2's first maps, then the three results that `up` reads.
void FaceNet::run(const Layers::Block35& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch) {
    block.branches.run(x, inner.slice(0, 96), nullptr, walk, scratch);
    block.branch1.run(inner.slice(0, 32), inner.slice(96, 32), nullptr, walk, scratch);
    block.branch2a.run(inner.slice(32, 32), inner.slice(0, 32), nullptr, walk, scratch);
    block.branch2b.run(inner.slice(0, 32), inner.slice(128, 32), nullptr, walk, scratch);
    block.up.run(inner.slice(64, 96), x, &x, walk, scratch);
}

/// inner: branch 1's first map, then the two results that `up` reads, then branch 1's second map.
void FaceNet::run(const Layers::LongBlock& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch) {
    const int channels = inner.channels / 4;
    block.branches.run(x, inner.slice(0, 2 * channels), nullptr, walk, scratch);
    block.across.run(inner.slice(0, channels), inner.slice(3 * channels, channels), nullptr, walk, scratch);
    block.down.run(inner.slice(3 * channels, channels), inner.slice(2 * channels, channels), nullptr, walk, scratch);
    block.up.run(inner.slice(channels, 2 * channels), x, &x, walk, scratch);
}

void FaceNet::forwardBatch(const uint8_t* chips, int64_t n, float* features, const Observer& observer) {
    memory_.rewind();
    const auto maps = [&](int size, int channels) { return memory_.take(n, size, size, channels); };
    const MapsView input = maps(160, 3), x1a = maps(79, 32), x2a = maps(77, 32), x2b = maps(77, 64), x3a = maps(38, 64), x3b = maps(38, 80),
                   x4a = maps(36, 192), x35 = maps(17, 256), inner35 = maps(17, 160), inner6 = maps(17, 384), x17 = maps(8, 896),
                   inner17 = maps(8, 512), inner7 = maps(8, 1024), x8 = maps(3, 1792), inner8 = maps(3, 768), pooled = maps(1, 1792),
                   result = maps(1, kDimension);

    Steps::walk(kSteps, [&](Steps::Walk& walk) {
        Convolution::Scratch scratch(variant_);
        const auto stage = [&](const char* name, const MapsView& view) {
            if (observer != nullptr) walk.run(1, [&](int64_t) { observer(name, view); });
        };
        walk.run(n * kChipSize, [&](int64_t row) {
            const uint8_t* const from = chips + row * kChipSize * 3;
            float* const to = input.data + row * input.rowStep;
            for (int i = 0; i < kChipSize * 3; i++) to[i] = (float(from[i]) - 127.5f) / 128.0f;
        });
        layers_.conv1a.run(input, x1a, nullptr, walk, scratch);
        stage("conv2d_1a", x1a);
        layers_.conv2a.run(x1a, x2a, nullptr, walk, scratch);
        stage("conv2d_2a", x2a);
        layers_.conv2b.run(x2a, x2b, nullptr, walk, scratch);
        stage("conv2d_2b", x2b);
        maxPool3(x2b, x3a, walk);
        stage("maxpool_3a", x3a);
        layers_.conv3b.run(x3a, x3b, nullptr, walk, scratch);
        stage("conv2d_3b", x3b);
        layers_.conv4a.run(x3b, x4a, nullptr, walk, scratch);
        stage("conv2d_4a", x4a);
        layers_.conv4b.run(x4a, x35, nullptr, walk, scratch);
        stage("conv2d_4b", x35);
        for (const Layers::Block35& block : layers_.repeat1) run(block, x35, inner35, walk, scratch);
        stage("repeat_1", x35);

        layers_.mixed6a.branch0.run(x35, x17.slice(0, 384), nullptr, walk, scratch);
        layers_.mixed6a.branch1a.run(x35, inner6.slice(0, 192), nullptr, walk, scratch);
        layers_.mixed6a.branch1b.run(inner6.slice(0, 192), inner6.slice(192, 192), nullptr, walk, scratch);
        layers_.mixed6a.branch1c.run(inner6.slice(192, 192), x17.slice(384, 256), nullptr, walk, scratch);
        maxPool3(x35, x17.slice(640, 256), walk);
        stage("mixed_6a", x17);
        for (const Layers::LongBlock& block : layers_.repeat2) run(block, x17, inner17, walk, scratch);
        stage("repeat_2", x17);

        layers_.mixed7a.branches.run(x17, inner7.slice(0, 768), nullptr, walk, scratch);
        layers_.mixed7a.branch0.run(inner7.slice(0, 256), x8.slice(0, 384), nullptr, walk, scratch);
        layers_.mixed7a.branch1.run(inner7.slice(256, 256), x8.slice(384, 256), nullptr, walk, scratch);
        layers_.mixed7a.branch2a.run(inner7.slice(512, 256), inner7.slice(768, 256), nullptr, walk, scratch);
        layers_.mixed7a.branch2b.run(inner7.slice(768, 256), x8.slice(640, 256), nullptr, walk, scratch);
        maxPool3(x17, x8.slice(896, 896), walk);
        stage("mixed_7a", x8);
        for (size_t i = 0; i < layers_.repeat3.size(); i++) {
            if (i + 1 == layers_.repeat3.size()) stage("repeat_3", x8);
            run(layers_.repeat3[i], x8, inner8, walk, scratch);
        }
        stage("block8", x8);
        averagePool(x8, pooled, walk);
        stage("avgpool_1a", pooled);
        layers_.lastLinear.run(pooled, result, nullptr, walk, scratch);
        stage("last_bn", result);
    });
    for (int64_t i = 0; i < n; i++) {
        const float* const from = result.at(i, 0, 0);
        double squares = 0;
        for (int j = 0; j < kDimension; j++) squares += double(from[j]) * from[j];
        const float factor = float(1 / std::max(std::sqrt(squares), 1e-12));
        for (int j = 0; j < kDimension; j++) features[i * kDimension + j] = from[j] * factor;
    }
}

} // namespace faiss_vision
