#pragma once

#include <memory>
#include <vector>

#include "vision/device_fcrn.h"
#include "vision/device_pictures.h"

namespace faiss_vision {

/// Depth from pictures on a device: they go up as bytes, are scaled there as DepthEstimation::scale does, and depths come back.
class DeviceDepth {
public:
    /// Throws what Safetensors throws, and what Device::run does.
    DeviceDepth(const Safetensors& weights, std::shared_ptr<const Device> device);

    /// One call at a time.
    /// @param depths  for each picture 128 x 160 numbers
    void estimate(const std::vector<Image>& images, const std::vector<float*>& depths);

    /// One picture as the network reads it: 228 x 304 x 3 numbers from 0 to 255.
    static at::Tensor scaled(const DevicePictures& pictures, size_t picture);

private:
    const std::shared_ptr<const Device> device_;
    std::unique_ptr<Batched> network_;
};

} // namespace faiss_vision
