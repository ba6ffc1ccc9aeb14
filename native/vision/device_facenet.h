#pragma once

#include "vision/device_convolution.h"
#include "vision/facenet_layers.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// vision/facenet.h's FaceNet in torch's own operations, for other devices than the CPU.
class DeviceFaceNet {
public:
    /// Throws what Safetensors throws. Within Device::run.
    DeviceFaceNet(const Safetensors& weights, const Device& device);

    /// @param chips  n x 160 x 160 x 3 bytes, RGB
    /// @return n x 512 numbers of type float (double where the device's is), each row of length 1
    at::Tensor forward(const at::Tensor& chips, const DeviceObserver& observer = nullptr) const;

private:
    using Layers = FaceNetLayers<DeviceConvolution>;

    static at::Tensor run(const Layers::Block35& block, const at::Tensor& x);
    static at::Tensor run(const Layers::LongBlock& block, const at::Tensor& x);

    at::ScalarType type_;
    Layers layers_;
};

} // namespace faiss_vision
