#include "vision/fcrn.h"

#include <string>

#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

namespace faiss_vision {
namespace {

constexpr int kSteps = 128; // room for those of the forward pass

} // namespace

class Fcrn::Loader : public Layers {
public:
    Loader(const Safetensors& weights, Precision precision)
        : Layers(weights,
                 [this](const at::Tensor& weight, const at::Tensor& bias, const Convolution::Affine& affine, bool relu, Convolution::Geometry geometry) {
                     return make(weight, bias, affine, relu ? at::zeros({weight.size(0)}) : at::Tensor(), geometry);
                 }),
          precision_(precision), variant_(Convolution::choose(precision)) {}

    const products::Variant* variant() const { return variant_; }

    std::vector<UpProjection> up() const {
        std::vector<UpProjection> result;
        for (int i = 0; i < 4; i++) {
            const int in = 1024 >> i, out = in / 2;
            const std::string name = std::string("layer") + kUpNames[size_t(i)];
            result.push_back({quarter(name, "ConvA", in, out, 3, 3), quarter(name, "ConvB", in, out, 2, 3), quarter(name, "ConvC", in, out, 3, 2),
                              quarter(name, "ConvD", in, out, 2, 2), upConv(name, out)});
        }
        return result;
    }

private:
    /// One of the four, for both branches; only the first has an activation. The even kernels are padded at the top and the left.
    Convolution quarter(const std::string& name, const std::string& conv, int in, int out, int height, int width) const {
        std::vector<at::Tensor> kernels, biases, scales, offsets;
        for (const char* const branch : {"_br1_", "_br2_"}) {
            kernels.push_back(kernel(name + branch + conv, height, width, in, out));
            biases.push_back(bias(name + branch + conv, out));
            const auto norm = batchNorm(name + branch + "BN", out);
            scales.push_back(norm.scale);
            offsets.push_back(norm.offset);
        }
        return make(at::cat(kernels), at::cat(biases), {at::cat(scales), at::cat(offsets)}, at::cat({at::zeros({out}), at::ones({out})}), {1, 1, 1});
    }
    Convolution make(const at::Tensor& weight, const at::Tensor& bias, const Convolution::Affine& affine, const at::Tensor& slope,
                     Convolution::Geometry geometry) const {
        return Convolution(weight, bias, affine, slope, geometry, precision_, variant_);
    }

    Precision precision_;
    const products::Variant* variant_;
};

Fcrn::Fcrn(const Safetensors& weights, Precision precision) : Fcrn(Loader(weights, precision)) {}

Fcrn::Fcrn(const Loader& load)
    : variant_(load.variant()),
      conv1_(load.conv1()),
      stages_(load.stages()),
      layer1_(load.layer1()),
      up_(load.up()),
      prediction_(load.prediction()) {}

void Fcrn::forward(const float* pictures, int64_t n, float* depths, const Observer& observer) {
    memory_.rewind();
    const auto maps = [&](int height, int width, int channels) { return memory_.take(n, height, width, channels); };
    const MapsView input = [&] {
        MapsView view{const_cast<float*>(pictures), n, kInHeight, kInWidth, 3, ptrdiff_t{3} * kInHeight * kInWidth, ptrdiff_t{3} * kInWidth, 3};
        return view; // only read
    }();
    const MapsView stem = maps(114, 152, 64);
    MapsView x = maps(57, 76, 64);
    struct Stage {
        MapsView x, innerA, innerB;
    };
    std::vector<Stage> stages;
    for (size_t i = 0, height = 57, width = 76; i < 4; i++, height = (height + 1) / 2, width = (width + 1) / 2) {
        const int inner = 64 << i;
        stages.push_back({maps(int(height), int(width), 4 * inner), maps(int(height), int(width), inner), maps(int(height), int(width), inner)});
    }
    const MapsView low = maps(8, 10, 1024);
    std::vector<MapsView> both, results;
    for (int i = 0; i < 4; i++) {
        both.push_back(maps(16 << i, 20 << i, 1024 >> i));
        results.push_back(maps(16 << i, 20 << i, 512 >> i));
    }
    const MapsView result{depths, n, kHeight, kWidth, 1, ptrdiff_t{kHeight} * kWidth, kWidth, 1};
    // Looked at before the other branch is added, as the authors' variable of that name is.
    const MapsView alone = observer == nullptr ? MapsView{} : maps(kHeight, kWidth, 64);

    Steps::walk(kSteps, [&](Steps::Walk& walk) {
        Convolution::Scratch scratch(variant_);
        const auto stage = [&](const std::string& name, const MapsView& view) {
            if (observer != nullptr) walk.run(1, [&](int64_t) { observer(name.c_str(), view); });
        };
        conv1_.run(input, stem, nullptr, walk, scratch);
        stage("bn_conv1", stem);
        maxPool3(stem, x, walk);
        stage("pool1", x);
        MapsView from = x;
        for (size_t i = 0; i < stages.size(); i++) {
            const Stage& at = stages[i];
            for (const Layers::Bottleneck& block : stages_[i]) {
                block.a.run(from, at.innerA, nullptr, walk, scratch);
                block.b.run(at.innerA, at.innerB, nullptr, walk, scratch);
                if (block.branch1) block.branch1->run(from, at.x, nullptr, walk, scratch);
                block.c.run(at.innerB, at.x, &at.x, walk, scratch);
                from = at.x;
            }
            const std::string name = "res" + std::to_string(i + 2) + char('a' + Layers::kBlocks[i] - 1) + "_relu";
            stage(name, at.x);
        }
        layer1_.run(from, low, nullptr, walk, scratch);
        stage("layer1_BN", low);
        from = low;
        for (size_t i = 0; i < up_.size(); i++) {
            const UpProjection& layer = up_[i];
            const int channels = results[i].channels;
            layer.evenEven.run(from, both[i].everySecond(0, 0), nullptr, walk, scratch);
            layer.oddEven.run(from, both[i].everySecond(1, 0), nullptr, walk, scratch);
            layer.evenOdd.run(from, both[i].everySecond(0, 1), nullptr, walk, scratch);
            layer.oddOdd.run(from, both[i].everySecond(1, 1), nullptr, walk, scratch);
            const MapsView first = both[i].slice(0, channels), second = both[i].slice(channels, channels);
            if (observer != nullptr) {
                MapsView seen = results[i];
                seen.data = alone.data;
                layer.conv.run(first, seen, nullptr, walk, scratch, false);
                stage(std::string("layer") + Layers::kUpNames[i] + "_BN", seen);
            }
            layer.conv.run(first, results[i], &second, walk, scratch);
            from = results[i];
        }
        prediction_.run(from, result, nullptr, walk, scratch);
        stage("output", result);
    });
}

} // namespace faiss_vision
