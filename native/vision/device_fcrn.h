#pragma once

#include <vector>

#include "vision/device_convolution.h"
#include "vision/fcrn_layers.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// vision/fcrn.h's Fcrn in torch's own operations, for other devices than the CPU.
class DeviceFcrn {
public:
    /// Throws what Safetensors throws. Within Device::run.
    DeviceFcrn(const Safetensors& weights, const Device& device);

    /// @param pictures  n x 228 x 304 x 3 numbers from 0 to 255, RGB
    /// @return n x 128 x 160 numbers of type float (double where the device's is)
    at::Tensor forward(const at::Tensor& pictures, const DeviceObserver& observer = nullptr) const;

private:
    using Layers = FcrnLayers<DeviceConvolution>;
    /// Doubles height and width: the authors' four convolutions of both branches as one, whose results are interleaved.
    struct UpProjection {
        DeviceConvolution quarters, conv;
        int64_t out;
    };
    class Loader;

    explicit DeviceFcrn(const Loader& load);

    at::ScalarType type_;
    DeviceConvolution conv1_;
    std::vector<std::vector<Layers::Bottleneck>> stages_;
    DeviceConvolution layer1_;
    std::vector<UpProjection> up_;
    DeviceConvolution prediction_;
};

} // namespace faiss_vision
