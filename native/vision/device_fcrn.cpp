#include "vision/device_fcrn.h"

#include <array>
#include <string>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/max_pool2d.h>

namespace faiss_vision {
namespace {

constexpr double kEpsilon = 0.0001; // of every batch norm
constexpr std::array<int, 4> kBlocks = {3, 4, 6, 3};
const std::array<const char*, 4> kUpNames = {"2x", "4x", "8x", "16x"};

} // namespace

/// Makes layers from the names of the authors' variables.
class DeviceFcrn::Loader {
public:
    Loader(const Safetensors& weights, const Device& device) : weights_(weights), device_(device) { weights.requireModel("fcrn"); }

    at::ScalarType type() const { return device_.type(); }

    /// @param norm  name of the batch norm behind it, empty for none
    Conv convolution(const std::string& name, const std::string& norm, int64_t in, int64_t out, int64_t size, int64_t stride, bool biased, bool relu) const {
        const int64_t padding = (size - 1) / 2;
        return Conv(device_, kernel(name, size, size, in, out), biased ? weights_.tensor(name + "/biases", {out}) : at::Tensor(),
                    norm.empty() ? Conv::Affine{} : batchNorm(norm, out), relu ? Conv::Activation::Relu : Conv::Activation::None,
                    {stride, padding, padding});
    }
    std::vector<std::vector<Bottleneck>> stages() const {
        std::vector<std::vector<Bottleneck>> stages;
        int64_t in = 64;
        for (int stage = 0; stage < 4; stage++) {
            const int64_t inner = 64 << stage, out = 4 * inner;
            stages.emplace_back();
            for (int i = 0; i < kBlocks[size_t(stage)]; i++, in = out) {
                const std::string number = std::to_string(stage + 2) + char('a' + i) + "_branch";
                const auto layer = [&](const char* branch, int64_t from, int64_t to, int64_t size, int64_t stride, bool relu) {
                    return convolution("res" + number + branch, "bn" + number + branch, from, to, size, stride, false, relu);
                };
                const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
                stages.back().push_back({std::nullopt, layer("2a", in, inner, 1, stride, true), layer("2b", inner, inner, 3, 1, true),
                                         layer("2c", inner, out, 1, 1, true)});
                if (i == 0) stages.back().back().branch1.emplace(layer("1", in, out, 1, stride, false));
            }
        }
        return stages;
    }
    std::vector<UpProjection> up() const {
        std::vector<UpProjection> result;
        for (int i = 0; i < 4; i++) {
            const int64_t in = 1024 >> i, out = in / 2;
            const std::string name = std::string("layer") + kUpNames[size_t(i)];
            result.push_back({quarters(name, in, out), convolution(name + "_Conv", name + "_BN", out, out, 3, 1, true, true), out});
        }
        return result;
    }

private:
    /// A 3 x 3, B 2 x 3, C 3 x 2 and D 2 x 2, which the authors pad at the top and the left: with a row or a column of zeros more
    /// in the kernel, all pad on both sides.
    Conv quarters(const std::string& name, int64_t in, int64_t out) const {
        std::vector<at::Tensor> kernels, biases, scales, offsets;
        for (const auto& [conv, height, width] : {std::tuple{"ConvA", 3, 3}, std::tuple{"ConvC", 3, 2}, std::tuple{"ConvB", 2, 3}, std::tuple{"ConvD", 2, 2}}) {
            for (const char* const branch : {"_br1_", "_br2_"}) {
                kernels.push_back(at::constant_pad_nd(kernel(name + branch + conv, height, width, in, out), {0, 3 - width, 0, 3 - height}));
                biases.push_back(weights_.tensor(name + branch + conv + "/biases", {out}));
                const Conv::Affine norm = batchNorm(name + branch + "BN", out);
                scales.push_back(norm.scale);
                offsets.push_back(norm.offset);
            }
        }
        return Conv(device_, at::cat(kernels), at::cat(biases), {at::cat(scales), at::cat(offsets)}, Conv::Activation::None, {1, 1, 1});
    }
    at::Tensor kernel(const std::string& name, int64_t height, int64_t width, int64_t in, int64_t out) const {
        return weights_.tensor(name + "/weights", {height, width, in, out}).permute({3, 2, 0, 1});
    }
    Conv::Affine batchNorm(const std::string& name, int64_t channels) const {
        const auto get = [&](const char* what) { return weights_.tensor(name + what, {channels}); };
        return Conv::Affine::batchNorm(get("/mean"), get("/variance"), get("/scale"), get("/offset"), kEpsilon);
    }

    const Safetensors& weights_;
    const Device& device_;
};

DeviceFcrn::DeviceFcrn(const Safetensors& weights, const Device& device) : DeviceFcrn(Loader(weights, device)) {}

DeviceFcrn::DeviceFcrn(const Loader& load)
    : type_(load.type()),
      conv1_(load.convolution("conv1", "bn_conv1", 3, 64, 7, 2, true, true)),
      stages_(load.stages()),
      layer1_(load.convolution("layer1", "layer1_BN", 2048, 1024, 1, 1, true, false)),
      up_(load.up()),
      prediction_(load.convolution("ConvPred", "", 64, 1, 3, 1, true, true)) {}

at::Tensor DeviceFcrn::forward(const at::Tensor& pictures, const DeviceObserver& observer) const {
    const auto seen = [&](const std::string& name, const at::Tensor& maps) {
        if (observer != nullptr) observer(name.c_str(), maps);
        return maps;
    };
    at::Tensor x = seen("bn_conv1", conv1_(channelsLast(pictures.to(type_))));
    x = seen("pool1", at::max_pool2d(x, 3, 2, 0, 1, /*ceil_mode=*/true));
    for (size_t i = 0; i < stages_.size(); i++) {
        for (const Bottleneck& block : stages_[i]) x = block.c(block.b(block.a(x)), block.branch1 ? (*block.branch1)(x) : x);
        seen("res" + std::to_string(i + 2) + char('a' + kBlocks[i] - 1) + "_relu", x);
    }
    x = seen("layer1_BN", layer1_(x));
    for (size_t i = 0; i < up_.size(); i++) {
        const UpProjection& layer = up_[i];
        const int64_t n = x.size(0), height = x.size(2), width = x.size(3), both = 2 * layer.out;
        // n x height x width x (row, column, channel) to n x (height, row) x (width, column) x channel
        const at::Tensor quarters = layer.quarters(x).permute({0, 2, 3, 1}).view({n, height, width, 2, 2, both});
        const at::Tensor whole = channelsLast(quarters.permute({0, 1, 3, 2, 4, 5}).reshape({n, 2 * height, 2 * width, both}));
        // Only the first branch has an activation, and goes on through one more convolution.
        const at::Tensor first = whole.narrow(1, 0, layer.out).relu(), second = whole.narrow(1, layer.out, layer.out);
        if (observer != nullptr) seen(std::string("layer") + kUpNames[i] + "_BN", layer.conv.linear(first));
        x = layer.conv(first, second);
    }
    return seen("output", prediction_(x)).squeeze(1).to(type_ == at::kDouble ? at::kDouble : at::kFloat);
}

} // namespace faiss_vision
