#include "vision/facenet.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

namespace faiss_vision {
namespace {

constexpr int kSteps = 192;        // room for those of the forward pass
constexpr int64_t kBatch = 16;     // bounds memory: about 7 MB a chip
constexpr double kEpsilon = 0.001; // of every batch norm

} // namespace

/// Makes layers from the state dict's names.
class FaceNet::Loader {
public:
    Loader(const Safetensors& weights, Precision precision)
        : weights_(weights), precision_(precision), variant_((weights.requireModel("facenet"), Convolution::choose(precision))) {}

    const products::Variant* variant() const { return variant_; }

    /// "BasicConv2d": a convolution without bias, a batch norm and a ReLU.
    Convolution basic(const std::string& name, int in, int out, int height, int width, Convolution::Geometry geometry = {}) const {
        return basic(std::vector<std::string>{name}, in, out, height, width, geometry);
    }
    /// Several over the same input, their channels one after the other.
    Convolution basic(const std::vector<std::string>& names, int in, int out, int height, int width, Convolution::Geometry geometry) const {
        std::vector<at::Tensor> kernels, scales, offsets;
        for (const std::string& name : names) {
            kernels.push_back(weights_.tensor(name + ".conv.weight", {out, in, height, width}));
            const auto norm = batchNorm(name + ".bn", out);
            scales.push_back(norm.scale);
            offsets.push_back(norm.offset);
        }
        const at::Tensor kernel = names.size() == 1 ? kernels.front() : at::cat(kernels);
        return Convolution(kernel, {}, {at::cat(scales), at::cat(offsets)}, at::zeros({kernel.size(0)}), geometry, precision_, variant_);
    }
    /// The 1 x 1 convolution at the end of a block: relu(x + scale * (convolution + bias)).
    Convolution up(const std::string& name, int in, int out, double scale, bool relu) const {
        const at::Tensor slope = relu ? at::zeros({out}) : at::Tensor();
        return Convolution(weights_.tensor(name + ".conv2d.weight", {out, in, 1, 1}), weights_.tensor(name + ".conv2d.bias", {out}),
                           {at::full({out}, scale), at::Tensor()}, slope, {}, precision_, variant_);
    }
    Convolution linear(const std::string& name, const std::string& norm, int in, int out) const {
        return Convolution(weights_.tensor(name + ".weight", {out, in}).view({out, in, 1, 1}), {}, batchNorm(norm, out), {}, {}, precision_, variant_);
    }

    Block35 block35(int number) const {
        const std::string name = "repeat_1." + std::to_string(number) + ".";
        const Convolution::Geometry same{1, 1, 1};
        return {basic({name + "branch1.0", name + "branch2.0", name + "branch0"}, 256, 32, 1, 1, {}), basic(name + "branch1.1", 32, 32, 3, 3, same),
                basic(name + "branch2.1", 32, 32, 3, 3, same), basic(name + "branch2.2", 32, 32, 3, 3, same), up(name.substr(0, name.size() - 1), 96, 256, 0.17, true)};
    }
    LongBlock longBlock(const std::string& name, int channels, int inner, int length, double scale, bool relu) const {
        return {basic({name + ".branch1.0", name + ".branch0"}, channels, inner, 1, 1, {}),
                basic(name + ".branch1.1", inner, inner, 1, length, {1, 0, length / 2}),
                basic(name + ".branch1.2", inner, inner, length, 1, {1, length / 2, 0}), up(name, 2 * inner, channels, scale, relu)};
    }
    std::vector<Block35> repeat1() const {
        std::vector<Block35> blocks;
        for (int i = 0; i < 5; i++) blocks.push_back(block35(i));
        return blocks;
    }
    std::vector<LongBlock> repeat2() const {
        std::vector<LongBlock> blocks;
        for (int i = 0; i < 10; i++) blocks.push_back(longBlock("repeat_2." + std::to_string(i), 896, 128, 7, 0.10, true));
        return blocks;
    }
    std::vector<LongBlock> repeat3() const {
        std::vector<LongBlock> blocks;
        for (int i = 0; i < 5; i++) blocks.push_back(longBlock("repeat_3." + std::to_string(i), 1792, 192, 3, 0.20, true));
        blocks.push_back(longBlock("block8", 1792, 192, 3, 1.0, false));
        return blocks;
    }

private:
    Convolution::Affine batchNorm(const std::string& name, int channels) const {
        const auto get = [&](const char* what) { return weights_.tensor(name + what, {channels}); };
        return Convolution::Affine::batchNorm(get(".running_mean"), get(".running_var"), get(".weight"), get(".bias"), kEpsilon);
    }

    const Safetensors& weights_;
    Precision precision_;
    const products::Variant* variant_;
};

FaceNet::FaceNet(const Safetensors& weights, Precision precision) : FaceNet(Loader(weights, precision)) {}

FaceNet::FaceNet(const Loader& load)
    : variant_(load.variant()),
      conv1a_(load.basic("conv2d_1a", 3, 32, 3, 3, {2})),
      conv2a_(load.basic("conv2d_2a", 32, 32, 3, 3)),
      conv2b_(load.basic("conv2d_2b", 32, 64, 3, 3, {1, 1, 1})),
      conv3b_(load.basic("conv2d_3b", 64, 80, 1, 1)),
      conv4a_(load.basic("conv2d_4a", 80, 192, 3, 3)),
      conv4b_(load.basic("conv2d_4b", 192, 256, 3, 3, {2})),
      repeat1_(load.repeat1()),
      mixed6a_{load.basic("mixed_6a.branch0", 256, 384, 3, 3, {2}), load.basic("mixed_6a.branch1.0", 256, 192, 1, 1),
               load.basic("mixed_6a.branch1.1", 192, 192, 3, 3, {1, 1, 1}), load.basic("mixed_6a.branch1.2", 192, 256, 3, 3, {2})},
      repeat2_(load.repeat2()),
      mixed7a_{load.basic({"mixed_7a.branch0.0", "mixed_7a.branch1.0", "mixed_7a.branch2.0"}, 896, 256, 1, 1, {}),
               load.basic("mixed_7a.branch0.1", 256, 384, 3, 3, {2}), load.basic("mixed_7a.branch1.1", 256, 256, 3, 3, {2}),
               load.basic("mixed_7a.branch2.1", 256, 256, 3, 3, {1, 1, 1}), load.basic("mixed_7a.branch2.2", 256, 256, 3, 3, {2})},
      repeat3_(load.repeat3()),
      lastLinear_(load.linear("last_linear", "last_bn", 1792, kDimension)) {}

void FaceNet::forward(const uint8_t* chips, int64_t n, float* features, const Observer& observer) {
    for (int64_t i = 0; i < n; i += kBatch) {
        forwardBatch(chips + i * kChipSize * kChipSize * 3, std::min(kBatch, n - i), features + i * kDimension, observer);
    }
}

/// inner: branch 1's and 2's first maps, then the three results that `up` reads.
void FaceNet::run(const Block35& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch) {
    block.branches.run(x, inner.slice(0, 96), nullptr, walk, scratch);
    block.branch1.run(inner.slice(0, 32), inner.slice(96, 32), nullptr, walk, scratch);
    block.branch2a.run(inner.slice(32, 32), inner.slice(0, 32), nullptr, walk, scratch);
    block.branch2b.run(inner.slice(0, 32), inner.slice(128, 32), nullptr, walk, scratch);
    block.up.run(inner.slice(64, 96), x, &x, walk, scratch);
}

/// inner: branch 1's first map, then the two results that `up` reads, then branch 1's second map.
void FaceNet::run(const LongBlock& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch) {
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
        conv1a_.run(input, x1a, nullptr, walk, scratch);
        stage("conv2d_1a", x1a);
        conv2a_.run(x1a, x2a, nullptr, walk, scratch);
        stage("conv2d_2a", x2a);
        conv2b_.run(x2a, x2b, nullptr, walk, scratch);
        stage("conv2d_2b", x2b);
        maxPool3(x2b, x3a, walk);
        stage("maxpool_3a", x3a);
        conv3b_.run(x3a, x3b, nullptr, walk, scratch);
        stage("conv2d_3b", x3b);
        conv4a_.run(x3b, x4a, nullptr, walk, scratch);
        stage("conv2d_4a", x4a);
        conv4b_.run(x4a, x35, nullptr, walk, scratch);
        stage("conv2d_4b", x35);
        for (const Block35& block : repeat1_) run(block, x35, inner35, walk, scratch);
        stage("repeat_1", x35);

        mixed6a_.branch0.run(x35, x17.slice(0, 384), nullptr, walk, scratch);
        mixed6a_.branch1a.run(x35, inner6.slice(0, 192), nullptr, walk, scratch);
        mixed6a_.branch1b.run(inner6.slice(0, 192), inner6.slice(192, 192), nullptr, walk, scratch);
        mixed6a_.branch1c.run(inner6.slice(192, 192), x17.slice(384, 256), nullptr, walk, scratch);
        maxPool3(x35, x17.slice(640, 256), walk);
        stage("mixed_6a", x17);
        for (const LongBlock& block : repeat2_) run(block, x17, inner17, walk, scratch);
        stage("repeat_2", x17);

        mixed7a_.branches.run(x17, inner7.slice(0, 768), nullptr, walk, scratch);
        mixed7a_.branch0.run(inner7.slice(0, 256), x8.slice(0, 384), nullptr, walk, scratch);
        mixed7a_.branch1.run(inner7.slice(256, 256), x8.slice(384, 256), nullptr, walk, scratch);
        mixed7a_.branch2a.run(inner7.slice(512, 256), inner7.slice(768, 256), nullptr, walk, scratch);
        mixed7a_.branch2b.run(inner7.slice(768, 256), x8.slice(640, 256), nullptr, walk, scratch);
        maxPool3(x17, x8.slice(896, 896), walk);
        stage("mixed_7a", x8);
        for (size_t i = 0; i < repeat3_.size(); i++) {
            if (i + 1 == repeat3_.size()) stage("repeat_3", x8);
            run(repeat3_[i], x8, inner8, walk, scratch);
        }
        stage("block8", x8);
        averagePool(x8, pooled, walk);
        stage("avgpool_1a", pooled);
        lastLinear_.run(pooled, result, nullptr, walk, scratch);
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
