#include "vision/device_depth.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/arange.h>
#include <ATen/ops/stack.h>

#include "vision/fcrn.h"

namespace faiss_vision {
namespace {

constexpr int64_t kBatch = 64; // bounds memory: about 30 MB a picture in fp32

/// Interpolates between the centres of pixels along one side, 0 or 1, of height x width x 3 numbers.
at::Tensor enlarged(const at::Tensor& pixels, int64_t side, int64_t size) {
    const int64_t in = pixels.size(side);
    if (in == size) return pixels;
    const at::Tensor centres = at::arange(size, pixels.options().dtype(at::kDouble)).add(0.5).mul(double(in)).div(double(size)).sub(0.5).clamp(0.0, double(in - 1));
    const at::Tensor first = centres.to(at::kLong), second = first.add(1).clamp_max(in - 1), share = centres.sub(first.to(at::kDouble)).to(at::kFloat);
    const at::Tensor from = pixels.index_select(side, first), to = pixels.index_select(side, second);
    return to.sub(from).mul_(side == 0 ? share.view({size, 1, 1}) : share.view({1, size, 1})).add_(from);
}

} // namespace

DeviceDepth::DeviceDepth(const Safetensors& weights, std::shared_ptr<const Device> device) : device_(std::move(device)) {
    device_->run([&] {
        const auto net = std::make_shared<DeviceFcrn>(weights, *device_);
        network_ = std::make_unique<Batched>(device_, [net](const at::Tensor& pictures) { return net->forward(pictures); }, kBatch);
    });
}

at::Tensor DeviceDepth::scaled(const DevicePictures& pictures, size_t picture) {
    const auto [width, height] = pictures.size(picture);
    const at::Tensor shrunk = pictures.scaled(picture, std::min(width, Fcrn::kInWidth), std::min(height, Fcrn::kInHeight));
    return enlarged(enlarged(shrunk, 1, Fcrn::kInWidth), 0, Fcrn::kInHeight);
}

void DeviceDepth::estimate(const std::vector<Image>& images, const std::vector<float*>& depths) {
    device_->run([&] {
        const DevicePictures pictures(*device_, images);
        std::vector<at::Tensor> inputs;
        for (size_t i = 0; i < pictures.count(); i++) inputs.push_back(scaled(pictures, i));
        const at::Tensor result = (*network_)(at::stack(inputs)).to(at::kFloat).cpu().contiguous();
        const int64_t size = result[0].numel();
        for (size_t i = 0; i < depths.size(); i++) std::copy_n(result.data_ptr<float>() + int64_t(i) * size, size, depths[i]);
    });
}

} // namespace faiss_vision
