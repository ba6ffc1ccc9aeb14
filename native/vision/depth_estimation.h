#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vision/device_depth.h"
#include "vision/fcrn.h"
#include "vision/image.h"

namespace faiss_vision {

/// Depth from one picture: any picture, scaled to what FCRN reads, through the network.
class DepthEstimation {
public:
    static constexpr int kWidth = Fcrn::kWidth, kHeight = Fcrn::kHeight;

    /// @param path    a safetensors file with the network's variables, read once
    /// @param device  null for the processor and its own kernels; precision is the device's then
    /// Throws ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_MISMATCH, ERR_UNSUPPORTED for bf16 on a processor without and
    /// for fp16 on any, and what Device::run throws.
    DepthEstimation(const std::string& path, Precision precision, const std::shared_ptr<const Device>& device = nullptr);

    /// Whether pictures that wait are better looked at together.
    bool batches() const { return device_ != nullptr; }

    /// What the file says of itself: which way is near ("high", "low") and where it comes from; empty where it does not say.
    const std::string& near() const { return near_; }
    const std::string& source() const { return source_; }

    /// One call at a time.
    /// @param depths  kHeight x kWidth numbers, in the weights' own unit
    /// Throws ERR_INVALID_ARGUMENT, ERR_IMAGE_TOO_LARGE.
    void estimate(const Image& image, float* depths);
    /// The same for several pictures.
    void estimate(const std::vector<Image>& images, const std::vector<float*>& depths);

    /// The whole picture, not cropped, as 228 x 304 x 3 numbers from 0 to 255: averaged along a side that shrinks,
    /// interpolated between pixels' centres along one that grows.
    static void scale(const Image& image, std::vector<float>& pixels);

private:
    DepthEstimation(const Safetensors& weights, Precision precision, const std::shared_ptr<const Device>& device);

    std::optional<Fcrn> network_;         // one of them
    std::unique_ptr<DeviceDepth> device_;
    std::string near_, source_;
    std::vector<float> pixels_; // kept from picture to picture
};

} // namespace faiss_vision
