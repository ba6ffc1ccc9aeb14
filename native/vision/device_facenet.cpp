#include "vision/device_facenet.h"

#include <string>

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/max_pool2d.h>

#include "vision/facenet.h"

namespace faiss_vision {
namespace {

constexpr double kEpsilon = 0.001; // of every batch norm

at::Tensor pool(const at::Tensor& maps) { return at::max_pool2d(maps, 3, 2); }

} // namespace

/// Makes layers from the state dict's names.
class DeviceFaceNet::Loader {
public:
    Loader(const Safetensors& weights, const Device& device) : weights_(weights), device_(device) { weights.requireModel("facenet"); }

    at::ScalarType type() const { return device_.type(); }

    /// "BasicConv2d": a convolution without bias, a batch norm and a ReLU. Several over the same input: their channels one after the other.
    Conv basic(const std::vector<std::string>& names, int64_t in, int64_t out, int64_t height, int64_t width, Conv::Geometry geometry = {}) const {
        std::vector<at::Tensor> kernels, scales, offsets;
        for (const std::string& name : names) {
            kernels.push_back(weights_.tensor(name + ".conv.weight", {out, in, height, width}));
            const Conv::Affine norm = batchNorm(name + ".bn", out);
            scales.push_back(norm.scale);
            offsets.push_back(norm.offset);
        }
        return Conv(device_, at::cat(kernels), {}, {at::cat(scales), at::cat(offsets)}, Conv::Activation::Relu, geometry);
    }
    /// The 1 x 1 convolution at the end of a block: relu(x + scale * (convolution + bias)).
    Conv up(const std::string& name, int64_t in, int64_t out, double scale, bool relu) const {
        return Conv(device_, weights_.tensor(name + ".conv2d.weight", {out, in, 1, 1}), weights_.tensor(name + ".conv2d.bias", {out}),
                    {at::full({out}, scale, at::kDouble), {}}, relu ? Conv::Activation::Relu : Conv::Activation::None, {});
    }
    Conv linear(const std::string& name, const std::string& norm, int64_t in, int64_t out) const {
        return Conv(device_, weights_.tensor(name + ".weight", {out, in}).view({out, in, 1, 1}), {}, batchNorm(norm, out), Conv::Activation::None, {});
    }

    std::vector<Block35> repeat1() const {
        std::vector<Block35> blocks;
        for (int i = 0; i < 5; i++) {
            const std::string block = "repeat_1." + std::to_string(i), name = block + ".";
            const Conv::Geometry same{1, 1, 1};
            blocks.push_back({basic({name + "branch1.0", name + "branch2.0", name + "branch0"}, 256, 32, 1, 1),
                              basic({name + "branch1.1"}, 32, 32, 3, 3, same), basic({name + "branch2.1"}, 32, 32, 3, 3, same),
                              basic({name + "branch2.2"}, 32, 32, 3, 3, same), up(block, 96, 256, 0.17, true)});
        }
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
    LongBlock longBlock(const std::string& name, int64_t channels, int64_t inner, int64_t length, double scale, bool relu) const {
        return {basic({name + ".branch1.0", name + ".branch0"}, channels, inner, 1, 1), basic({name + ".branch1.1"}, inner, inner, 1, length, {1, 0, length / 2}),
                basic({name + ".branch1.2"}, inner, inner, length, 1, {1, length / 2, 0}), up(name, 2 * inner, channels, scale, relu), inner};
    }
    Conv::Affine batchNorm(const std::string& name, int64_t channels) const {
        const auto get = [&](const char* what) { return weights_.tensor(name + what, {channels}); };
        return Conv::Affine::batchNorm(get(".running_mean"), get(".running_var"), get(".weight"), get(".bias"), kEpsilon);
    }

    const Safetensors& weights_;
    const Device& device_;
};

DeviceFaceNet::DeviceFaceNet(const Safetensors& weights, const Device& device) : DeviceFaceNet(Loader(weights, device)) {}

DeviceFaceNet::DeviceFaceNet(const Loader& load)
    : type_(load.type()),
      conv1a_(load.basic({"conv2d_1a"}, 3, 32, 3, 3, {2})),
      conv2a_(load.basic({"conv2d_2a"}, 32, 32, 3, 3)),
      conv2b_(load.basic({"conv2d_2b"}, 32, 64, 3, 3, {1, 1, 1})),
      conv3b_(load.basic({"conv2d_3b"}, 64, 80, 1, 1)),
      conv4a_(load.basic({"conv2d_4a"}, 80, 192, 3, 3)),
      conv4b_(load.basic({"conv2d_4b"}, 192, 256, 3, 3, {2})),
      repeat1_(load.repeat1()),
      mixed6a_{load.basic({"mixed_6a.branch0"}, 256, 384, 3, 3, {2}), load.basic({"mixed_6a.branch1.0"}, 256, 192, 1, 1),
               load.basic({"mixed_6a.branch1.1"}, 192, 192, 3, 3, {1, 1, 1}), load.basic({"mixed_6a.branch1.2"}, 192, 256, 3, 3, {2})},
      repeat2_(load.repeat2()),
      mixed7a_{load.basic({"mixed_7a.branch0.0", "mixed_7a.branch1.0", "mixed_7a.branch2.0"}, 896, 256, 1, 1),
               load.basic({"mixed_7a.branch0.1"}, 256, 384, 3, 3, {2}), load.basic({"mixed_7a.branch1.1"}, 256, 256, 3, 3, {2}),
               load.basic({"mixed_7a.branch2.1"}, 256, 256, 3, 3, {1, 1, 1}), load.basic({"mixed_7a.branch2.2"}, 256, 256, 3, 3, {2})},
      repeat3_(load.repeat3()),
      lastLinear_(load.linear("last_linear", "last_bn", 1792, FaceNet::kDimension)) {}

at::Tensor DeviceFaceNet::run(const Block35& block, const at::Tensor& x) {
    const at::Tensor first = block.branches(x);
    return block.up(at::cat({first.narrow(1, 64, 32), block.branch1(first.narrow(1, 0, 32)), block.branch2b(block.branch2a(first.narrow(1, 32, 32)))}, 1), x);
}

at::Tensor DeviceFaceNet::run(const LongBlock& block, const at::Tensor& x) {
    const at::Tensor first = block.branches(x);
    return block.up(at::cat({first.narrow(1, block.inner, block.inner), block.down(block.across(first.narrow(1, 0, block.inner)))}, 1), x);
}

at::Tensor DeviceFaceNet::forward(const at::Tensor& chips, const DeviceObserver& observer) const {
    const auto seen = [&](const char* name, const at::Tensor& maps) {
        if (observer != nullptr) observer(name, maps);
        return maps;
    };
    const at::ScalarType wide = type_ == at::kDouble ? at::kDouble : at::kFloat; // for what is added up
    at::Tensor x = channelsLast(chips).to(wide).sub(127.5).div(128).to(type_);
    x = seen("conv2d_1a", conv1a_(x));
    x = seen("conv2d_2a", conv2a_(x));
    x = seen("conv2d_2b", conv2b_(x));
    x = seen("maxpool_3a", pool(x));
    x = seen("conv2d_3b", conv3b_(x));
    x = seen("conv2d_4a", conv4a_(x));
    x = seen("conv2d_4b", conv4b_(x));
    for (const Block35& block : repeat1_) x = run(block, x);
    seen("repeat_1", x);
    x = seen("mixed_6a", at::cat({mixed6a_.branch0(x), mixed6a_.branch1c(mixed6a_.branch1b(mixed6a_.branch1a(x))), pool(x)}, 1));
    for (const LongBlock& block : repeat2_) x = run(block, x);
    seen("repeat_2", x);
    const at::Tensor first = mixed7a_.branches(x);
    x = seen("mixed_7a", at::cat({mixed7a_.branch0(first.narrow(1, 0, 256)), mixed7a_.branch1(first.narrow(1, 256, 256)),
                                  mixed7a_.branch2b(mixed7a_.branch2a(first.narrow(1, 512, 256))), pool(x)}, 1));
    for (size_t i = 0; i < repeat3_.size(); i++) {
        if (i + 1 == repeat3_.size()) seen("repeat_3", x);
        x = run(repeat3_[i], x);
    }
    seen("block8", x);
    x = seen("avgpool_1a", x.to(wide).mean(at::IntArrayRef{2, 3}, /*keepdim=*/true));
    x = seen("last_bn", lastLinear_(x.to(type_))).to(wide).flatten(1);
    return x.div(x.square().sum(1, /*keepdim=*/true).sqrt().clamp_min(1e-12));
}

} // namespace faiss_vision
