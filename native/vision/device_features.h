#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "vision/device.h"

namespace faiss_vision {

/// Features left where the network ran: n x dimension finite numbers of type float in one piece, which are there already, so that
/// whoever reads them has nothing to wait for. From any thread.
struct DeviceFeatures {
    std::shared_ptr<const Device> device; // first, so that the stream which they were made in ends after their memory
    at::Tensor numbers;

    /// Copies them to the processor's memory. Not by the device's stream, in which a recording may be under way.
    void read(float* to) const;
};

} // namespace faiss_vision
