#include "vision/device_fcrn.h"

#include <string>
#include <tuple>

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/max_pool2d.h>

namespace faiss_vision {

using Conv = DeviceConvolution;

class DeviceFcrn::Loader : public Layers {
public:
    Loader(const Safetensors& weights, const Device& device)
        : Layers(weights,
                 [this](const at::Tensor& weight, const at::Tensor& bias, const Conv::Affine& affine, bool relu, Conv::Geometry geometry) {
                     return Conv(device_, weight, bias, affine, relu ? Conv::Activation::Relu : Conv::Activation::None, geometry);
                 }),
          device_(device) {}

    at::ScalarType type() const { return device_.type(); }

    std::vector<UpProjection> up() const {
        std::vector<UpProjection> result;
        for (int i = 0; i < 4; i++) {
            const int in = 1024 >> i, out = in / 2;
            const std::string name = std::string("layer") + kUpNames[size_t(i)];
            result.push_back({quarters(name, in, out), upConv(name, out), out});
        }
        return result;
    }

private:
    /// A 3 x 3, B 2 x 3, C 3 x 2 and D 2 x 2, which the authors pad at the top and the left: with a row or a column of zeros more
    /// in the kernel, all pad on both sides.
    Conv quarters(const std::string& name, int in, int out) const {
        std::vector<at::Tensor> kernels, biases, scales, offsets;
        for (const auto& [conv, height, width] : {std::tuple{"ConvA", 3, 3}, std::tuple{"ConvC", 3, 2}, std::tuple{"ConvB", 2, 3}, std::tuple{"ConvD", 2, 2}}) {
            for (const char* const branch : {"_br1_", "_br2_"}) {
                kernels.push_back(at::constant_pad_nd(kernel(name + branch + conv, height, width, in, out), {0, 3 - width, 0, 3 - height}));
                biases.push_back(bias(name + branch + conv, out));
                const Conv::Affine norm = batchNorm(name + branch + "BN", out);
                scales.push_back(norm.scale);
                offsets.push_back(norm.offset);
            }
        }
        return Conv(device_, at::cat(kernels), at::cat(biases), {at::cat(scales), at::cat(offsets)}, Conv::Activation::None, {1, 1, 1});
    }

    const Device& device_;
};

DeviceFcrn::DeviceFcrn(const Safetensors& weights, const Device& device) : DeviceFcrn(Loader(weights, device)) {}

DeviceFcrn::DeviceFcrn(const Loader& load)
    : type_(load.type()),
      conv1_(load.conv1()),
      stages_(load.stages()),
      layer1_(load.layer1()),
      up_(load.up()),
      prediction_(load.prediction()) {}

at::Tensor DeviceFcrn::forward(const at::Tensor& pictures, const DeviceObserver& observer) const {
    const auto seen = [&](const std::string& name, const at::Tensor& maps) {
        if (observer != nullptr) observer(name.c_str(), maps);
        return maps;
    };
    at::Tensor x = seen("bn_conv1", conv1_(channelsLast(pictures.to(type_))));
    x = seen("pool1", at::max_pool2d(x, 3, 2, 0, 1, /*ceil_mode=*/true));
    for (size_t i = 0; i < stages_.size(); i++) {
        for (const Layers::Bottleneck& block : stages_[i]) x = block.c(block.b(block.a(x)), block.branch1 ? (*block.branch1)(x) : x);
        seen("res" + std::to_string(i + 2) + char('a' + Layers::kBlocks[i] - 1) + "_relu", x);
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
        if (observer != nullptr) seen(std::string("layer") + Layers::kUpNames[i] + "_BN", layer.conv.linear(first));
        x = layer.conv(first, second);
    }
    return seen("output", prediction_(x)).squeeze(1).to(type_ == at::kDouble ? at::kDouble : at::kFloat);
}

} // namespace faiss_vision
