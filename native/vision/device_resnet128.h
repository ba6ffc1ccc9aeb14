#pragma once

#include <vector>

#include "vision/device_convolution.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// vision/resnet128.h's Resnet128 in torch's own operations, for other devices than the CPU.
class DeviceResnet128 {
public:
    /// Throws what Safetensors throws. Within Device::run.
    DeviceResnet128(const Safetensors& weights, const Device& device);

    /// @param chips  n x 150 x 150 x 3 bytes, RGB
    /// @return n x 128 numbers of type float (double where the device's is), not normalised
    at::Tensor forward(const at::Tensor& chips) const;

private:
    using Conv = DeviceConvolution;
    /// Two 3 x 3 convolutions around which the input is carried; where `down`, averaged over 2 x 2 and with zeros for more channels.
    struct Residual {
        Conv conv1, conv2;
        bool down;
    };
    static at::Tensor run(const Residual& layer, const at::Tensor& x);

    at::ScalarType type_;
    at::Tensor mean_;
    Conv first_;
    std::vector<Residual> layers_;
    Conv last_;
};

} // namespace faiss_vision
