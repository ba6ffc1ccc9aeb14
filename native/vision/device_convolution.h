#pragma once

#include <functional>
#include <optional>

#include <ATen/core/Tensor.h>

#include "vision/device.h"

namespace faiss_vision {

/// A convolution in torch's own operations, on maps whose channels lie side by side ("channels last"), with everything behind it
/// up to the activation: vision/convolution.h's Convolution for other devices than the CPU.
class DeviceConvolution {
public:
    /// y = scale * (convolution + bias) + offset, per channel, in doubles; undefined tensors are 1 and 0.
    struct Affine {
        at::Tensor scale, offset;

        /// A batch norm's four tensors as one.
        static Affine batchNorm(const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& scale, const at::Tensor& offset, double epsilon);
    };
    struct Geometry {
        int64_t stride = 1;
        int64_t above = 0, beside = 0; ///< rows and columns of zeros on either side
    };
    enum class Activation { None, Relu };

    /// @param weight  out x in x height x width, any strides
    /// @param bias    out, or undefined
    DeviceConvolution(const Device& device, const at::Tensor& weight, const at::Tensor& bias, const Affine& affine, Activation activation,
                      Geometry geometry);
    /// With a PReLU: `slope` is what each channel's negative results are multiplied by.
    DeviceConvolution(const Device& device, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope);

    /// @param add  undefined, or maps that are added before the activation
    at::Tensor operator()(const at::Tensor& maps, const at::Tensor& add = {}) const;
    /// Without the activation.
    at::Tensor linear(const at::Tensor& maps) const;

private:
    at::Tensor fused(const at::Tensor& maps, const at::Tensor& add) const;

    at::Tensor weight_, bias_, slope_;
    bool relu_;
    mutable bool fusable_ = true; // until cuDNN says that it has no kernel for all at once
    Geometry geometry_;
};

/// Bytes or numbers, n x height x width x channels, as maps of n x channels x height x width, channels last.
inline at::Tensor channelsLast(const at::Tensor& pixels) { return pixels.permute({0, 3, 1, 2}); }

/// Told of every stage of a forward pass by its name in the paper's own code, for tests; null for none.
using DeviceObserver = std::function<void(const char* stage, const at::Tensor& maps)>;

} // namespace faiss_vision
