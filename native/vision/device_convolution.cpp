#include "vision/device_convolution.h"

#include <array>

#include <ATen/ops/conv2d.h>
#include <ATen/ops/cudnn_convolution_add_relu.h>
#include <ATen/ops/cudnn_convolution_relu.h>
#include <ATen/ops/prelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#ifdef FAISS_VISION_CUDA
#include "vision/cuda/kernels.h"
#endif

namespace faiss_vision {

DeviceConvolution::Affine DeviceConvolution::Affine::batchNorm(const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& scale,
                                                               const at::Tensor& offset, double epsilon) {
    const at::Tensor factor = variance.to(at::kDouble).add(epsilon).rsqrt().mul(scale.to(at::kDouble));
    return {factor, offset.to(at::kDouble).sub(mean.to(at::kDouble).mul(factor))};
}

DeviceConvolution::DeviceConvolution(const Device& device, const at::Tensor& weight, const at::Tensor& bias, const Affine& affine,
                                     Activation activation, Geometry geometry)
    : relu_(activation == Activation::Relu), geometry_(geometry) {
    const int64_t out = weight.size(0);
    at::Tensor kernel = weight.to(at::kDouble), constant = bias.defined() ? bias.to(at::kDouble) : at::zeros({out}, at::kDouble);
    if (affine.scale.defined()) {
        kernel = kernel.mul(affine.scale.to(at::kDouble).view({out, 1, 1, 1}));
        constant = constant.mul(affine.scale.to(at::kDouble));
    }
    if (affine.offset.defined()) constant = constant.add(affine.offset.to(at::kDouble));
    weight_ = kernel.to(device.type()).contiguous(at::MemoryFormat::ChannelsLast).to(device.place());
    bias_ = constant.to(device.type()).to(device.place());
}

DeviceConvolution::DeviceConvolution(const Device& device, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope)
    : DeviceConvolution(device, weight, bias, Affine{}, Activation::None, {}) {
    slope_ = slope.to(device.type()).to(device.place());
}

at::Tensor DeviceConvolution::linear(const at::Tensor& maps) const {
    return at::conv2d(maps, weight_, bias_, geometry_.stride, {geometry_.above, geometry_.beside});
}

/// cuDNN's convolution with bias, sum and ReLU in one kernel instead of four. Undefined where it has none.
at::Tensor DeviceConvolution::fused(const at::Tensor& maps, const at::Tensor& add) const {
    const std::array<int64_t, 2> stride = {geometry_.stride, geometry_.stride}, padding = {geometry_.above, geometry_.beside}, dilation = {1, 1};
    try {
        return add.defined() ? at::cudnn_convolution_add_relu(maps, weight_, add, 1, bias_, stride, padding, dilation, 1)
                             : at::cudnn_convolution_relu(maps, weight_, bias_, stride, padding, dilation, 1);
    } catch (const c10::OutOfMemoryError&) {
        throw;
    } catch (const c10::Error&) {
        fusable_ = false;
        return {};
    }
}

at::Tensor DeviceConvolution::operator()(const at::Tensor& maps, const at::Tensor& add) const {
    if (relu_ && fusable_ && maps.is_cuda()) {
        const at::Tensor result = fused(maps, add);
        if (result.defined()) return result;
    }
#ifdef FAISS_VISION_CUDA
    if (slope_.defined() && !add.defined() && maps.is_cuda()) {
        const at::Tensor result = at::conv2d(maps, weight_, {}, geometry_.stride, {geometry_.above, geometry_.beside});
        if (cuda::addBiasAndPrelu(result, bias_, slope_)) return result;
    }
#endif
    at::Tensor result = linear(maps);
    if (add.defined()) result.add_(add);
    if (slope_.defined()) return at::prelu(result, slope_);
    return relu_ ? result.relu_() : result;
}

} // namespace faiss_vision
