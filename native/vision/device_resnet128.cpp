#include "vision/device_resnet128.h"

#include <string>

#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/tensor.h>

#include "vision/resnet128.h"

namespace faiss_vision {
namespace {

/// A convolution, the scale layer behind it folded in.
DeviceConvolution convolution(const Safetensors& weights, const Device& device, const std::string& name, int64_t in, int64_t out, int64_t size,
                              DeviceConvolution::Geometry geometry) {
    return DeviceConvolution(device, weights.tensor(name + "/conv/filters", {size, size, in, out}).permute({3, 2, 0, 1}),
                             weights.tensor(name + "/conv/bias", {out}),
                             {weights.tensor(name + "/scale/weights", {out}), weights.tensor(name + "/scale/biases", {out})},
                             DeviceConvolution::Activation::Relu, geometry);
}

} // namespace

DeviceResnet128::DeviceResnet128(const Safetensors& weights, const Device& device)
    : type_(device.type()),
      mean_(at::tensor({Resnet128::kMean[0], Resnet128::kMean[1], Resnet128::kMean[2]}).to(device.place())),
      first_((weights.requireModel("resnet128"), convolution(weights, device, "conv32_down", 3, 32, 7, {2}))),
      last_(device, weights.tensor("fc", {256, 128}).t().reshape({128, 256, 1, 1}), {}, Conv::Affine{}, Conv::Activation::None, {}) {
    const auto add = [&](const std::string& name, int64_t in, int64_t out, bool down) {
        const Conv::Geometry same{1, 1, 1};
        layers_.push_back({convolution(weights, device, name + "/conv1", in, out, 3, down ? Conv::Geometry{2} : same),
                           convolution(weights, device, name + "/conv2", out, out, 3, same), down});
    };
    int64_t in = 32;
    for (const auto& [channels, count] : std::vector<std::pair<int64_t, int>>{{32, 3}, {64, 3}, {128, 2}, {256, 2}}) {
        const std::string name = "conv" + std::to_string(channels) + "_";
        if (channels != in) add(name + "down", in, channels, true);
        for (int i = 1; i <= count; i++) add(name + std::to_string(i), channels, channels, false);
        in = channels;
    }
    add("conv256_down_out", 256, 256, true);
}

at::Tensor DeviceResnet128::run(const Residual& layer, const at::Tensor& x) {
    if (!layer.down) return layer.conv2(layer.conv1(x), x);
    const at::Tensor inner = layer.conv1(x), carried = at::avg_pool2d(x, 2, 2);
    const int64_t rows = carried.size(2) - inner.size(2), columns = carried.size(3) - inner.size(3);
    const at::Tensor wide = at::constant_pad_nd(carried, {0, 0, 0, 0, 0, inner.size(1) - carried.size(1)});
    if (rows == 0 && columns == 0) return layer.conv2(inner, wide);
    // Where the convolution gives one row and column less than the pool, zeros stand in for them. The pool follows a ReLU, so one more changes nothing.
    at::Tensor result = wide.clone();
    result.narrow(2, 0, inner.size(2)).narrow(3, 0, inner.size(3)).copy_(layer.conv2(inner, wide.narrow(2, 0, inner.size(2)).narrow(3, 0, inner.size(3))));
    return result;
}

at::Tensor DeviceResnet128::forward(const at::Tensor& chips) const {
    const at::ScalarType wide = type_ == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor x = at::max_pool2d(first_(channelsLast(chips.to(wide).sub(mean_).div(255)).to(type_)), 3, 2);
    for (const Residual& layer : layers_) x = run(layer, x);
    return last_(at::avg_pool2d(x, 2)).to(wide).flatten(1);
}

} // namespace faiss_vision
