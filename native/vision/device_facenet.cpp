#include "vision/device_facenet.h"

#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/max_pool2d.h>

namespace faiss_vision {
namespace {

at::Tensor pool(const at::Tensor& maps) { return at::max_pool2d(maps, 3, 2); }

} // namespace

DeviceFaceNet::DeviceFaceNet(const Safetensors& weights, const Device& device)
    : type_(device.type()),
      layers_(Layers::load(weights, [&](const at::Tensor& weight, const at::Tensor& bias, const DeviceConvolution::Affine& affine, bool relu,
                                        DeviceConvolution::Geometry geometry) {
          using Activation = DeviceConvolution::Activation;
          return DeviceConvolution(device, weight, bias, affine, relu ? Activation::Relu : Activation::None, geometry);
      })) {}

at::Tensor DeviceFaceNet::run(const Layers::Block35& block, const at::Tensor& x) {
    const at::Tensor first = block.branches(x);
    return block.up(at::cat({first.narrow(1, 64, 32), block.branch1(first.narrow(1, 0, 32)), block.branch2b(block.branch2a(first.narrow(1, 32, 32)))}, 1), x);
}

at::Tensor DeviceFaceNet::run(const Layers::LongBlock& block, const at::Tensor& x) {
    const std::vector<at::Tensor> first = block.branches(x).chunk(2, 1);
    return block.up(at::cat({first[1], block.down(block.across(first[0]))}, 1), x);
}

at::Tensor DeviceFaceNet::forward(const at::Tensor& chips, const DeviceObserver& observer) const {
    const auto seen = [&](const char* name, const at::Tensor& maps) {
        if (observer != nullptr) observer(name, maps);
        return maps;
    };
    const at::ScalarType wide = type_ == at::kDouble ? at::kDouble : at::kFloat; // for what is added up
    at::Tensor x = channelsLast(chips).to(wide).sub(127.5).div(128).to(type_);
    x = seen("conv2d_1a", layers_.conv1a(x));
    x = seen("conv2d_2a", layers_.conv2a(x));
    x = seen("conv2d_2b", layers_.conv2b(x));
    x = seen("maxpool_3a", pool(x));
    x = seen("conv2d_3b", layers_.conv3b(x));
    x = seen("conv2d_4a", layers_.conv4a(x));
    x = seen("conv2d_4b", layers_.conv4b(x));
    for (const Layers::Block35& block : layers_.repeat1) x = run(block, x);
    seen("repeat_1", x);
    x = seen("mixed_6a", at::cat({layers_.mixed6a.branch0(x), layers_.mixed6a.branch1c(layers_.mixed6a.branch1b(layers_.mixed6a.branch1a(x))), pool(x)}, 1));
    for (const Layers::LongBlock& block : layers_.repeat2) x = run(block, x);
    seen("repeat_2", x);
    const at::Tensor first = layers_.mixed7a.branches(x);
    x = seen("mixed_7a", at::cat({layers_.mixed7a.branch0(first.narrow(1, 0, 256)), layers_.mixed7a.branch1(first.narrow(1, 256, 256)),
                                  layers_.mixed7a.branch2b(layers_.mixed7a.branch2a(first.narrow(1, 512, 256))), pool(x)}, 1));
    for (size_t i = 0; i < layers_.repeat3.size(); i++) {
        if (i + 1 == layers_.repeat3.size()) seen("repeat_3", x);
        x = run(layers_.repeat3[i], x);
    }
    seen("block8", x);
    x = seen("avgpool_1a", x.to(wide).mean(at::IntArrayRef{2, 3}, /*keepdim=*/true));
    x = seen("last_bn", layers_.lastLinear(x.to(type_))).to(wide).flatten(1);
    return x.div(x.square().sum(1, /*keepdim=*/true).sqrt().clamp_min(1e-12));
}

} // namespace faiss_vision
